"""Wrong DDIM samplers that real people write."""

from tests.mistakes import Mistake

VARIANCE = "variance = eta**2 * (1 - abar_prev) / (1 - abar) * (1 - abar / abar_prev)"
ETA_0 = "return abar_prev.sqrt().to(x_t.dtype) * x_start + (1 - abar_prev).sqrt().to(x_t.dtype) * pred_noise"
NOISE = "noise = torch.randn(x.shape, generator=generator, dtype=x.dtype, device=x.device)"
PATH = "path = [*timesteps.tolist(), -1]"
UP = "path = [-1, *timesteps.flip(0).tolist()]"

MISTAKES = [
    Mistake(
        name="first_timestep_forgotten",
        find="left = torch.arange(num_steps, 0, -1)",
        replace="left = torch.arange(num_steps - 1, -1, -1) + 0.5",
        why="Sampling starts from pure noise, which is what there is at T - 1 and nowhere else.",
        caught_by="test_timesteps_fall_evenly_from_the_last",
    ),
    Mistake(
        name="timesteps_rise",
        find="left = torch.arange(num_steps, 0, -1)",
        replace="left = torch.arange(1, num_steps + 1)",
        why="The list begins where sampling begins, at the last timestep.",
        caught_by="test_timesteps_fall_evenly_from_the_last",
    ),
    Mistake(
        name="leading_spacing",
        find="return num_timesteps * left // num_steps - 1",
        replace="return num_timesteps // num_steps * (left - 1)",
        why="Leading spacing ends at 0 but never visits T - 1: the network is asked about pure noise at a timestep with signal.",
        caught_by="test_timesteps_fall_evenly_from_the_last",
    ),
    Mistake(
        name="stride_rounded_before_it_is_multiplied",
        find="return num_timesteps * left // num_steps - 1",
        replace="return num_timesteps // num_steps * left - 1",
        why="A rounded stride adds its error up: 10 timesteps in 4 strides of 2 would start at 7.",
        caught_by="test_timesteps_fall_evenly_from_the_last",
    ),
    Mistake(
        name="counted_from_one",
        find="return num_timesteps * left // num_steps - 1",
        replace="return num_timesteps * left // num_steps",
        why="Timesteps are counted from 0: T itself is outside of the schedule.",
        caught_by="test_timesteps_fall_evenly_from_the_last",
    ),
    Mistake(
        name="too_many_steps_accepted",
        find="if not 1 <= num_steps <= num_timesteps:",
        replace="if not 1 <= num_steps:",
        why="More steps than timesteps would visit some of them twice, with a division by zero between.",
        caught_by="test_more_steps_than_timesteps_or_none_are_refused",
    ),
    Mistake(
        name="no_steps_accepted",
        find="if not 1 <= num_steps <= num_timesteps:",
        replace="if not num_steps <= num_timesteps:",
        why="Without a step there is no sample.",
        caught_by="test_more_steps_than_timesteps_or_none_are_refused",
    ),
    Mistake(
        name="missing_noise_counts_as_none_wanted",
        find='    if eta != 0 and noise is None:\n        raise ValueError(f"noise is needed for eta = {eta}")\n',
        replace="    if noise is None:\n        eta = 0\n",
        why="Forgetting the noise must not quietly turn the sampler into another one.",
        caught_by="test_fresh_noise_must_be_given_where_it_is_needed",
    ),
    Mistake(
        name="clean_level_is_that_of_the_last_timestep",
        find="levels = torch.cat((alphas_cumprod, alphas_cumprod.new_ones(1)))",
        replace="levels = alphas_cumprod",
        why="Index -1 wraps around to the noisiest timestep; the clean sample has alphas_cumprod 1.",
        caught_by="test_the_last_step_leads_to_the_clean_sample",
    ),
    Mistake(
        name="clean_level_is_that_of_timestep_0",
        find="levels = torch.cat((alphas_cumprod, alphas_cumprod.new_ones(1)))",
        replace="levels = torch.cat((alphas_cumprod, alphas_cumprod[:1]))",
        why="At timestep 0 there is still a little noise: the last step has to reach 1.",
        caught_by="test_the_last_step_leads_to_the_clean_sample",
    ),
    Mistake(
        name="previous_timestep_is_t_minus_one",
        find="abar, abar_prev = levels[t], levels[t_prev]",
        replace="abar, abar_prev = levels[t], levels[t - 1]",
        why="The step goes to the timestep it is told, however far that is.",
        caught_by="test_a_step_by_hand",
    ),
    Mistake(
        name="noise_subtracted_without_its_factor",
        find="x_start = (x_t - sigma * pred_noise) / signal",
        replace="x_start = (x_t - pred_noise) / signal",
        why="x_t holds sqrt(1 - abar) of the noise.",
        caught_by="test_a_step_by_hand",
    ),
    Mistake(
        name="x_start_without_the_division",
        find="x_start = (x_t - sigma * pred_noise) / signal",
        replace="x_start = x_t - sigma * pred_noise",
        why="What is left after the noise is taken away is sqrt(abar) * x_start.",
        caught_by="test_a_step_by_hand",
    ),
    Mistake(
        name="x_start_not_cut",
        find="        x_start = x_start.clamp(-clip, clip)\n        pred_noise = (x_t - signal * x_start) / sigma\n",
        replace="        pass\n",
        why="Uncut, one bad guess at a large t throws the sample out of the data's range.",
        caught_by="test_after_the_cut_the_noise_still_explains_x",
    ),
    Mistake(
        name="noise_kept_after_the_cut",
        find="        pred_noise = (x_t - signal * x_start) / sigma\n",
        replace="",
        why="After the cut the predicted noise and x_start no longer explain x_t together: it has to be computed anew.",
        caught_by="test_after_the_cut_the_noise_still_explains_x",
    ),
    Mistake(
        name="clip_fixed_at_one",
        find="x_start.clamp(-clip, clip)",
        replace="x_start.clamp(-1, 1)",
        why="clip is the bound itself, not a switch.",
        caught_by="test_after_the_cut_the_noise_still_explains_x",
    ),
    Mistake(
        name="signal_of_t_instead_of_t_prev",
        find=ETA_0,
        replace="return signal * x_start + (1 - abar_prev).sqrt().to(x_t.dtype) * pred_noise",
        why="Both shares belong to the timestep that the step leads to.",
        caught_by="test_a_step_by_hand",
    ),
    Mistake(
        name="alphas_without_the_square_root",
        find=ETA_0,
        replace="return abar_prev.to(x_t.dtype) * x_start + (1 - abar_prev).to(x_t.dtype) * pred_noise",
        why="alphas_cumprod is a variance; amplitudes are its square root.",
        caught_by="test_a_step_by_hand",
    ),
    Mistake(
        name="eta_not_squared",
        find=VARIANCE,
        replace=VARIANCE.replace("eta**2", "eta"),
        why="eta scales sigma, so it enters the variance squared.",
        caught_by="test_fresh_noise_takes_the_place_of_predicted_noise",
    ),
    Mistake(
        name="sigma_of_the_betas",
        find=VARIANCE,
        replace="variance = eta**2 * (1 - abar / abar_prev)",
        why="eta = 1 has the posterior's variance, which is smaller than beta by (1 - abar_prev) / (1 - abar).",
        caught_by="test_fresh_noise_takes_the_place_of_predicted_noise",
    ),
    Mistake(
        name="fresh_noise_on_top",
        find="direction = (1 - abar_prev - variance).clamp(min=0).sqrt()",
        replace="direction = (1 - abar_prev).sqrt()",
        why="Fresh noise takes the place of predicted noise; added on top there is too much of it.",
        caught_by="test_fresh_noise_takes_the_place_of_predicted_noise",
    ),
    Mistake(
        name="negative_by_rounding",
        find="    direction = (1 - abar_prev - variance).clamp(min=0).sqrt()\n",
        replace=(
            "    sigma_t = eta * ((1 - abar_prev) / (1 - abar)).sqrt() * (1 - abar / abar_prev).sqrt()\n"
            "    direction = (1 - abar_prev - sigma_t**2).sqrt()\n"
        ),
        why="At eta = 1 and abar near 0 the difference is 0 but for rounding, and the root of -1e-8 is NaN.",
        caught_by="test_rounding_does_not_make_the_root_nan",
    ),
    Mistake(
        name="variance_taken_for_sigma",
        find="return result + variance.sqrt().to(x_t.dtype) * noise",
        replace="return result + variance.to(x_t.dtype) * noise",
        why="Noise is scaled by sigma, the square root of the variance.",
        caught_by="test_fresh_noise_takes_the_place_of_predicted_noise",
    ),
    Mistake(
        name="float64_schedule_makes_float64_samples",
        find="signal, sigma = abar.sqrt().to(x_t.dtype), (1 - abar).sqrt().to(x_t.dtype)",
        replace="signal, sigma = abar.sqrt().reshape(1), (1 - abar).sqrt().reshape(1)",
        why="The samples keep their dtype, whatever that of the schedule.",
        caught_by="test_samples_have_any_rank_and_keep_their_dtype",
    ),
    Mistake(
        name="last_step_left_out",
        find=PATH,
        replace="path = timesteps.tolist()",
        why="The last timestep of the list still has noise: one more step leads to the clean sample.",
        caught_by="test_each_step_goes_to_the_next_timestep_in_the_list",
    ),
    Mistake(
        name="last_step_to_timestep_0",
        find=PATH,
        replace="path = [*timesteps.tolist(), 0]",
        why="Timestep 0 still has noise; the clean sample is timestep -1.",
        caught_by="test_each_step_goes_to_the_next_timestep_in_the_list",
    ),
    Mistake(
        name="steps_to_the_timestep_below",
        find="x = ddim_step(x, t, t_prev, predict_noise(x, at_t), alphas_cumprod, eta=eta, noise=noise, clip=clip)",
        replace=(
            "x = ddim_step(x, t, t - 1, predict_noise(x, at_t), alphas_cumprod, eta=eta, noise=noise, clip=clip)"
        ),
        why="The previous timestep is the next element of the list, not t - 1: in between there is too much noise left.",
        caught_by="test_each_step_goes_to_the_next_timestep_in_the_list",
    ),
    Mistake(
        name="network_asked_at_the_destination",
        find="at_t = torch.full((len(x),), t, dtype=torch.int64, device=x.device)",
        replace="at_t = torch.full((len(x),), max(t_prev, 0), dtype=torch.int64, device=x.device)",
        why="x has the noise of timestep t, so that is what the network must be told.",
        caught_by="test_each_step_goes_to_the_next_timestep_in_the_list",
    ),
    Mistake(
        name="eta_not_passed_on",
        find="alphas_cumprod, eta=eta, noise=noise, clip=clip)",
        replace="alphas_cumprod, noise=noise, clip=clip)",
        why="The caller's eta has to reach every step.",
        caught_by="test_gaussian_data_has_its_exact_mean_and_variance",
    ),
    Mistake(
        name="clip_not_passed_on",
        find="alphas_cumprod, eta=eta, noise=noise, clip=clip)",
        replace="alphas_cumprod, eta=eta, noise=noise)",
        why="The caller's clip has to reach every step.",
        caught_by="test_the_options_reach_every_step",
    ),
    Mistake(
        name="starting_noise_used_again",
        find=NOISE,
        replace="noise = x_T",
        why="The noise of a step is independent of where the way began.",
        caught_by="test_the_noise_of_every_step_and_element_is_fresh",
    ),
    Mistake(
        name="generator_ignored",
        find=NOISE,
        replace="noise = torch.randn(x.shape, dtype=x.dtype, device=x.device)",
        why="Noise from the global generator makes a run impossible to repeat.",
        caught_by="test_without_eta_the_path_is_determined_by_its_start",
    ),
    Mistake(
        name="inverted_from_the_noisy_end",
        find=UP,
        replace="path = [-1, *timesteps.tolist()]",
        why="Inversion climbs from the least noisy timestep to the noisiest.",
        caught_by="test_inversion_step_by_step",
    ),
    Mistake(
        name="clean_sample_taken_for_a_noisy_one",
        find=UP,
        replace="path = timesteps.flip(0).tolist()",
        why="The clean sample lies at timestep -1: the first step up adds the first bit of noise.",
        caught_by="test_inversion_step_by_step",
    ),
    Mistake(
        name="inversion_asks_about_the_last_timestep",
        find="max(t, path[1])",
        replace="t",
        why="There is no timestep -1 to ask a network about.",
        caught_by="test_inversion_step_by_step",
    ),
    Mistake(
        name="noise_predicted_for_the_destination",
        find="max(t, path[1])",
        replace="t_next",
        why="The noise is predicted for x at the timestep where it is, not where it goes.",
        caught_by="test_inversion_step_by_step",
    ),
    Mistake(
        name="sampling_records_gradients",
        find="@torch.no_grad()\ndef ddim_sample_loop",
        replace="def ddim_sample_loop",
        why="A graph over all steps fills the memory and serves nobody.",
        caught_by="test_no_gradient_is_recorded",
    ),
    Mistake(
        name="inversion_records_gradients",
        find="@torch.no_grad()\ndef ddim_invert",
        replace="def ddim_invert",
        why="A graph over all steps fills the memory and serves nobody.",
        caught_by="test_no_gradient_is_recorded",
    ),
    Mistake(
        name="small_eta_taken_for_none",
        find="    if eta == 0:\n",
        replace="    if eta < 0.05:\n",
        why="A small eta adds a little noise; only 0 adds none.",
        caught_by="test_a_small_eta_is_not_none",
    ),
    Mistake(
        name="global_noise_without_a_generator",
        find='    if eta != 0 and generator is None:\n        raise ValueError(f"generator is needed for eta = {eta}")\n',
        replace='',
        why='Without a generator torch draws from the global one, and the run cannot be repeated.',
        caught_by="test_fresh_noise_needs_a_generator",
    ),
    Mistake(
        name="schedule_cast_first",
        find="    levels = torch.cat((alphas_cumprod, alphas_cumprod.new_ones(1)))",
        replace="    alphas_cumprod = alphas_cumprod.to(x_t.dtype)\n    levels = torch.cat((alphas_cumprod, alphas_cumprod.new_ones(1)))",
        why="1 - alphas_cumprod is tiny at the first timesteps: in float32 it keeps four digits.",
        caught_by="test_float32_samples_keep_the_digits_of_a_float64_schedule",
    ),
    Mistake(
        name="timesteps_by_floating_point",
        find="    return num_timesteps * left // num_steps - 1\n",
        replace="    return (num_timesteps / num_steps * left).long() - 1\n",
        why="In floating point a quotient that is whole may come out a little less, and is then rounded down by one.",
        caught_by="test_timesteps_agree_with_the_definition",
    ),
    Mistake(
        name="noise_mirrored_within_the_batch",
        find="            noise = torch.randn(x.shape, generator=generator, dtype=x.dtype, device=x.device)\n",
        replace="            noise = torch.randn(x.shape, generator=generator, dtype=x.dtype, device=x.device)\n            noise[1::2] = -noise[0 : len(noise) // 2 * 2 : 2]\n",
        why="Antithetic noise is not independent: each sample of a batch has its own.",
        caught_by="test_the_samples_of_a_batch_have_noise_of_their_own",
    ),
    Mistake(
        name="clip_of_0_taken_for_none",
        find="    if clip is not None:\n",
        replace="    if clip:\n",
        why="0 is false in Python, and a bound all the same.",
        caught_by="test_a_clip_of_0_leaves_nothing_of_the_guess",
    ),
    Mistake(
        name="clipped_at_the_last_step_alone",
        find="eta=eta, noise=noise, clip=clip)",
        replace="eta=eta, noise=noise, clip=clip if t_prev < 0 else None)",
        why="Every guess on the way is cut, or the way leads through guesses that no image has.",
        caught_by="test_each_step_of_the_way_is_clipped",
    ),
    Mistake(
        name="second_timestep_asked_for",
        find="    path = [*timesteps.tolist(), -1]\n",
        replace="    path = [int(timesteps[0]), int(timesteps[1]), *timesteps[2:].tolist(), -1]\n",
        why="A path of a single timestep is a path: one step from noise to the sample.",
        caught_by="test_a_path_may_have_a_single_timestep",
    ),
    Mistake(
        name="callback_told_a_tensor",
        find="            on_step(t, x)\n",
        replace="            on_step(at_t[0], x)\n",
        why="The docstring promises an int; a tensor is no key of a dictionary of timesteps.",
        caught_by="test_no_gradient_is_recorded_and_the_callback_is_told_an_int",
    ),
    Mistake(
        name="timesteps_from_an_even_spacing",
        find="    return num_timesteps * left // num_steps - 1\n",
        replace="    return torch.linspace(num_timesteps, 0, num_steps + 1, dtype=torch.float64)[:-1].floor().long() - 1\n",
        why="A point of the spacing that is whole may come out a little less, and is then rounded down by one.",
        caught_by="test_timesteps_agree_with_the_definition",
    ),
]

_INT = "an int is filled in as int64 anyway"

EQUIVALENT = {
    "ddim_step: alphas_cumprod.new_ones(1) → alphas_cumprod.new_ones(2)": "only the last one is looked at",
    "ddim_sample_loop: torch.full((len(x),), t, dtype=torch.int64, device=x.device)"
    " → torch.full((len(x),), t, device=x.device)": _INT,
    "ddim_invert: torch.full((len(x),), max(t, path[1]), dtype=torch.int64, device=x.device)"
    " → torch.full((len(x),), max(t, path[1]), device=x.device)": _INT,
}
