"""Wrong training loops that real people write."""

from tests.katas.mistakes import Mistake

MISTAKES = [
    Mistake("pixels_left_in_0_to_1", "test_pixels_and_numbers_by_hand",
            why="The noise is centred at 0. Images in [0, 1] are not, so the network first has to learn their mean.",
            find="return 2 * images - 1",
            replace="return images"),
    Mistake("pixels_not_cut", "test_pixels_and_numbers_by_hand",
            why="A sampler overshoots a little, and a picture has no pixels outside [0, 1].",
            find="return ((x + 1) / 2).clamp(0, 1)",
            replace="return (x + 1) / 2"),
    Mistake("schedule_cast_to_the_samples", "test_the_model_sees_noisy_samples",
            why="1 - 0.9998 loses its digits in float32. Coefficients are computed in the dtype of the schedule and cast last.",
            find="return diffusion_loss(predict, x_start, t, noise, alphas_cumprod, target",
            replace="return diffusion_loss(predict, x_start, t, noise, alphas_cumprod.to(x_start), target"),
    Mistake("labels_of_other_samples", "test_the_model_sees_noisy_samples",
            why="Each drawn sample brings its own label.",
            find="chosen_labels = None if labels is None else labels[chosen]",
            replace="chosen_labels = None if labels is None else labels[: len(chosen)].repeat(batch_size)[:batch_size]"),
    Mistake("labels_never_dropped", "test_a_share_of_the_labels_is_dropped",
            why="Without dropped labels the network never learns to predict without one, which guidance needs.",
            find="chosen_labels = drop_labels(chosen_labels, null_label, drop_probability, generator=generator)",
            replace="pass"),
    Mistake("one_timestep_for_the_batch", "test_samples_and_timesteps_are_drawn_evenly",
            why="Each sample draws its own timestep. One per batch makes the loss jump from step to step.",
            find="t = sample_timesteps(len(x_start), len(alphas_cumprod), generator=generator)",
            replace="t = sample_timesteps(1, len(alphas_cumprod), generator=generator).repeat(len(x_start))"),
    Mistake("only_the_first_group_warms_up", "test_every_group_warms_up_and_is_put_back",
            why="An optimizer may have several parameter groups, and each has a rate of its own.",
            find="    for group, rate in zip(optimizer.param_groups, rates, strict=True):\n"
                 '        group["lr"] = rate * warmup  # not in place: a rate may be a tensor\n',
            replace='    optimizer.param_groups[0]["lr"] = rates[0] * warmup\n'),
    Mistake("one_noise_for_the_batch", "test_noise_is_fresh_for_every_step_sample_and_element",
            why="Each sample gets its own noise.",
            find="noise = torch.randn(x_start.shape, generator=generator, dtype=x_start.dtype, device=x_start.device)",
            replace="noise = torch.randn((1, *x_start.shape[1:]), generator=generator, dtype=x_start.dtype, device=x_start.device).expand_as(x_start)"),
    Mistake("noise_from_the_global_generator", "test_the_generator_alone_decides_and_goes_on",
            why="What does not come from the generator cannot be repeated or resumed.",
            find="noise = torch.randn(x_start.shape, generator=generator, dtype=x_start.dtype, device=x_start.device)",
            replace="noise = torch.randn_like(x_start)"),
    Mistake("gradients_pile_up", "test_every_step_agrees_with_the_definition",
            why="backward() adds to the gradients that are there. Without clearing, every step repeats all steps before it.",
            find="    model.zero_grad()  # not the optimizer's alone: the norm below is over all parameters\n"
                 "    loss.backward()\n",
            replace="    loss.backward()\n"),
    Mistake("clipped_parameter_by_parameter", "test_every_step_agrees_with_the_definition",
            why="The norm is that of all parameters together. Clipped one by one, the gradient changes its direction.",
            find="grad_norm = nn.utils.clip_grad_norm_(model.parameters(), max_grad_norm)",
            replace="norms = [nn.utils.clip_grad_norm_(p, max_grad_norm) for p in model.parameters()]\n"
                    "    grad_norm = torch.stack(norms).norm()"),
    Mistake("only_the_optimizers_gradients_cleared", "test_gradients_of_the_whole_model_count_once",
            why="Gradients of parameters outside the optimizer pile up, and enter the norm that clips all others.",
            find="    model.zero_grad()  # not",
            replace="    optimizer.zero_grad()  # not"),
    Mistake("learning_rate_not_put_back", "test_every_step_agrees_with_the_definition",
            why="The factors multiply from step to step, and a checkpoint saved during the warm-up holds a reduced rate.",
            find="    for group, rate in zip(optimizer.param_groups, rates, strict=True):  # a checkpoint must not hold the reduced rate\n"
                 '        group["lr"] = rate\n',
            replace=""),
    Mistake("warm_up_starts_at_zero", "test_every_step_agrees_with_the_definition",
            why="With factor 0 the first step does nothing.",
            find="warmup = min(1.0, (step + 1) / max(1, warmup_steps))",
            replace="warmup = min(1.0, step / max(1, warmup_steps))"),
    Mistake("average_updated_before_the_step", "test_first_the_step_then_the_average_then_the_callback",
            why="The average is taken of the weights after the step.",
            find="        report = _update(model, optimizer, loss, step, warmup, max_grad_norm)\n"
                 "        if ema is not None:\n"
                 "            ema.update(model)\n",
            replace="        if ema is not None:\n"
                    "            ema.update(model)\n"
                    "        report = _update(model, optimizer, loss, step, warmup, max_grad_norm)\n"),
    Mistake("evaluation_mode_stays", "test_every_step_is_in_training_mode",
            why="A callback that draws samples leaves the model in evaluation mode.",
            find="        model.train()\n",
            replace=""),
    Mistake("loss_checked_after_the_step", "test_every_step_agrees_with_the_definition",
            why="After the step the weights are NaN already. Check the loss before it.",
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
    Mistake("saved_in_place", "test_a_killed_save_keeps_the_last_checkpoint",
            why="A run that is killed while it overwrites its only checkpoint has lost it.",
            find="torch.save(state, unfinished)\n"
                 "    os.replace(unfinished, path)",
            replace="torch.save(state, path)"),
    Mistake("generator_not_restored", "test_a_resumed_run_is_the_uninterrupted_one",
            why="The rest of the run would draw other samples.",
            find='    generator.set_state(state["generator"])\n',
            replace=""),
    Mistake("read_to_the_device_it_came_from", "test_a_resumed_run_is_the_uninterrupted_one",
            why="A checkpoint of a GPU is unreadable where that GPU is missing, unless map_location says where to put it.",
            find='state = torch.load(path, weights_only=True, map_location="cpu")',
            replace="state = torch.load(path, weights_only=True)"),
]

EQUIVALENT = {
    "train_diffusion: 0 → 1 (2)":
        "A warm-up of one step is none.",
    "load_checkpoint: torch.load(path, weights_only=True, map_location='cpu') → torch.load(path, map_location='cpu')":
        "It is the default from PyTorch 2.6 on.",
    "load_checkpoint: torch.load(path, weights_only=True, map_location='cpu') → torch.load(path, weights_only=False, map_location='cpu')":
        "Reads the same; that the file holds nothing but weights is asked of save_checkpoint.",
}
