"""Wrong training loops that real people write."""

from tests.mistakes import Mistake

CHOSEN = "chosen = torch.randint(len(samples), (batch_size,), generator=generator, device=samples.device)"
NOISE = "noise = torch.randn(x_start.shape, generator=generator, dtype=x_start.dtype, device=x_start.device)"
UPDATE = "        if ema is not None:\n            ema.update(model)\n"
STEP = "report = _update(model, optimizer, loss, step, warmup, max_grad_norm)\n"
CLIP = "grad_norm = nn.utils.clip_grad_norm_(model.parameters(), max_grad_norm)"
BACKWARD = "    model.zero_grad()  # not the optimizer's alone: the norm below is over all parameters\n    loss.backward()\n"

MISTAKES = [
    Mistake(
        name="pixels_left_in_0_to_1",
        find="return 2 * images - 1",
        replace="return images",
        why="The noise lies around 0, so the images must too: in [0, 1] the network first has to learn their mean.",
        caught_by="test_pixels_become_numbers_around_0",
    ),
    Mistake(
        name="pixels_not_cut",
        find="return ((x + 1) / 2).clamp(0, 1)",
        replace="return (x + 1) / 2",
        why="A sampler overshoots a little; a picture has no pixels outside [0, 1].",
        caught_by="test_what_lies_outside_of_the_image_range_is_cut",
    ),
    Mistake(
        name="cut_before_it_is_shifted",
        find="return ((x + 1) / 2).clamp(0, 1)",
        replace="return x.clamp(0, 1)",
        why="Half of the range lies below 0: cutting first makes it all black.",
        caught_by="test_pixels_become_numbers_around_0",
    ),
    Mistake(
        name="the_first_samples_every_time",
        find=CHOSEN,
        replace="chosen = torch.arange(batch_size, device=samples.device) % len(samples)",
        why="A batch is drawn at random: the same one again and again is learnt by heart.",
        caught_by="test_every_step_draws_anew",
    ),
    Mistake(
        name="last_sample_never_drawn",
        find=CHOSEN,
        replace=CHOSEN.replace("len(samples),", "len(samples) - 1,"),
        why="randint excludes its upper end already.",
        caught_by="test_samples_and_timesteps_are_drawn_evenly_and_independently",
    ),
    Mistake(
        name="batches_from_the_global_generator",
        find=CHOSEN,
        replace="chosen = torch.randint(len(samples), (batch_size,), device=samples.device)",
        why="What does not come from the generator cannot be repeated or resumed.",
        caught_by="test_the_generator_alone_decides",
    ),
    Mistake(
        name="labels_of_other_samples",
        find="chosen_labels = None if labels is None else labels[chosen]",
        replace="chosen_labels = None if labels is None else labels[: len(chosen)].repeat(batch_size)[:batch_size]",
        why="Each drawn sample brings its own label.",
        caught_by="test_labels_belong_to_their_samples_and_are_dropped_now_and_then",
    ),
    Mistake(
        name="labels_never_dropped",
        find="chosen_labels = drop_labels(chosen_labels, null_label, drop_probability, generator=generator)",
        replace="pass",
        why="Without dropped labels the network never learns to answer without one, and guidance has nothing to compare.",
        caught_by="test_labels_belong_to_their_samples_and_are_dropped_now_and_then",
    ),
    Mistake(
        name="a_fifth_of_the_labels_dropped",
        find="drop_probability: float | int = 0.1",
        replace="drop_probability: float | int = 0.2",
        why="The default is a tenth.",
        caught_by="test_a_tenth_of_the_labels_is_dropped_unless_told_otherwise",
    ),
    Mistake(
        name="labels_not_shown_to_the_model",
        find="return model(x_t, t) if labels is None else model(x_t, t, labels)",
        replace="return model(x_t, t)",
        why="A network that never sees a label cannot be asked for a digit.",
        caught_by="test_labels_belong_to_their_samples_and_are_dropped_now_and_then",
    ),
    Mistake(
        name="missing_null_label_accepted",
        find="if labels is not None and null_label is None:",
        replace="if False:",
        why="There has to be a label that stands for no label.",
        caught_by="test_without_labels_the_model_is_asked_without",
    ),
    Mistake(
        name="one_timestep_for_the_batch",
        find="t = sample_timesteps(len(x_start), len(alphas_cumprod), generator=generator)",
        replace="t = sample_timesteps(1, len(alphas_cumprod), generator=generator).repeat(len(x_start))",
        why="One timestep a batch makes the loss jump from step to step; each sample draws its own.",
        caught_by="test_samples_and_timesteps_are_drawn_evenly_and_independently",
    ),
    Mistake(
        name="last_timestep_never_drawn",
        find="t = sample_timesteps(len(x_start), len(alphas_cumprod), generator=generator)",
        replace="t = sample_timesteps(len(x_start), len(alphas_cumprod) - 1, generator=generator)",
        why="Sampling starts at T - 1, so T - 1 has to be trained.",
        caught_by="test_samples_and_timesteps_are_drawn_evenly_and_independently",
    ),
    Mistake(
        name="noise_uniform",
        find=NOISE,
        replace=NOISE.replace("torch.randn", "torch.rand"),
        why="The noise is standard normal (randn), not uniform (rand).",
        caught_by="test_the_noise_is_standard_normal_and_the_model_sees_the_noisy_sample",
    ),
    Mistake(
        name="one_noise_for_the_batch",
        find=NOISE,
        replace=NOISE.replace("x_start.shape,", "(1, *x_start.shape[1:]),") + ".expand_as(x_start)",
        why="Each sample gets its own noise.",
        caught_by="test_the_noise_is_standard_normal_and_the_model_sees_the_noisy_sample",
    ),
    Mistake(
        name="noise_from_the_global_generator",
        find=NOISE,
        replace="noise = torch.randn_like(x_start)",
        why="What does not come from the generator cannot be repeated or resumed.",
        caught_by="test_the_generator_alone_decides",
    ),
    Mistake(
        name="target_not_passed_on",
        find="alphas_cumprod, target=target, weights=weights)",
        replace="alphas_cumprod, weights=weights)",
        why="What the network has to predict is the caller's choice.",
        caught_by="test_batches_have_their_size_and_steps_their_numbers",
    ),
    Mistake(
        name="weights_not_passed_on",
        find="alphas_cumprod, target=target, weights=weights)",
        replace="alphas_cumprod, target=target)",
        why="The caller's weights have to reach the loss.",
        caught_by="test_weights_belong_to_timesteps",
    ),
    Mistake(
        name="sum_over_the_batch",
        find="target=target, weights=weights).mean()",
        replace="target=target, weights=weights).sum()",
        why="A sum grows with the batch, and the learning rate with it.",
        caught_by="test_the_loss_is_the_mean_over_the_batch_and_the_update_follows_its_gradient",
    ),
    Mistake(
        name="gradients_pile_up",
        find=BACKWARD,
        replace="    loss.backward()\n",
        why="Gradients are added to what is there: without clearing them every step repeats all before it.",
        caught_by="test_the_gradient_is_that_of_this_batch_alone",
    ),
    Mistake(
        name="gradient_cleared_after_it_was_computed",
        find=BACKWARD,
        replace="    loss.backward()\n    optimizer.zero_grad(set_to_none=False)\n",
        why="Cleared after the backward pass there is nothing left to step with.",
        caught_by="test_the_loss_is_the_mean_over_the_batch_and_the_update_follows_its_gradient",
    ),
    Mistake(
        name="not_clipped",
        find=CLIP,
        replace="grad_norm = nn.utils.clip_grad_norm_(model.parameters(), 1e9)",
        why="One unlucky batch must not throw the weights away.",
        caught_by="test_a_long_gradient_is_scaled_down_to_the_norm_over_all_parameters",
    ),
    Mistake(
        name="clipped_by_value",
        find=CLIP,
        replace="grad_norm = nn.utils.clip_grad_norm_(model.parameters(), 1e9)\n"
        "    nn.utils.clip_grad_value_(model.parameters(), max_grad_norm)",
        why="Cutting each entry turns the gradient; scaling all of it down keeps its direction.",
        caught_by="test_a_long_gradient_is_scaled_down_to_the_norm_over_all_parameters",
    ),
    Mistake(
        name="clipped_parameter_by_parameter",
        find=CLIP,
        replace="norms = [nn.utils.clip_grad_norm_(p, max_grad_norm) for p in model.parameters()]\n"
        "    grad_norm = torch.stack(norms).norm()",
        why="The norm is that of all parameters together: one by one, the direction changes.",
        caught_by="test_a_long_gradient_is_scaled_down_to_the_norm_over_all_parameters",
    ),
    Mistake(
        name="learning_rate_not_put_back",
        find="    for group, rate in zip(optimizer.param_groups, rates):  # a checkpoint must not hold the reduced rate\n"
        '        group["lr"] = rate\n',
        replace="",
        why="The factors multiply up, and a checkpoint saved during the warm-up keeps the reduced rate.",
        caught_by="test_the_learning_rate_warms_up_and_is_put_back",
    ),
    Mistake(
        name="warm_up_starts_at_zero",
        find="warmup = min(1.0, (step + 1) / max(1, warmup_steps))",
        replace="warmup = min(1.0, step / max(1, warmup_steps))",
        why="With factor 0 the first step does nothing.",
        caught_by="test_the_learning_rate_warms_up_and_is_put_back",
    ),
    Mistake(
        name="warm_up_never_ends",
        find="warmup = min(1.0, (step + 1) / max(1, warmup_steps))",
        replace="warmup = (step + 1) / max(1, warmup_steps)",
        why="After the warm-up the factor stays 1.",
        caught_by="test_the_learning_rate_warms_up_and_is_put_back",
    ),
    Mistake(
        name="warm_up_starts_again_when_resumed",
        find="warmup = min(1.0, (step + 1) / max(1, warmup_steps))",
        replace="warmup = min(1.0, (step - first_step + 1) / max(1, warmup_steps))",
        why="A resumed run goes on where it was stopped, in the warm-up too.",
        caught_by="test_a_resumed_run_is_the_run_that_was_stopped",
    ),
    Mistake(
        name="average_never_updated",
        find=UPDATE,
        replace="",
        why="An average that nobody updates stays at the random start.",
        caught_by="test_the_average_is_updated_after_every_step",
    ),
    Mistake(
        name="average_updated_before_the_step",
        find="        " + STEP + UPDATE,
        replace=UPDATE + "        " + STEP,
        why="The average takes in the weights that the step has made.",
        caught_by="test_the_average_is_updated_after_every_step",
    ),
    Mistake(
        name="callback_before_the_average",
        find=UPDATE + "        if on_step is not None:\n            on_step(report)\n",
        replace="        if on_step is not None:\n            on_step(report)\n" + UPDATE,
        why="A checkpoint saved in the callback would miss the last update of the average.",
        caught_by="test_the_average_is_updated_after_every_step",
    ),
    Mistake(
        name="evaluation_mode_stays",
        find="        model.train()\n",
        replace="",
        why="A callback that draws samples leaves the model in evaluation mode.",
        caught_by="test_the_model_trains_in_training_mode_whatever_the_callback_does",
    ),
    Mistake(
        name="infinite_loss_trained_on",
        find="if not math.isfinite(value):",
        replace="if math.isnan(value):",
        why="An infinite loss makes every weight NaN just the same.",
        caught_by="test_a_loss_that_is_not_finite_stops_before_anything_is_changed",
    ),
    Mistake(
        name="loss_checked_after_the_step",
        find='    if not math.isfinite(value):\n        raise FloatingPointError(f"the loss is not finite at step {step}: {value}")\n'
        "    model.zero_grad()  # not the optimizer's alone: the norm below is over all parameters\n    loss.backward()\n" + "    " + CLIP + "\n",
        replace="    model.zero_grad()  # not the optimizer's alone: the norm below is over all parameters\n    loss.backward()\n    " + CLIP + "\n    optimizer.step()\n"
        '    if not math.isfinite(value):\n        raise FloatingPointError(f"the loss is not finite at step {step}: {value}")\n',
        why="After the step the weights are NaN already: look first.",
        caught_by="test_a_loss_that_is_not_finite_stops_before_anything_is_changed",
    ),
    Mistake(
        name="saved_in_place",
        find="torch.save(state, unfinished)\n    os.replace(unfinished, path)",
        replace="torch.save(state, path)",
        why="A run that is killed while it writes over its only checkpoint has none.",
        caught_by="test_a_run_that_is_killed_while_saving_keeps_its_last_checkpoint",
    ),
    Mistake(
        name="removed_before_the_new_one_is_there",
        find="    os.replace(unfinished, path)",
        replace="    path.unlink(missing_ok=True)\n    os.rename(unfinished, path)",
        why="Between the two lines there is no checkpoint; replace does both at once.",
        caught_by="test_a_run_that_is_killed_while_saving_keeps_its_last_checkpoint",
    ),
    Mistake(
        name="optimizer_not_saved",
        find='        "optimizer": optimizer.state_dict(),\n',
        replace='        "optimizer": {**optimizer.state_dict(), "state": {}},\n',
        why="Adam's averages belong to the run: without them the next steps are others.",
        caught_by="test_a_resumed_run_is_the_run_that_was_stopped",
    ),
    Mistake(
        name="generator_not_restored",
        find='    generator.set_state(state["generator"])\n',
        replace="",
        why="The rest of the run would draw other samples.",
        caught_by="test_a_resumed_run_is_the_run_that_was_stopped",
    ),
    Mistake(
        name="average_not_restored",
        find='        ema.load_state_dict(state["ema"])',
        replace="        pass",
        why="The average would start anew from whatever the fresh model is.",
        caught_by="test_a_resumed_run_is_the_run_that_was_stopped",
    ),
    Mistake(
        name="missing_average_passed_over",
        find='if ema is not None and state["ema"] is None:',
        replace='if ema is not None and state["ema"] is None:\n        return state["step"]\n    if False:',
        why="An average that is silently not restored is found out when the pictures are bad.",
        caught_by="test_a_checkpoint_is_safe_to_load_and_may_lack_an_average",
    ),
    Mistake(
        name="whole_objects_saved",
        find='"model": model.state_dict(),',
        replace='"model": model.state_dict(), "class": type(model),',
        why="A file with classes in it can run any code when it is loaded; state dicts and numbers cannot.",
        caught_by="test_a_checkpoint_is_safe_to_load_and_may_lack_an_average",
    ),
    Mistake(
        name="only_the_optimizers_gradients_cleared",
        find="    model.zero_grad()  # not",
        replace="    optimizer.zero_grad()  # not",
        why="What the optimizer does not hold keeps its gradient, piles up, and enters the norm that clips the rest.",
        caught_by="test_gradients_of_parameters_that_the_optimizer_does_not_hold_count_nowhere",
    ),
    Mistake(
        name="without_replacement",
        find="chosen = torch.randint(len(samples), (batch_size,), generator=generator, device=samples.device)",
        replace="chosen = torch.cat([torch.randperm(len(samples), generator=generator) for _ in range(-(-batch_size // len(samples)))])[:batch_size]",
        why="A permutation leaves no sample out of a batch: batches are then not independent draws.",
        caught_by="test_samples_are_drawn_with_replacement",
    ),
    Mistake(
        name="null_label_0_taken_for_none",
        find="if labels is not None and null_label is None:",
        replace="if labels is not None and not null_label:",
        why="0 is a label like any other, and not the absence of one.",
        caught_by="test_a_null_label_of_0_is_a_label",
    ),
    Mistake(
        name="null_label_asked_for_only_if_labels_drop",
        find="if labels is not None and null_label is None:",
        replace="if labels is not None and null_label is None and drop_probability > 0:",
        why="The docstring refuses labels without a null label whatever the probability.",
        caught_by="test_labels_need_a_null_label_even_if_none_is_dropped",
    ),
    Mistake(
        name="first_group_clipped_alone",
        find='grad_norm = nn.utils.clip_grad_norm_(model.parameters(), max_grad_norm)',
        replace='grad_norm = nn.utils.clip_grad_norm_(optimizer.param_groups[0]["params"], max_grad_norm)',
        why='The norm is that of the whole gradient; a group that is left out moves as far as it likes.',
        caught_by="test_the_gradient_is_clipped_over_all_groups_together",
    ),
    Mistake(
        name="modes_of_parts_left",
        find="        model.train()\n",
        replace="        if not model.training:\n            model.train()\n",
        why="A part may be in evaluation mode while the whole is in training mode.",
        caught_by="test_every_part_of_the_model_trains_at_each_step",
    ),
    Mistake(
        name="average_waits_for_the_warm_up",
        find='        if ema is not None:\n            ema.update(model)\n',
        replace='        if ema is not None and step >= warmup_steps:\n            ema.update(model)\n',
        why="The average has a warm-up of its own; the learning rate's is none of its business.",
        caught_by="test_the_average_is_updated_during_the_warm_up_too",
    ),
    Mistake(
        name="report_of_tensors",
        find="return TrainReport(step, value, grad_norm.item(), rates[0] * warmup)",
        replace="return TrainReport(step, value, grad_norm, rates[0] * warmup)",
        why="A tensor in a report keeps its memory, and on a GPU everything that reads it waits.",
        caught_by="test_a_report_holds_plain_numbers",
    ),
    Mistake(
        name="noise_mirrored_in_pairs",
        find="    def predict(x_t: Tensor, t: Tensor) -> Tensor:\n",
        replace="    noise[1::2] = -noise[0::2]\n\n    def predict(x_t: Tensor, t: Tensor) -> Tensor:\n",
        why="Antithetic noise is not independent: each sample has its own.",
        caught_by="test_each_sample_has_a_timestep_and_a_noise_of_its_own",
    ),
    Mistake(
        name="generator_starts_again_at_each_call",
        find="    for step in range(first_step, steps):\n",
        replace="    generator.manual_seed(generator.initial_seed())\n    for step in range(first_step, steps):\n",
        why="Whoever hands over a generator decides where it stands; a resumed run would repeat its first batches.",
        caught_by="test_the_generator_goes_on_where_it_is",
    ),
    Mistake(
        name="unfinished_file_left",
        find="    os.replace(unfinished, path)\n",
        replace="    os.replace(unfinished, path)\n    torch.save(state, unfinished)\n",
        why="The unfinished file belongs to a save that is under way, and to nobody else.",
        caught_by="test_the_file_is_written_beside_the_old_one_and_nothing_else_is_left",
    ),
    Mistake(
        name="samples_cast_to_float32",
        find="    noise = torch.randn(x_start.shape,",
        replace="    x_start = x_start.float()\n    noise = torch.randn(x_start.shape,",
        why="Samples in float64 are float64 for a reason; the cast halves their digits.",
        caught_by="test_samples_in_float64_are_trained_in_float64",
    ),
    Mistake(
        name="unfinished_file_elsewhere",
        find='    unfinished = path.with_name(path.name + ".unfinished")\n',
        replace='    import tempfile\n\n    unfinished = Path(tempfile.mkdtemp()) / path.name\n',
        why='Only within one file system is a move all or nothing.',
        caught_by="test_the_file_is_written_beside_the_old_one_and_nothing_else_is_left",
    ),
    Mistake(
        name="rates_read_once",
        find='    for step in range(first_step, steps):\n        model.train()\n',
        replace='    rates = [group["lr"] for group in optimizer.param_groups]\n    for step in range(first_step, steps):\n        for group, rate in zip(optimizer.param_groups, rates):\n            group["lr"] = rate\n        model.train()\n',
        why="A schedule of one's own lives in the callback; rates read at the start undo it at each step.",
        caught_by="test_a_rate_that_the_callback_changes_is_the_rate_from_then_on",
    ),
    Mistake(
        name="rates_scaled_before_the_loss_is_checked",
        find='        loss = _loss(',
        replace='        for group in optimizer.param_groups:\n            group["lr"] *= 1 - 1e-9\n        loss = _loss(',
        why='Nothing is changed by a loss that is not finite, the rates of the optimizer included.',
        caught_by="test_a_loss_that_is_not_finite_leaves_the_optimizer_as_it_was",
    ),
]


EQUIVALENT = {
    "train_diffusion: 0 → 1 (2)": ("A warm-up of one step is none."),
    "train_diffusion: torch.randint(len(samples), (batch_size,), generator=generator, device=samples.device) → torch.randint(len(samples), (batch_size,), generator=generator)": (
        "Only a second device shows it."
    ),
    "_loss: torch.randn(x_start.shape, generator=generator, dtype=x_start.dtype, device=x_start.device) → torch.randn(x_start.shape, generator=generator, dtype=x_start.dtype)": (
        "Only a second device shows it."
    ),
    "load_checkpoint: torch.load(path, weights_only=True, map_location='cpu') → torch.load(path, map_location='cpu')": (
        "It is the default from PyTorch 2.6 on."
    ),
    "load_checkpoint: torch.load(path, weights_only=True, map_location='cpu') → torch.load(path, weights_only=True)": (
        "Only a second device shows it."
    ),
    "load_checkpoint: torch.load(path, weights_only=True, map_location='cpu') → torch.load(path, weights_only=False, map_location='cpu')": (
        "Reads the same; that the file holds nothing but weights is asked of save_checkpoint."
    ),
}
