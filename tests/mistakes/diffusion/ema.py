"""Wrong moving averages that real people write."""

from tests.mistakes import Mistake

COPY = "self.model = copy.deepcopy(model).eval().requires_grad_(False)"
COUNT = "self.num_updates += 1\n        decay = self.decay_at(self.num_updates)"
AVERAGE = "average.lerp_(weight, 1 - decay)"
PARAMETERS = "for average, weight in zip(self.model.parameters(), model.parameters()):"
BUFFERS = "for ours, theirs in zip(self.model.buffers(), model.buffers()):\n            ours.copy_(theirs)"
OWN = "own = _copies(model)"
SWAP_IN = "model.load_state_dict(self.model.state_dict())"
SWAP = "        try:\n            yield\n        finally:\n            model.load_state_dict(own)"
STATE = 'return {"model": _copies(self.model), "num_updates": self.num_updates}'
LOAD = 'self.model.load_state_dict(state["model"])'
LOADED = 'self.num_updates = state["num_updates"]'

MISTAKES = [
    Mistake(
        name="decay_on_the_wrong_side",
        find=AVERAGE,
        replace="average.lerp_(weight, decay)",
        why="decay is the share of the old average that stays, not the share of the new weights.",
        caught_by="test_the_first_updates_forget_the_start_quickly",
    ),
    Mistake(
        name="no_warm_up",
        find="return min(self.decay, (1 + num_updates) / (10 + num_updates))",
        replace="return self.decay",
        why="With 0.999 from the start, the random weights of the start weigh a third after 1000 updates.",
        caught_by="test_the_first_updates_forget_the_start_quickly",
    ),
    Mistake(
        name="larger_of_the_two_decays",
        find="return min(",
        replace="return max(",
        why="The warm-up bounds the decay from above; the larger of the two ignores it, and grows to 1 later.",
        caught_by="test_the_decay_grows_until_it_is_the_given_one",
    ),
    Mistake(
        name="counted_from_zero",
        find=COUNT,
        replace="decay = self.decay_at(self.num_updates)\n        self.num_updates += 1",
        why="The first update has number 1 and decay 2/11, not number 0 and decay 1/10.",
        caught_by="test_the_first_updates_forget_the_start_quickly",
    ),
    Mistake(
        name="not_counted",
        find=COUNT,
        replace="decay = self.decay_at(1)",
        why="Without the count the decay never grows, and the average remembers one update.",
        caught_by="test_the_average_agrees_with_the_recurrence",
    ),
    Mistake(
        name="only_what_is_trained",
        find=PARAMETERS,
        replace=PARAMETERS + "\n            if not weight.requires_grad:\n                continue",
        why="A parameter that is frozen now may have changed before: the average would keep its old value for ever.",
        caught_by="test_every_parameter_is_averaged_and_every_buffer_copied",
    ),
    Mistake(
        name="tied_parameters_twice",
        find=PARAMETERS,
        replace="ours, theirs = (dict(m.named_parameters(remove_duplicate=False)) for m in (self.model, model))\n"
        "        for average, weight in zip(ours.values(), theirs.values()):",
        why="A parameter that is used in two places is one parameter: averaged twice, it has another decay.",
        caught_by="test_every_parameter_is_averaged_and_every_buffer_copied",
    ),
    Mistake(
        name="the_whole_state_dict_averaged",
        find=BUFFERS,
        replace="for ours, theirs in zip(self.model.buffers(), model.buffers()):\n"
        "            ours.copy_(decay * ours + (1 - decay) * theirs)",
        why="Running statistics are averages already, and counters and masks cannot be averaged: buffers are copied.",
        caught_by="test_every_parameter_is_averaged_and_every_buffer_copied",
    ),
    Mistake(
        name="floating_buffers_averaged",
        find=BUFFERS,
        replace="for ours, theirs in zip(self.model.buffers(), model.buffers()):\n"
        "            ours.lerp_(theirs, 1 - decay) if ours.is_floating_point() else ours.copy_(theirs)",
        why="Running statistics are averages already; averaged again they lag behind the weights.",
        caught_by="test_every_parameter_is_averaged_and_every_buffer_copied",
    ),
    Mistake(
        name="integer_buffers_forgotten",
        find=BUFFERS,
        replace="for ours, theirs in zip(self.model.buffers(), model.buffers()):\n"
        "            if ours.is_floating_point():\n                ours.copy_(theirs)",
        why="A buffer is copied whatever its dtype: counters and masks too.",
        caught_by="test_every_parameter_is_averaged_and_every_buffer_copied",
    ),
    Mistake(
        name="boolean_buffers_forgotten",
        find=BUFFERS,
        replace="for ours, theirs in zip(self.model.buffers(), model.buffers()):\n"
        "            if ours.dtype != torch.bool:\n                ours.copy_(theirs)",
        why="A buffer is copied whatever its dtype: masks too.",
        caught_by="test_every_parameter_is_averaged_and_every_buffer_copied",
    ),
    Mistake(
        name="buffers_forgotten",
        find=BUFFERS,
        replace="pass",
        why="Without its running statistics of today a batch norm normalises as on the first day.",
        caught_by="test_every_parameter_is_averaged_and_every_buffer_copied",
    ),
    Mistake(
        name="buffers_shared",
        find=BUFFERS,
        replace="for ours, theirs in zip(self.model.buffers(), model.buffers()):\n            ours.data = theirs.data",
        why="A buffer that is shared changes with the model, between updates too.",
        caught_by="test_the_average_and_the_model_share_no_memory",
    ),
    Mistake(
        name="the_model_itself",
        find=COPY,
        replace="self.model = model.eval().requires_grad_(False)",
        why="The average must be a copy: this is the model itself, which can no longer be trained.",
        caught_by="test_the_average_and_the_model_share_no_memory",
    ),
    Mistake(
        name="shallow_copy",
        find=COPY,
        replace="self.model = copy.copy(model).eval().requires_grad_(False)",
        why="A shallow copy has the very same parameters.",
        caught_by="test_the_average_and_the_model_share_no_memory",
    ),
    Mistake(
        name="model_put_into_evaluation_mode",
        find=COPY,
        replace="self.model = copy.deepcopy(model.eval()).requires_grad_(False)",
        why="eval() works in place: it is the copy that is to be evaluated, and the model goes on training.",
        caught_by="test_the_model_is_left_as_it_is",
    ),
    Mistake(
        name="model_frozen",
        find=COPY,
        replace="self.model = copy.deepcopy(model.requires_grad_(False)).eval()",
        why="requires_grad_ works in place: only the copy is to be frozen.",
        caught_by="test_the_model_is_left_as_it_is",
    ),
    Mistake(
        name="average_in_training_mode",
        find=COPY,
        replace="self.model = copy.deepcopy(model).requires_grad_(False)",
        why="In training mode dropout drops, and a batch norm looks at the batch: sample in evaluation mode.",
        caught_by="test_the_averaged_model_is_ready_to_sample",
    ),
    Mistake(
        name="average_takes_gradients",
        find=COPY,
        replace="self.model = copy.deepcopy(model).eval()",
        why="Nobody trains the average: with gradients, sampling keeps every activation in memory.",
        caught_by="test_the_averaged_model_is_ready_to_sample",
    ),
    Mistake(
        name="gradients_recorded_by_the_update",
        find="@torch.no_grad()\n    def update",
        replace="def update",
        why="Every update would hang on the graph of all updates before it, and memory grows without end.",
        caught_by="test_the_averaged_model_is_ready_to_sample",
    ),
    Mistake(
        name="own_weights_not_copied",
        find=OWN,
        replace="own = model.state_dict()",
        why="A state dict holds the model's own memory, which the swap overwrites: copy it first.",
        caught_by="test_inside_the_model_is_the_average_and_afterwards_itself_again",
    ),
    Mistake(
        name="own_weights_copied_at_the_top_only",
        find=OWN,
        replace="own = dict(model.state_dict())",
        why="A new dictionary with the same tensors in it protects nothing: clone every tensor.",
        caught_by="test_inside_the_model_is_the_average_and_afterwards_itself_again",
    ),
    Mistake(
        name="parameters_without_buffers_swapped",
        find=SWAP_IN,
        replace="model.load_state_dict(dict(self.model.named_parameters()), strict=False)",
        why="The average's weights need the running statistics that belong to them.",
        caught_by="test_inside_the_model_is_the_average_and_afterwards_itself_again",
    ),
    Mistake(
        name="buffers_not_swapped_back",
        find=SWAP,
        replace=SWAP.replace("(own)", "({k: own[k] for k, _ in model.named_parameters()}, strict=False)"),
        why="The model needs its own buffers back as well as its weights.",
        caught_by="test_inside_the_model_is_the_average_and_afterwards_itself_again",
    ),
    Mistake(
        name="memory_handed_over",
        find=SWAP_IN,
        replace="for tensor, average in zip([*model.parameters(), *model.buffers()], "
        "[*self.model.parameters(), *self.model.buffers()]):\n            tensor.data = average.data",
        why="A model that borrows the memory of the average trains the average inside.",
        caught_by="test_training_inside_reaches_neither_the_average_nor_the_model_afterwards",
    ),
    Mistake(
        name="numbers_exchanged",
        find=SWAP_IN,
        replace="for p, q in zip(self.model.parameters(), model.parameters()):\n            p.data, q.data = q.data, p.data",
        why="Exchanged, the average is gone while the model has it.",
        caught_by="test_inside_the_model_is_the_average_and_afterwards_itself_again",
    ),
    Mistake(
        name="new_parameters_inside",
        find=SWAP_IN,
        replace="model.load_state_dict(_copies(self.model), assign=True)",
        why="Assigned, the parameters are other tensors, and the optimizer goes on with those nobody uses any more.",
        caught_by="test_an_optimizer_goes_on_as_if_there_had_been_no_average",
    ),
    Mistake(
        name="new_parameters_afterwards",
        find=SWAP,
        replace=SWAP.replace("(own)", "(own, assign=True)"),
        why="Assigned, the parameters are other tensors, and the optimizer goes on with those nobody uses any more.",
        caught_by="test_an_optimizer_goes_on_as_if_there_had_been_no_average",
    ),
    Mistake(
        name="gradients_thrown_away",
        find=OWN,
        replace=OWN + "\n        model.zero_grad(set_to_none=False)",
        why="Between a gradient and its step a swap must not lose the gradient.",
        caught_by="test_an_optimizer_goes_on_as_if_there_had_been_no_average",
    ),
    Mistake(
        name="gradients_thrown_away_by_the_update",
        find=COUNT,
        replace="model.zero_grad(set_to_none=False)\n        " + COUNT,
        why="Averaging the weights is no reason to touch the gradients: the model is not changed.",
        caught_by="test_an_optimizer_goes_on_as_if_there_had_been_no_average",
    ),
    Mistake(
        name="not_restored_after_an_exception",
        find=SWAP,
        replace="        yield\n        model.load_state_dict(own)",
        why="Without `finally`, an exception while sampling leaves the model with the average's weights.",
        caught_by="test_the_model_gets_its_own_weights_back_after_an_exception",
    ),
    Mistake(
        name="restored_after_exceptions_only",
        find=SWAP,
        replace=SWAP.replace("finally:", "except BaseException:").replace("(own)", "(own)\n            raise"),
        why="The model gets its own weights back at the end, exception or not.",
        caught_by="test_inside_the_model_is_the_average_and_afterwards_itself_again",
    ),
    Mistake(
        name="exception_swallowed",
        find=SWAP,
        replace="        try:\n            yield\n        except BaseException:\n            pass\n"
        "        model.load_state_dict(own)",
        why="An error while sampling must reach the caller.",
        caught_by="test_the_model_gets_its_own_weights_back_after_an_exception",
    ),
    Mistake(
        name="no_gradients_inside",
        find=SWAP,
        replace="        with torch.no_grad():\n    " + SWAP.replace("\n", "\n    "),
        why="no_grad around the yield also covers what the caller does inside.",
        caught_by="test_training_inside_reaches_neither_the_average_nor_the_model_afterwards",
    ),
    Mistake(
        name="left_in_evaluation_mode",
        find=SWAP_IN,
        replace="model.eval()\n        " + SWAP_IN,
        why="The mode is the caller's choice; left in evaluation mode, the model trains without its dropout.",
        caught_by="test_the_model_is_left_as_it_is",
    ),
    Mistake(
        name="counter_not_saved",
        find=LOADED,
        replace="self.num_updates = 0",
        why="Without the count a resumed run starts its warm-up again and forgets the average within ten updates.",
        caught_by="test_a_run_that_was_saved_and_loaded_is_the_run_that_was_not_interrupted",
    ),
    Mistake(
        name="state_dict_not_copied",
        find=STATE,
        replace='return {"model": self.model.state_dict(), "num_updates": self.num_updates}',
        why="A state dict holds the average's own memory: the next update changes what was kept.",
        caught_by="test_a_state_dict_is_a_copy_going_out_and_coming_in",
    ),
    Mistake(
        name="whole_model_saved",
        find=STATE,
        replace='return {"model": copy.deepcopy(self.model), "num_updates": self.num_updates}',
        why="A pickled module cannot be loaded with weights_only=True, and breaks when the code is renamed.",
        caught_by="test_a_run_that_was_saved_and_loaded_is_the_run_that_was_not_interrupted",
    ),
    Mistake(
        name="parameters_without_buffers_saved",
        find=STATE,
        replace='return {"model": {k: v.clone() for k, v in self.model.named_parameters()}, '
        '"num_updates": self.num_updates}',
        why="What is saved must load into the model itself: the buffers and tied names belong to it.",
        caught_by="test_the_saved_average_is_the_state_dict_of_the_model",
    ),
    Mistake(
        name="loaded_without_a_copy",
        find=LOAD,
        replace='self.model.load_state_dict(state["model"], assign=True)',
        why="Assigned, the average works on the memory of the checkpoint that was loaded.",
        caught_by="test_a_state_dict_is_a_copy_going_out_and_coming_in",
    ),
    Mistake(
        name="decay_unchecked",
        find="if not 0 <= decay < 1:",
        replace="if False:",
        why="A decay of 1 would never learn anything; above 1 the average explodes.",
        caught_by="test_a_decay_outside_0_to_1_is_refused",
    ),
    Mistake(
        name="count_never_set_back",
        find='self.num_updates = state["num_updates"]',
        replace='self.num_updates = max(self.num_updates, state["num_updates"])',
        why='A run that goes back to an older checkpoint goes back in its warm-up, too.',
        caught_by="test_an_older_state_sets_the_count_back",
    ),
    Mistake(
        name="own_values_kept_on_the_average",
        find="        own = _copies(model)\n        model.load_state_dict(self.model.state_dict())\n        try:\n            yield\n        finally:\n            model.load_state_dict(own)\n",
        replace="        self._own = _copies(model)\n        model.load_state_dict(self.model.state_dict())\n        try:\n            yield\n        finally:\n            model.load_state_dict(self._own)\n",
        why="One model inside another overwrites what was kept of the outer one.",
        caught_by="test_two_models_may_borrow_the_average_one_inside_the_other",
    ),
    Mistake(
        name="decay_above_the_default_cut",
        find="return min(self.decay, (1 +",
        replace="return min(self.decay, 0.999, (1 +",
        why="A long run wants 0.9999, and the argument is there to be used.",
        caught_by="test_the_decay_grows_until_it_is_the_given_one",
    ),
    Mistake(
        name="backup_kept_by_the_model",
        find="        own = _copies(model)\n        model.load_state_dict(self.model.state_dict())\n        try:\n            yield\n        finally:\n            model.load_state_dict(own)\n",
        replace="        self._own = getattr(self, \"_own\", {})\n        self._own[id(model)] = _copies(model)\n        model.load_state_dict(self.model.state_dict())\n        try:\n            yield\n        finally:\n            model.load_state_dict(self._own[id(model)])\n",
        why="A swap inside a swap overwrites the backup with the average: the weights are lost.",
        caught_by="test_one_model_may_borrow_the_average_twice_one_inside_the_other",
    ),
    Mistake(
        name="no_swap_before_the_first_update",
        find="        model.load_state_dict(self.model.state_dict())\n",
        replace="        if self.num_updates:\n            model.load_state_dict(self.model.state_dict())\n",
        why="The average may come from elsewhere, from a file for one, and is there after 0 updates.",
        caught_by="test_an_average_that_was_never_updated_is_swapped_in_like_any_other",
    ),
    Mistake(
        name="buffers_put_back_into_the_old_tensors",
        find="        own = _copies(model)\n        model.load_state_dict(self.model.state_dict())\n        try:\n            yield\n        finally:\n            model.load_state_dict(own)\n",
        replace="        own = [(t, t.detach().clone()) for t in (*model.parameters(), *model.buffers())]\n        model.load_state_dict(self.model.state_dict())\n        try:\n            yield\n        finally:\n            with torch.no_grad():\n                for tensor, value in own:\n                    tensor.copy_(value)\n",
        why="A module may have put another tensor in the buffer's place; the old one is nobody's any more.",
        caught_by="test_a_buffer_that_is_set_anew_inside_is_put_back",
    ),
]
