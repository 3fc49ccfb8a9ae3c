"""Wrong training loops that real people write."""

from tests.katas.mistakes import Mistake

MISTAKES = [
    Mistake("pixels_left_in_0_to_1", "test_pixels_become_numbers_around_0",
            why="The noise lies around 0, so the images must too: in [0, 1] the network first has to learn their mean.",
            find="return 2 * images - 1",
            replace="return images"),
    Mistake("pixels_not_cut", "test_what_lies_outside_of_the_image_range_is_cut",
            why="A sampler overshoots a little; a picture has no pixels outside [0, 1].",
            find="return ((x + 1) / 2).clamp(0, 1)",
            replace="return (x + 1) / 2"),
    Mistake("cut_before_it_is_shifted", "test_pixels_become_numbers_around_0",
            why="Half of the range lies below 0: cutting first makes it all black.",
            find="return ((x + 1) / 2).clamp(0, 1)",
            replace="return x.clamp(0, 1)"),
    Mistake("the_first_samples_every_time", "test_every_step_draws_anew",
            why="A batch is drawn at random: the same one again and again is learnt by heart.",
            find="chosen = torch.randint(len(samples), (batch_size,), generator=generator, device=samples.device)",
            replace="chosen = torch.arange(batch_size, device=samples.device) % len(samples)"),
    Mistake("last_sample_never_drawn", "test_samples_and_timesteps_are_drawn_evenly_and_independently",
            why="randint excludes its upper end already.",
            find="chosen = torch.randint(len(samples), (batch_size,), generator=generator, device=samples.device)",
            replace="chosen = torch.randint(len(samples) - 1, (batch_size,), generator=generator, device=samples.device)"),
    Mistake("batches_from_the_global_generator", "test_the_generator_alone_decides",
            why="What does not come from the generator cannot be repeated or resumed.",
            find="chosen = torch.randint(len(samples), (batch_size,), generator=generator, device=samples.device)",
            replace="chosen = torch.randint(len(samples), (batch_size,), device=samples.device)"),
    Mistake("labels_of_other_samples", "test_labels_belong_to_their_samples_and_are_dropped_now_and_then",
            why="Each drawn sample brings its own label.",
            find="chosen_labels = None if labels is None else labels[chosen]",
            replace="chosen_labels = None if labels is None else labels[: len(chosen)].repeat(batch_size)[:batch_size]"),
    Mistake("labels_never_dropped", "test_labels_belong_to_their_samples_and_are_dropped_now_and_then",
            why="Without dropped labels the network never learns to answer without one, and guidance has nothing to compare.",
            find="chosen_labels = drop_labels(chosen_labels, null_label, drop_probability, generator=generator)",
            replace="pass"),
    Mistake("a_fifth_of_the_labels_dropped", "test_a_tenth_of_the_labels_is_dropped_unless_told_otherwise",
            why="The default is a tenth.",
            find="drop_probability: float = 0.1",
            replace="drop_probability: float = 0.2"),
    Mistake("labels_not_shown_to_the_model", "test_labels_belong_to_their_samples_and_are_dropped_now_and_then",
            why="A network that never sees a label cannot be asked for a digit.",
            find="return model(x_t, t) if labels is None else model(x_t, t, labels)",
            replace="return model(x_t, t)"),
    Mistake("missing_null_label_accepted", "test_without_labels_the_model_is_asked_without",
            why="There has to be a label that stands for no label.",
            find="if labels is not None and null_label is None:",
            replace="if False:"),
    Mistake("one_timestep_for_the_batch", "test_samples_and_timesteps_are_drawn_evenly_and_independently",
            why="One timestep a batch makes the loss jump from step to step; each sample draws its own.",
            find="t = sample_timesteps(len(x_start), len(alphas_cumprod), generator=generator)",
            replace="t = sample_timesteps(1, len(alphas_cumprod), generator=generator).repeat(len(x_start))"),
    Mistake("last_timestep_never_drawn", "test_samples_and_timesteps_are_drawn_evenly_and_independently",
            why="Sampling starts at T - 1, so T - 1 has to be trained.",
            find="t = sample_timesteps(len(x_start), len(alphas_cumprod), generator=generator)",
            replace="t = sample_timesteps(len(x_start), len(alphas_cumprod) - 1, generator=generator)"),
    Mistake("noise_uniform", "test_the_noise_is_standard_normal_and_the_model_sees_the_noisy_sample",
            why="The noise is standard normal (randn), not uniform (rand).",
            find="noise = torch.randn(x_start.shape, generator=generator, dtype=x_start.dtype, device=x_start.device)",
            replace="noise = torch.rand(x_start.shape, generator=generator, dtype=x_start.dtype, device=x_start.device)"),
    Mistake("one_noise_for_the_batch", "test_the_noise_is_standard_normal_and_the_model_sees_the_noisy_sample",
            why="Each sample gets its own noise.",
            find="noise = torch.randn(x_start.shape, generator=generator, dtype=x_start.dtype, device=x_start.device)",
            replace="noise = torch.randn((1, *x_start.shape[1:]), generator=generator, dtype=x_start.dtype, device=x_start.device).expand_as(x_start)"),
    Mistake("noise_from_the_global_generator", "test_the_generator_alone_decides",
            why="What does not come from the generator cannot be repeated or resumed.",
            find="noise = torch.randn(x_start.shape, generator=generator, dtype=x_start.dtype, device=x_start.device)",
            replace="noise = torch.randn_like(x_start)"),
    Mistake("target_not_passed_on", "test_batches_have_their_size_and_steps_their_numbers",
            why="What the network has to predict is the caller's choice.",
            find="alphas_cumprod, target=target, weights=weights)",
            replace="alphas_cumprod, weights=weights)"),
    Mistake("weights_not_passed_on", "test_weights_belong_to_timesteps",
            why="The caller's weights have to reach the loss.",
            find="alphas_cumprod, target=target, weights=weights)",
            replace="alphas_cumprod, target=target)"),
    Mistake("sum_over_the_batch", "test_the_loss_is_the_mean_over_the_batch_and_the_update_follows_its_gradient",
            why="A sum grows with the batch, and the learning rate with it.",
            find="target=target, weights=weights).mean()",
            replace="target=target, weights=weights).sum()"),
    Mistake("gradients_pile_up", "test_the_gradient_is_that_of_this_batch_alone",
            why="Gradients are added to what is there: without clearing them every step repeats all before it.",
            find="    model.zero_grad()  # not the optimizer's alone: the norm below is over all parameters\n"
                 "    loss.backward()\n",
            replace="    loss.backward()\n"),
    Mistake("gradient_cleared_after_it_was_computed", "test_the_loss_is_the_mean_over_the_batch_and_the_update_follows_its_gradient",
            why="Cleared after the backward pass there is nothing left to step with.",
            find="    model.zero_grad()  # not the optimizer's alone: the norm below is over all parameters\n"
                 "    loss.backward()\n",
            replace="    loss.backward()\n"
                    "    optimizer.zero_grad(set_to_none=False)\n"),
    Mistake("not_clipped", "test_a_long_gradient_is_scaled_down_to_the_norm_over_all_parameters",
            why="One unlucky batch must not throw the weights away.",
            find="grad_norm = nn.utils.clip_grad_norm_(model.parameters(), max_grad_norm)",
            replace="grad_norm = nn.utils.clip_grad_norm_(model.parameters(), 1e9)"),
    Mistake("clipped_by_value", "test_a_long_gradient_is_scaled_down_to_the_norm_over_all_parameters",
            why="Cutting each entry turns the gradient; scaling all of it down keeps its direction.",
            find="grad_norm = nn.utils.clip_grad_norm_(model.parameters(), max_grad_norm)",
            replace="grad_norm = nn.utils.clip_grad_norm_(model.parameters(), 1e9)\n"
                    "    nn.utils.clip_grad_value_(model.parameters(), max_grad_norm)"),
    Mistake("clipped_parameter_by_parameter", "test_a_long_gradient_is_scaled_down_to_the_norm_over_all_parameters",
            why="The norm is that of all parameters together: one by one, the direction changes.",
            find="grad_norm = nn.utils.clip_grad_norm_(model.parameters(), max_grad_norm)",
            replace="norms = [nn.utils.clip_grad_norm_(p, max_grad_norm) for p in model.parameters()]\n"
                    "    grad_norm = torch.stack(norms).norm()"),
    Mistake("learning_rate_not_put_back", "test_the_learning_rate_warms_up_and_is_put_back",
            why="The factors multiply up, and a checkpoint saved during the warm-up keeps the reduced rate.",
            find="    for group, rate in zip(optimizer.param_groups, rates):  # a checkpoint must not hold the reduced rate\n"
                 '        group["lr"] = rate\n',
            replace=""),
    Mistake("warm_up_starts_at_zero", "test_the_learning_rate_warms_up_and_is_put_back",
            why="With factor 0 the first step does nothing.",
            find="warmup = min(1.0, (step + 1) / max(1, warmup_steps))",
            replace="warmup = min(1.0, step / max(1, warmup_steps))"),
    Mistake("warm_up_never_ends", "test_the_learning_rate_warms_up_and_is_put_back",
            why="After the warm-up the factor stays 1.",
            find="warmup = min(1.0, (step + 1) / max(1, warmup_steps))",
            replace="warmup = (step + 1) / max(1, warmup_steps)"),
    Mistake("warm_up_starts_again_when_resumed", "test_a_resumed_run_is_the_run_that_was_stopped",
            why="A resumed run goes on where it was stopped, in the warm-up too.",
            find="warmup = min(1.0, (step + 1) / max(1, warmup_steps))",
            replace="warmup = min(1.0, (step - first_step + 1) / max(1, warmup_steps))"),
    Mistake("average_never_updated", "test_the_average_is_updated_after_every_step",
            why="An average that nobody updates stays at the random start.",
            find="        if ema is not None:\n"
                 "            ema.update(model)\n",
            replace=""),
    Mistake("average_updated_before_the_step", "test_the_average_is_updated_after_every_step",
            why="The average takes in the weights that the step has made.",
            find="        report = _update(model, optimizer, loss, step, warmup, max_grad_norm)\n"
                 "        if ema is not None:\n"
                 "            ema.update(model)\n",
            replace="        if ema is not None:\n"
                    "            ema.update(model)\n"
                    "        report = _update(model, optimizer, loss, step, warmup, max_grad_norm)\n"),
    Mistake("callback_before_the_average", "test_the_average_is_updated_after_every_step",
            why="A checkpoint saved in the callback would miss the last update of the average.",
            find="        if ema is not None:\n"
                 "            ema.update(model)\n"
                 "        if on_step is not None:\n"
                 "            on_step(report)\n",
            replace="        if on_step is not None:\n"
                    "            on_step(report)\n"
                    "        if ema is not None:\n"
                    "            ema.update(model)\n"),
    Mistake("evaluation_mode_stays", "test_the_model_trains_in_training_mode_whatever_the_callback_does",
            why="A callback that draws samples leaves the model in evaluation mode.",
            find="        model.train()\n",
            replace=""),
    Mistake("infinite_loss_trained_on", "test_a_loss_that_is_not_finite_stops_before_anything_is_changed",
            why="An infinite loss makes every weight NaN just the same.",
            find="if not math.isfinite(value):",
            replace="if math.isnan(value):"),
    Mistake("loss_checked_after_the_step", "test_a_loss_that_is_not_finite_stops_before_anything_is_changed",
            why="After the step the weights are NaN already: look first.",
            find="    if not math.isfinite(value):\n"
                 '        raise FloatingPointError(f"the loss is not finite at step {step}: {value}")\n'
                 "    model.zero_grad()  # not the optimizer's alone: the norm below is over all parameters\n"
                 "    loss.backward()\n"
                 "    grad_norm = nn.utils.clip_grad_norm_(model.parameters(), max_grad_norm)\n",
            replace="    model.zero_grad()  # not the optimizer's alone: the norm below is over all parameters\n"
                    "    loss.backward()\n"
                    "    grad_norm = nn.utils.clip_grad_norm_(model.parameters(), max_grad_norm)\n"
                    "    optimizer.step()\n"
                    "    if not math.isfinite(value):\n"
                    '        raise FloatingPointError(f"the loss is not finite at step {step}: {value}")\n'),
    Mistake("saved_in_place", "test_a_run_that_is_killed_while_saving_keeps_its_last_checkpoint",
            why="A run that is killed while it writes over its only checkpoint has none.",
            find="torch.save(state, unfinished)\n"
                 "    os.replace(unfinished, path)",
            replace="torch.save(state, path)"),
    Mistake("removed_before_the_new_one_is_there", "test_a_run_that_is_killed_while_saving_keeps_its_last_checkpoint",
            why="Between the two lines there is no checkpoint; replace does both at once.",
            find="    os.replace(unfinished, path)",
            replace="    path.unlink(missing_ok=True)\n"
                    "    os.rename(unfinished, path)"),
    Mistake("optimizer_not_saved", "test_a_resumed_run_is_the_run_that_was_stopped",
            why="Adam's averages belong to the run: without them the next steps are others.",
            find='        "optimizer": optimizer.state_dict(),\n',
            replace='        "optimizer": {**optimizer.state_dict(), "state": {}},\n'),
    Mistake("generator_not_restored", "test_a_resumed_run_is_the_run_that_was_stopped",
            why="The rest of the run would draw other samples.",
            find='    generator.set_state(state["generator"])\n',
            replace=""),
    Mistake("average_not_restored", "test_a_resumed_run_is_the_run_that_was_stopped",
            why="The average would start anew from whatever the fresh model is.",
            find='        ema.load_state_dict(state["ema"])',
            replace="        pass"),
    Mistake("missing_average_passed_over", "test_a_checkpoint_is_safe_to_load_and_may_lack_an_average",
            why="An average that is silently not restored is found out when the pictures are bad.",
            find='if ema is not None and state["ema"] is None:',
            replace='if ema is not None and state["ema"] is None:\n'
                    '        return state["step"]\n'
                    "    if False:"),
    Mistake("whole_objects_saved", "test_a_checkpoint_is_safe_to_load_and_may_lack_an_average",
            why="A file with classes in it can run any code when it is loaded; state dicts and numbers cannot.",
            find='"model": model.state_dict(),',
            replace='"model": model.state_dict(), "class": type(model),'),
    Mistake("only_the_optimizers_gradients_cleared", "test_gradients_of_parameters_that_the_optimizer_does_not_hold_count_nowhere",
            why="What the optimizer does not hold keeps its gradient, piles up, and enters the norm that clips the rest.",
            find="    model.zero_grad()  # not",
            replace="    optimizer.zero_grad()  # not"),
    Mistake("without_replacement", "test_samples_are_drawn_with_replacement",
            why="A permutation leaves no sample out of a batch: batches are then not independent draws.",
            find="chosen = torch.randint(len(samples), (batch_size,), generator=generator, device=samples.device)",
            replace="chosen = torch.cat([torch.randperm(len(samples), generator=generator) for _ in range(-(-batch_size // len(samples)))])[:batch_size]"),
    Mistake("null_label_0_taken_for_none", "test_a_null_label_of_0_is_a_label",
            why="0 is a label like any other, and not the absence of one.",
            find="if labels is not None and null_label is None:",
            replace="if labels is not None and not null_label:"),
    Mistake("null_label_asked_for_only_if_labels_drop", "test_labels_need_a_null_label_even_if_none_is_dropped",
            why="The docstring refuses labels without a null label whatever the probability.",
            find="if labels is not None and null_label is None:",
            replace="if labels is not None and null_label is None and drop_probability > 0:"),
    Mistake("first_group_clipped_alone", "test_the_gradient_is_clipped_over_all_groups_together",
            why="The norm is that of the whole gradient; a group that is left out moves as far as it likes.",
            find="grad_norm = nn.utils.clip_grad_norm_(model.parameters(), max_grad_norm)",
            replace='grad_norm = nn.utils.clip_grad_norm_(optimizer.param_groups[0]["params"], max_grad_norm)'),
    Mistake("modes_of_parts_left", "test_every_part_of_the_model_trains_at_each_step",
            why="A part may be in evaluation mode while the whole is in training mode.",
            find="        model.train()\n",
            replace="        if not model.training:\n"
                    "            model.train()\n"),
    Mistake("average_waits_for_the_warm_up", "test_the_average_is_updated_during_the_warm_up_too",
            why="The average has a warm-up of its own; the learning rate's is none of its business.",
            find="        if ema is not None:\n"
                 "            ema.update(model)\n",
            replace="        if ema is not None and step >= warmup_steps:\n"
                    "            ema.update(model)\n"),
    Mistake("report_of_tensors", "test_a_report_holds_plain_numbers",
            why="A tensor in a report keeps its memory, and on a GPU everything that reads it waits.",
            find="return TrainReport(step, value, grad_norm.item(), rates[0] * warmup)",
            replace="return TrainReport(step, value, grad_norm, rates[0] * warmup)"),
    Mistake("noise_mirrored_in_pairs", "test_each_sample_has_a_timestep_and_a_noise_of_its_own",
            why="Antithetic noise is not independent: each sample has its own.",
            find="    def predict(x_t: Tensor, t: Tensor) -> Tensor:\n",
            replace="    noise[1::2] = -noise[0::2]\n"
                    "\n"
                    "    def predict(x_t: Tensor, t: Tensor) -> Tensor:\n"),
    Mistake("generator_starts_again_at_each_call", "test_the_generator_goes_on_where_it_is",
            why="Whoever hands over a generator decides where it stands; a resumed run would repeat its first batches.",
            find="    for step in range(first_step, steps):\n",
            replace="    generator.manual_seed(generator.initial_seed())\n"
                    "    for step in range(first_step, steps):\n"),
    Mistake("unfinished_file_left", "test_the_file_is_written_beside_the_old_one_and_nothing_else_is_left",
            why="The unfinished file belongs to a save that is under way, and to nobody else.",
            find="    os.replace(unfinished, path)\n",
            replace="    os.replace(unfinished, path)\n"
                    "    torch.save(state, unfinished)\n"),
    Mistake("samples_cast_to_float32", "test_samples_in_float64_are_trained_in_float64",
            why="Samples in float64 are float64 for a reason; the cast halves their digits.",
            find="    noise = torch.randn(x_start.shape,",
            replace="    x_start = x_start.float()\n"
                    "    noise = torch.randn(x_start.shape,"),
    Mistake("unfinished_file_elsewhere", "test_the_file_is_written_beside_the_old_one_and_nothing_else_is_left",
            why="Only within one file system is a move all or nothing.",
            find='    unfinished = path.with_name(path.name + ".unfinished")\n',
            replace="    import tempfile\n"
                    "\n"
                    "    unfinished = Path(tempfile.mkdtemp()) / path.name\n"),
    Mistake("rates_read_once", "test_a_rate_that_the_callback_changes_is_the_rate_from_then_on",
            why="A schedule of one's own lives in the callback; rates read at the start undo it at each step.",
            find="    for step in range(first_step, steps):\n"
                 "        model.train()\n",
            replace='    rates = [group["lr"] for group in optimizer.param_groups]\n'
                    "    for step in range(first_step, steps):\n"
                    "        for group, rate in zip(optimizer.param_groups, rates):\n"
                    '            group["lr"] = rate\n'
                    "        model.train()\n"),
    Mistake("rates_scaled_before_the_loss_is_checked", "test_a_loss_that_is_not_finite_leaves_the_optimizer_as_it_was",
            why="Nothing is changed by a loss that is not finite, the rates of the optimizer included.",
            find="        loss = _loss(",
            replace="        for group in optimizer.param_groups:\n"
                    '            group["lr"] *= 1 - 1e-9\n'
                    "        loss = _loss("),
    Mistake("noise_on_the_default_device", "test_everything_is_drawn_on_the_device_of_the_samples",
            why="On a GPU the samples are there, and the noise would be made on the processor.",
            find="dtype=x_start.dtype, device=x_start.device)",
            replace="dtype=x_start.dtype)"),
    Mistake("one_noise_for_all_pixels", "test_samples_have_any_rank_and_every_element_its_own_noise",
            why="Points look right; an image gets one number of noise for all of its pixels.",
            find="    noise = torch.randn(x_start.shape, generator=generator, dtype=x_start.dtype, device=x_start.device)\n",
            replace="    shape = x_start.shape[:2] + (1,) * (x_start.dim() - 2)\n"
                    "    noise = torch.randn(shape, generator=generator, dtype=x_start.dtype, device=x_start.device)\n"
                    "    noise = noise.expand(x_start.shape)\n"),
    Mistake("norm_of_the_optimizers_parameters", "test_the_norm_is_over_all_parameters_of_the_model_in_the_optimizer_or_not",
            why="With a part of the model in another optimizer, or in none, the norm is another one.",
            find="nn.utils.clip_grad_norm_(model.parameters(), max_grad_norm)",
            replace='nn.utils.clip_grad_norm_([p for group in optimizer.param_groups for p in group["params"]], max_grad_norm)'),
    Mistake("gradient_needed_for_every_parameter", "test_a_model_may_have_frozen_and_unused_parameters",
            why="torch.autograd.grad refuses a parameter that takes no part, or takes no gradient.",
            find="    loss.backward()\n",
            replace="    for parameter, gradient in zip(model.parameters(), torch.autograd.grad(loss, list(model.parameters()))):\n"
                    "        parameter.grad = gradient\n"),
    Mistake("backward_before_the_look_at_the_loss", "test_a_loss_that_is_not_finite_stops_before_anything_is_changed",
            why="The gradients are NaN by then, and whoever catches the error and steps has lost the model.",
            find="    value = loss.item()\n"
                 "    if not math.isfinite(value):\n"
                 '        raise FloatingPointError(f"the loss is not finite at step {step}: {value}")\n'
                 "    model.zero_grad()  # not the optimizer's alone: the norm below is over all parameters\n"
                 "    loss.backward()\n",
            replace="    model.zero_grad()\n"
                    "    loss.backward()\n"
                    "    value = loss.item()\n"
                    "    if not math.isfinite(value):\n"
                    '        raise FloatingPointError(f"the loss is not finite at step {step}: {value}")\n'),
    Mistake("warm_up_from_the_rate_at_the_start", "test_a_rate_that_the_callback_changes_is_the_rate_from_then_on",
            why="During the warm-up, too, the rate is the one that the group has by then.",
            find="    for step in range(first_step, steps):\n"
                 "        model.train()\n",
            replace='    first_rates = [group["lr"] for group in optimizer.param_groups]\n'
                    "    for step in range(first_step, steps):\n"
                    "        if step + 1 < warmup_steps:\n"
                    "            for group, rate in zip(optimizer.param_groups, first_rates):\n"
                    '                group["lr"] = rate\n'
                    "        model.train()\n"),
    Mistake("parameters_saved_without_buffers", "test_a_resumed_run_is_the_run_that_was_stopped",
            why="Running statistics and counters are buffers: a run resumed without them is another run.",
            find='        "model": model.state_dict(),\n',
            replace='        "model": dict(model.state_dict()) | {name: buffer * 0 for name, buffer in model.named_buffers()},\n'),
    Mistake("rate_of_the_new_optimizer_kept", "test_a_resumed_run_is_the_run_that_was_stopped",
            why="The learning rate is a part of the optimizer's state, and of the run.",
            find='    optimizer.load_state_dict(state["optimizer"])\n',
            replace='    rates = [group["lr"] for group in optimizer.param_groups]\n'
                    '    optimizer.load_state_dict(state["optimizer"])\n'
                    "    for group, rate in zip(optimizer.param_groups, rates):\n"
                    '        group["lr"] = rate\n'),
    Mistake("a_missing_average_found_out_too_late", "test_a_checkpoint_is_safe_to_load_and_may_lack_an_average",
            why="Half of the run is the file's by then, and half of it is what was there before.",
            find='    if ema is not None and state["ema"] is None:\n'
                 '        raise ValueError(f"ema: {path} was saved without one")\n'
                 '    model.load_state_dict(state["model"])\n'
                 '    optimizer.load_state_dict(state["optimizer"])\n'
                 '    generator.set_state(state["generator"])\n',
            replace='    model.load_state_dict(state["model"])\n'
                    '    optimizer.load_state_dict(state["optimizer"])\n'
                    '    generator.set_state(state["generator"])\n'
                    '    if ema is not None and state["ema"] is None:\n'
                    '        raise ValueError(f"ema: {path} was saved without one")\n'),
    Mistake("full_disk_ignored", "test_a_run_that_is_killed_while_saving_keeps_its_last_checkpoint",
            why="Half a file is moved over the good one.",
            find="    torch.save(state, unfinished)\n",
            replace="    try:\n"
                    "        torch.save(state, unfinished)\n"
                    "    except OSError:\n"
                    "        pass\n"),
]

EQUIVALENT = {
    "train_diffusion: 0 → 1 (2)":
        "A warm-up of one step is none.",
    "load_checkpoint: torch.load(path, weights_only=True, map_location='cpu') → torch.load(path, map_location='cpu')":
        "It is the default from PyTorch 2.6 on.",
    "load_checkpoint: torch.load(path, weights_only=True, map_location='cpu') → torch.load(path, weights_only=True)":
        "Only a second device shows it.",
    "load_checkpoint: torch.load(path, weights_only=True, map_location='cpu') → torch.load(path, weights_only=False, map_location='cpu')":
        "Reads the same; that the file holds nothing but weights is asked of save_checkpoint.",
}
