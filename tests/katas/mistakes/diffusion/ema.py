"""Wrong moving averages that real people write."""

from tests.katas.mistakes import Mistake

MISTAKES = [
    Mistake("decay_on_the_wrong_side", "test_the_first_updates_forget_the_start_quickly",
            why="decay is the share of the old average that stays, not the share of the new weights.",
            find="average.lerp_(weight, 1 - decay)",
            replace="average.lerp_(weight, decay)"),
    Mistake("no_warm_up", "test_the_first_updates_forget_the_start_quickly",
            why="With 0.999 from the start, the random weights of the start weigh a third after 1000 updates.",
            find="return min(self.decay, (1 + num_updates) / (10 + num_updates))",
            replace="return self.decay"),
    Mistake("larger_of_the_two_decays", "test_the_decay_grows_until_it_is_the_given_one",
            why="The warm-up bounds the decay from above; the larger of the two ignores it, and grows to 1 later.",
            find="return min(",
            replace="return max("),
    Mistake("counted_from_zero", "test_the_first_updates_forget_the_start_quickly",
            why="The first update has number 1 and decay 2/11, not number 0 and decay 1/10.",
            find="self.num_updates += 1\n"
                 "        decay = self.decay_at(self.num_updates)",
            replace="decay = self.decay_at(self.num_updates)\n"
                    "        self.num_updates += 1"),
    Mistake("not_counted", "test_the_average_agrees_with_the_recurrence",
            why="Without the count the decay never grows, and the average remembers one update.",
            find="self.num_updates += 1\n"
                 "        decay = self.decay_at(self.num_updates)",
            replace="decay = self.decay_at(1)"),
    Mistake("only_what_is_trained", "test_every_parameter_is_averaged_and_every_buffer_copied",
            why="A parameter that is frozen now may have changed before: the average would keep its old value for ever.",
            find="for average, weight in zip(self.model.parameters(), model.parameters()):",
            replace="for average, weight in zip(self.model.parameters(), model.parameters()):\n"
                    "            if not weight.requires_grad:\n"
                    "                continue"),
    Mistake("tied_parameters_twice", "test_every_parameter_is_averaged_and_every_buffer_copied",
            why="A parameter that is used in two places is one parameter: averaged twice, it has another decay.",
            find="for average, weight in zip(self.model.parameters(), model.parameters()):",
            replace="ours, theirs = (dict(m.named_parameters(remove_duplicate=False)) for m in (self.model, model))\n"
                    "        for average, weight in zip(ours.values(), theirs.values()):"),
    Mistake("the_whole_state_dict_averaged", "test_every_parameter_is_averaged_and_every_buffer_copied",
            why="Running statistics are averages already, and counters and masks cannot be averaged: buffers are copied.",
            find="for ours, theirs in zip(self.model.buffers(), model.buffers()):\n"
                 "            ours.copy_(theirs)",
            replace="for ours, theirs in zip(self.model.buffers(), model.buffers()):\n"
                    "            ours.copy_(decay * ours + (1 - decay) * theirs)"),
    Mistake("floating_buffers_averaged", "test_every_parameter_is_averaged_and_every_buffer_copied",
            why="Running statistics are averages already; averaged again they lag behind the weights.",
            find="for ours, theirs in zip(self.model.buffers(), model.buffers()):\n"
                 "            ours.copy_(theirs)",
            replace="for ours, theirs in zip(self.model.buffers(), model.buffers()):\n"
                    "            ours.lerp_(theirs, 1 - decay) if ours.is_floating_point() else ours.copy_(theirs)"),
    Mistake("integer_buffers_forgotten", "test_every_parameter_is_averaged_and_every_buffer_copied",
            why="A buffer is copied whatever its dtype: counters and masks too.",
            find="for ours, theirs in zip(self.model.buffers(), model.buffers()):\n"
                 "            ours.copy_(theirs)",
            replace="for ours, theirs in zip(self.model.buffers(), model.buffers()):\n"
                    "            if ours.is_floating_point():\n"
                    "                ours.copy_(theirs)"),
    Mistake("boolean_buffers_forgotten", "test_every_parameter_is_averaged_and_every_buffer_copied",
            why="A buffer is copied whatever its dtype: masks too.",
            find="for ours, theirs in zip(self.model.buffers(), model.buffers()):\n"
                 "            ours.copy_(theirs)",
            replace="for ours, theirs in zip(self.model.buffers(), model.buffers()):\n"
                    "            if ours.dtype != torch.bool:\n"
                    "                ours.copy_(theirs)"),
    Mistake("buffers_forgotten", "test_every_parameter_is_averaged_and_every_buffer_copied",
            why="Without its running statistics of today a batch norm normalises as on the first day.",
            find="for ours, theirs in zip(self.model.buffers(), model.buffers()):\n"
                 "            ours.copy_(theirs)",
            replace="pass"),
    Mistake("buffers_shared", "test_the_average_and_the_model_share_no_memory",
            why="A buffer that is shared changes with the model, between updates too.",
            find="for ours, theirs in zip(self.model.buffers(), model.buffers()):\n"
                 "            ours.copy_(theirs)",
            replace="for ours, theirs in zip(self.model.buffers(), model.buffers()):\n"
                    "            ours.data = theirs.data"),
    Mistake("the_model_itself", "test_the_average_and_the_model_share_no_memory",
            why="The average must be a copy: this is the model itself, which can no longer be trained.",
            find="self.model = copy.deepcopy(model).eval().requires_grad_(False)",
            replace="self.model = model.eval().requires_grad_(False)"),
    Mistake("shallow_copy", "test_the_average_and_the_model_share_no_memory",
            why="A shallow copy has the very same parameters.",
            find="self.model = copy.deepcopy(model).eval().requires_grad_(False)",
            replace="self.model = copy.copy(model).eval().requires_grad_(False)"),
    Mistake("model_put_into_evaluation_mode", "test_the_model_is_left_as_it_is",
            why="eval() works in place: it is the copy that is to be evaluated, and the model goes on training.",
            find="self.model = copy.deepcopy(model).eval().requires_grad_(False)",
            replace="self.model = copy.deepcopy(model.eval()).requires_grad_(False)"),
    Mistake("model_frozen", "test_the_model_is_left_as_it_is",
            why="requires_grad_ works in place: only the copy is to be frozen.",
            find="self.model = copy.deepcopy(model).eval().requires_grad_(False)",
            replace="self.model = copy.deepcopy(model.requires_grad_(False)).eval()"),
    Mistake("average_in_training_mode", "test_the_averaged_model_is_ready_to_sample",
            why="In training mode dropout drops, and a batch norm looks at the batch: sample in evaluation mode.",
            find="self.model = copy.deepcopy(model).eval().requires_grad_(False)",
            replace="self.model = copy.deepcopy(model).requires_grad_(False)"),
    Mistake("average_takes_gradients", "test_the_averaged_model_is_ready_to_sample",
            why="Nobody trains the average: with gradients, sampling keeps every activation in memory.",
            find="self.model = copy.deepcopy(model).eval().requires_grad_(False)",
            replace="self.model = copy.deepcopy(model).eval()"),
    Mistake("gradients_recorded_by_the_update", "test_the_averaged_model_is_ready_to_sample",
            why="Every update would hang on the graph of all updates before it, and memory grows without end.",
            find="@torch.no_grad()\n"
                 "    def update",
            replace="def update"),
    Mistake("own_weights_not_copied", "test_inside_the_model_is_the_average_and_afterwards_itself_again",
            why="A state dict holds the model's own memory, which the swap overwrites: copy it first.",
            find="own = _copies(model)",
            replace="own = model.state_dict()"),
    Mistake("own_weights_copied_at_the_top_only", "test_inside_the_model_is_the_average_and_afterwards_itself_again",
            why="A new dictionary with the same tensors in it protects nothing: clone every tensor.",
            find="own = _copies(model)",
            replace="own = dict(model.state_dict())"),
    Mistake("parameters_without_buffers_swapped", "test_inside_the_model_is_the_average_and_afterwards_itself_again",
            why="The average's weights need the running statistics that belong to them.",
            find="model.load_state_dict(self.model.state_dict())",
            replace="model.load_state_dict(dict(self.model.named_parameters()), strict=False)"),
    Mistake("buffers_not_swapped_back", "test_inside_the_model_is_the_average_and_afterwards_itself_again",
            why="The model needs its own buffers back as well as its weights.",
            find="        try:\n"
                 "            yield\n"
                 "        finally:\n"
                 "            model.load_state_dict(own)",
            replace="        try:\n"
                    "            yield\n"
                    "        finally:\n"
                    "            model.load_state_dict({k: own[k] for k, _ in model.named_parameters()}, strict=False)"),
    Mistake("memory_handed_over", "test_training_inside_reaches_neither_the_average_nor_the_model_afterwards",
            why="A model that borrows the memory of the average trains the average inside.",
            find="model.load_state_dict(self.model.state_dict())",
            replace="for tensor, average in zip([*model.parameters(), *model.buffers()], [*self.model.parameters(), *self.model.buffers()]):\n"
                    "            tensor.data = average.data"),
    Mistake("numbers_exchanged", "test_inside_the_model_is_the_average_and_afterwards_itself_again",
            why="Exchanged, the average is gone while the model has it.",
            find="model.load_state_dict(self.model.state_dict())",
            replace="for p, q in zip(self.model.parameters(), model.parameters()):\n"
                    "            p.data, q.data = q.data, p.data"),
    Mistake("new_parameters_inside", "test_an_optimizer_goes_on_as_if_there_had_been_no_average",
            why="Assigned, the parameters are other tensors, and the optimizer goes on with those nobody uses any more.",
            find="model.load_state_dict(self.model.state_dict())",
            replace="model.load_state_dict(_copies(self.model), assign=True)"),
    Mistake("new_parameters_afterwards", "test_an_optimizer_goes_on_as_if_there_had_been_no_average",
            why="Assigned, the parameters are other tensors, and the optimizer goes on with those nobody uses any more.",
            find="        try:\n"
                 "            yield\n"
                 "        finally:\n"
                 "            model.load_state_dict(own)",
            replace="        try:\n"
                    "            yield\n"
                    "        finally:\n"
                    "            model.load_state_dict(own, assign=True)"),
    Mistake("gradients_thrown_away", "test_an_optimizer_goes_on_as_if_there_had_been_no_average",
            why="Between a gradient and its step a swap must not lose the gradient.",
            find="own = _copies(model)",
            replace="own = _copies(model)\n"
                    "        model.zero_grad(set_to_none=False)"),
    Mistake("gradients_thrown_away_by_the_update", "test_an_optimizer_goes_on_as_if_there_had_been_no_average",
            why="Averaging the weights is no reason to touch the gradients: the model is not changed.",
            find="self.num_updates += 1\n"
                 "        decay = self.decay_at(self.num_updates)",
            replace="model.zero_grad(set_to_none=False)\n"
                    "        self.num_updates += 1\n"
                    "        decay = self.decay_at(self.num_updates)"),
    Mistake("not_restored_after_an_exception", "test_the_model_gets_its_own_weights_back_after_an_exception",
            why="Without `finally`, an exception while sampling leaves the model with the average's weights.",
            find="        try:\n"
                 "            yield\n"
                 "        finally:\n"
                 "            model.load_state_dict(own)",
            replace="        yield\n"
                    "        model.load_state_dict(own)"),
    Mistake("restored_after_exceptions_only", "test_inside_the_model_is_the_average_and_afterwards_itself_again",
            why="The model gets its own weights back at the end, exception or not.",
            find="        try:\n"
                 "            yield\n"
                 "        finally:\n"
                 "            model.load_state_dict(own)",
            replace="        try:\n"
                    "            yield\n"
                    "        except BaseException:\n"
                    "            model.load_state_dict(own)\n"
                    "            raise"),
    Mistake("exception_swallowed", "test_the_model_gets_its_own_weights_back_after_an_exception",
            why="An error while sampling must reach the caller.",
            find="        try:\n"
                 "            yield\n"
                 "        finally:\n"
                 "            model.load_state_dict(own)",
            replace="        try:\n"
                    "            yield\n"
                    "        except BaseException:\n"
                    "            pass\n"
                    "        model.load_state_dict(own)"),
    Mistake("no_gradients_inside", "test_training_inside_reaches_neither_the_average_nor_the_model_afterwards",
            why="no_grad around the yield also covers what the caller does inside.",
            find="        try:\n"
                 "            yield\n"
                 "        finally:\n"
                 "            model.load_state_dict(own)",
            replace="        with torch.no_grad():\n"
                    "            try:\n"
                    "                yield\n"
                    "            finally:\n"
                    "                model.load_state_dict(own)"),
    Mistake("left_in_evaluation_mode", "test_the_model_is_left_as_it_is",
            why="The mode is the caller's choice; left in evaluation mode, the model trains without its dropout.",
            find="model.load_state_dict(self.model.state_dict())",
            replace="model.eval()\n"
                    "        model.load_state_dict(self.model.state_dict())"),
    Mistake("counter_not_saved", "test_a_run_that_was_saved_and_loaded_is_the_run_that_was_not_interrupted",
            why="Without the count a resumed run starts its warm-up again and forgets the average within ten updates.",
            find='self.num_updates = state["num_updates"]',
            replace="self.num_updates = 0"),
    Mistake("state_dict_not_copied", "test_a_state_dict_is_a_copy_going_out_and_coming_in",
            why="A state dict holds the average's own memory: the next update changes what was kept.",
            find='return {"model": _copies(self.model), "num_updates": self.num_updates}',
            replace='return {"model": self.model.state_dict(), "num_updates": self.num_updates}'),
    Mistake("whole_model_saved", "test_a_run_that_was_saved_and_loaded_is_the_run_that_was_not_interrupted",
            why="A pickled module cannot be loaded with weights_only=True, and breaks when the code is renamed.",
            find='return {"model": _copies(self.model), "num_updates": self.num_updates}',
            replace='return {"model": copy.deepcopy(self.model), "num_updates": self.num_updates}'),
    Mistake("parameters_without_buffers_saved", "test_the_saved_average_is_the_state_dict_of_the_model",
            why="What is saved must load into the model itself: the buffers and tied names belong to it.",
            find='return {"model": _copies(self.model), "num_updates": self.num_updates}',
            replace='return {"model": {k: v.clone() for k, v in self.model.named_parameters()}, "num_updates": self.num_updates}'),
    Mistake("loaded_without_a_copy", "test_a_state_dict_is_a_copy_going_out_and_coming_in",
            why="Assigned, the average works on the memory of the checkpoint that was loaded.",
            find='self.model.load_state_dict(state["model"])',
            replace='self.model.load_state_dict(state["model"], assign=True)'),
    Mistake("decay_unchecked", "test_a_decay_outside_0_to_1_is_refused",
            why="A decay of 1 would never learn anything; above 1 the average explodes.",
            find="if not 0 <= decay < 1:",
            replace="if False:"),
    Mistake("count_never_set_back", "test_an_older_state_sets_the_count_back",
            why="A run that goes back to an older checkpoint goes back in its warm-up, too.",
            find='self.num_updates = state["num_updates"]',
            replace='self.num_updates = max(self.num_updates, state["num_updates"])'),
    Mistake("own_values_kept_on_the_average", "test_two_models_may_borrow_the_average_one_inside_the_other",
            why="One model inside another overwrites what was kept of the outer one.",
            find="        own = _copies(model)\n"
                 "        model.load_state_dict(self.model.state_dict())\n"
                 "        try:\n"
                 "            yield\n"
                 "        finally:\n"
                 "            model.load_state_dict(own)\n",
            replace="        self._own = _copies(model)\n"
                    "        model.load_state_dict(self.model.state_dict())\n"
                    "        try:\n"
                    "            yield\n"
                    "        finally:\n"
                    "            model.load_state_dict(self._own)\n"),
    Mistake("decay_above_the_default_cut", "test_the_decay_grows_until_it_is_the_given_one",
            why="A long run wants 0.9999, and the argument is there to be used.",
            find="return min(self.decay, (1 +",
            replace="return min(self.decay, 0.999, (1 +"),
    Mistake("backup_kept_by_the_model", "test_one_model_may_borrow_the_average_twice_one_inside_the_other",
            why="A swap inside a swap overwrites the backup with the average: the weights are lost.",
            find="        own = _copies(model)\n"
                 "        model.load_state_dict(self.model.state_dict())\n"
                 "        try:\n"
                 "            yield\n"
                 "        finally:\n"
                 "            model.load_state_dict(own)\n",
            replace='        self._own = getattr(self, "_own", {})\n'
                    "        self._own[id(model)] = _copies(model)\n"
                    "        model.load_state_dict(self.model.state_dict())\n"
                    "        try:\n"
                    "            yield\n"
                    "        finally:\n"
                    "            model.load_state_dict(self._own[id(model)])\n"),
    Mistake("no_swap_before_the_first_update", "test_an_average_that_was_never_updated_is_swapped_in_like_any_other",
            why="The average may come from elsewhere, from a file for one, and is there after 0 updates.",
            find="        model.load_state_dict(self.model.state_dict())\n",
            replace="        if self.num_updates:\n"
                    "            model.load_state_dict(self.model.state_dict())\n"),
    Mistake("buffers_put_back_into_the_old_tensors", "test_a_buffer_that_is_set_anew_inside_is_put_back",
            why="A module may have put another tensor in the buffer's place; the old one is nobody's any more.",
            find="        own = _copies(model)\n"
                 "        model.load_state_dict(self.model.state_dict())\n"
                 "        try:\n"
                 "            yield\n"
                 "        finally:\n"
                 "            model.load_state_dict(own)\n",
            replace="        own = [(t, t.detach().clone()) for t in (*model.parameters(), *model.buffers())]\n"
                    "        model.load_state_dict(self.model.state_dict())\n"
                    "        try:\n"
                    "            yield\n"
                    "        finally:\n"
                    "            with torch.no_grad():\n"
                    "                for tensor, value in own:\n"
                    "                    tensor.copy_(value)\n"),
]
