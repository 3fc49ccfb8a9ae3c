"""Wrong DDPM samplers that real people write."""

from tests.mistakes import Mistake

RETURN = "return torch.where(not_last, mean + extract(variances.sqrt(), t, x_t) * noise, mean)"
NOISE = "noise = torch.randn(x.shape, generator=generator, dtype=x.dtype, device=x.device)"
LOOP = "for step in reversed(range(len(alphas_cumprod))):"
CLIP = "x_start = x_start.clamp(-clip, clip)"

MISTAKES = [
    Mistake(
        name="noise_at_the_last_step",
        find=RETURN,
        replace="return mean + extract(variances.sqrt(), t, x_t) * noise",
        why="The step from t = 0 leads to the clean sample: noise added there stays in the picture.",
        caught_by="test_at_t_0_the_guess_itself_comes_out_without_noise",
    ),
    Mistake(
        name="no_noise_at_all",
        find=RETURN,
        replace="return mean",
        why="Without fresh noise the samples shrink towards the mean of the data.",
        caught_by="test_a_step_back_by_hand",
    ),
    Mistake(
        name="variance_taken_for_the_deviation",
        find="extract(variances.sqrt(), t, x_t) * noise",
        replace="extract(variances, t, x_t) * noise",
        why="Noise is scaled by the standard deviation, the square root of the variance.",
        caught_by="test_a_step_back_by_hand",
    ),
    Mistake(
        name="noise_missing_at_t_1_too",
        find="(t > 0)",
        replace="(t > 1)",
        why="Only the step from t = 0 is free of noise.",
        caught_by="test_a_step_back_by_hand",
    ),
    Mistake(
        name="one_timestep_for_the_whole_batch",
        find="not_last = (t > 0).reshape(-1, *[1] * (x_t.dim() - 1))",
        replace="not_last = bool((t > 0).any())",
        why="Each sample has its own t: the one at 0 gets no noise although its neighbour does.",
        caught_by="test_every_sample_has_its_own_timestep",
    ),
    Mistake(
        name="mask_along_the_last_axis",
        find="not_last = (t > 0).reshape(-1, *[1] * (x_t.dim() - 1))",
        replace="not_last = t > 0",
        why="A mask (B,) broadcasts along the last axis of the samples; it has to be (B, 1, ..., 1).",
        caught_by="test_every_sample_has_its_own_timestep",
    ),
    Mistake(
        name="result_cut_too",
        find="mean = q_posterior_mean_variance(x_start, x_t, t, alphas_cumprod).mean",
        replace=(
            "mean = q_posterior_mean_variance(x_start, x_t, t, alphas_cumprod).mean\n"
            "    mean = mean if clip is None else mean.clamp(-clip, clip)"
        ),
        why="Only the guess of the clean sample lies in the data's range; a noisy sample may lie outside.",
        caught_by="test_the_guess_is_cut_and_not_the_result",
    ),
    Mistake(
        name="clip_only_above",
        find=CLIP,
        replace="x_start = x_start.clamp(max=clip)",
        why="The data's range has two ends.",
        caught_by="test_the_guess_is_cut_and_not_the_result",
    ),
    Mistake(
        name="clip_fixed_at_one",
        find=CLIP,
        replace="x_start = x_start.clamp(-1, 1)",
        why="clip is the bound itself, not a switch.",
        caught_by="test_the_guess_is_cut_and_not_the_result",
    ),
    Mistake(
        name="clip_ignored",
        find=CLIP,
        replace="pass",
        why="Uncut, one bad guess at a large t throws the sample out of the data's range for good.",
        caught_by="test_the_guess_is_cut_and_not_the_result",
    ),
    Mistake(
        name="own_variances_ignored",
        find="if variances is None:",
        replace="if True:",
        why="The caller's variances decide how much noise is added.",
        caught_by="test_a_step_agrees_with_the_definition",
    ),
    Mistake(
        name="large_variances_by_default",
        find="variances = posterior_variances(alphas_cumprod)",
        replace="variances = fixed_large_variances(alphas_cumprod)",
        why="Unless told otherwise the step has the posterior's variance, the smaller of the two choices.",
        caught_by="test_a_step_back_by_hand",
    ),
    Mistake(
        name="noise_for_the_clean_sample",
        find="x_start = x_start_from_noise(x_t, t, pred_noise, alphas_cumprod)",
        replace="x_start = pred_noise",
        why="The prediction is the noise; the clean sample has to be computed from it.",
        caught_by="test_a_step_back_by_hand",
    ),
    Mistake(
        name="posterior_arguments_exchanged",
        find="q_posterior_mean_variance(x_start, x_t, t, alphas_cumprod)",
        replace="q_posterior_mean_variance(x_t, x_start, t, alphas_cumprod)",
        why="The posterior takes the clean sample first.",
        caught_by="test_a_step_back_by_hand",
    ),
    Mistake(
        name="betas_of_the_next_timestep",
        find="torch.cat((alphas_cumprod.new_ones(1), alphas_cumprod[:-1]))",
        replace="torch.cat((alphas_cumprod.new_ones(1), alphas_cumprod[1:]))",
        why="beta_t compares timestep t with the one before, t - 1.",
        caught_by="test_the_large_variances_are_the_betas",
    ),
    Mistake(
        name="from_the_first_timestep_up",
        find=LOOP,
        replace="for step in range(len(alphas_cumprod)):",
        why="Sampling starts where everything is noise, at T - 1, and goes down.",
        caught_by="test_the_timesteps_fall_from_the_last_to_0",
    ),
    Mistake(
        name="stops_at_one",
        find=LOOP,
        replace="for step in reversed(range(1, len(alphas_cumprod))):",
        why="The step from t = 0 is the one that arrives at the clean sample.",
        caught_by="test_the_timesteps_fall_from_the_last_to_0",
    ),
    Mistake(
        name="the_same_noise_at_every_step",
        find=NOISE,
        replace="noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(0), dtype=x.dtype)",
        why="Every step needs fresh noise: the same noise again and again adds up in one direction.",
        caught_by="test_the_noise_of_every_step_and_element_is_fresh",
    ),
    Mistake(
        name="one_noise_for_all_elements",
        find=NOISE,
        replace="noise = torch.randn(len(x), generator=generator, dtype=x.dtype).reshape(-1, *[1] * (x.dim() - 1)).expand_as(x)",
        why="Every element has its own noise; one number a sample only makes it brighter or darker.",
        caught_by="test_the_noise_of_every_step_and_element_is_fresh",
    ),
    Mistake(
        name="starting_noise_used_again",
        find=NOISE,
        replace="noise = x_T",
        why="The noise of a step is independent of where the way began.",
        caught_by="test_the_noise_of_every_step_and_element_is_fresh",
    ),
    Mistake(
        name="noise_uniform",
        find=NOISE,
        replace="noise = torch.rand(x.shape, generator=generator, dtype=x.dtype, device=x.device)",
        why="The noise is standard normal (randn), not uniform (rand).",
        caught_by="test_gaussian_data_has_its_exact_mean_and_variance_at_every_timestep",
    ),
    Mistake(
        name="generator_ignored",
        find=NOISE,
        replace="noise = torch.randn(x.shape, dtype=x.dtype, device=x.device)",
        why="Noise from the global generator makes a run impossible to repeat.",
        caught_by="test_the_generator_alone_decides",
    ),
    Mistake(
        name="clip_not_passed_on",
        find="variances=variances, clip=clip)",
        replace="variances=variances)",
        why="The caller's clip has to reach every step.",
        caught_by="test_the_options_reach_every_step",
    ),
    Mistake(
        name="variances_not_passed_on",
        find="noise=noise, variances=variances, clip=clip)",
        replace="noise=noise, clip=clip)",
        why="The caller's variances have to reach every step.",
        caught_by="test_gaussian_data_has_its_exact_mean_and_variance_at_every_timestep",
    ),
    Mistake(
        name="callback_before_the_step",
        find="        x = p_sample(x, t, pred_noise, alphas_cumprod, noise=noise, variances=variances, clip=clip)\n"
        "        if on_step is not None:\n            on_step(step, x)\n",
        replace="        if on_step is not None:\n            on_step(step, x)\n"
        "        x = p_sample(x, t, pred_noise, alphas_cumprod, noise=noise, variances=variances, clip=clip)\n",
        why="The callback is shown what the step led to.",
        caught_by="test_the_callback_sees_every_sample_on_its_way",
    ),
    Mistake(
        name="timestep_as_a_number",
        find="t = torch.full((len(x),), step, dtype=torch.int64, device=x.device)\n",
        replace="t = torch.full((len(x),), float(step), device=x.device).long()\n        predict_noise(x, t.float())\n",
        why="The network is asked once a step, with an int64 timestep for each sample.",
        caught_by="test_the_timesteps_fall_from_the_last_to_0",
    ),
    Mistake(
        name="gradients_recorded",
        find="@torch.no_grad()\n",
        replace="",
        why="A graph over a thousand steps fills the memory and serves nobody.",
        caught_by="test_no_gradient_is_recorded_and_the_dtype_is_kept",
    ),
    Mistake(
        name="clip_of_0_taken_for_none",
        find="    if clip is not None:\n",
        replace="    if clip:\n",
        why="0 is false in Python, and a bound all the same.",
        caught_by="test_a_clip_of_0_leaves_nothing_of_the_guess",
    ),
    Mistake(
        name="noise_at_0_multiplied_away",
        find="return torch.where(not_last, mean + extract(variances.sqrt(), t, x_t) * noise, mean)",
        replace="return mean + not_last * extract(variances.sqrt(), t, x_t) * noise",
        why="0 times NaN is NaN: what must not count has to be left out, not multiplied by 0.",
        caught_by="test_the_variance_at_0_does_not_matter",
    ),
    Mistake(
        name="schedule_cast_first",
        find="    if variances is None:\n",
        replace="    alphas_cumprod = alphas_cumprod.to(x_t.dtype)\n    if variances is None:\n",
        why="1 - alphas_cumprod is tiny at the first timesteps: in float32 it keeps four digits.",
        caught_by="test_float32_samples_keep_the_digits_of_a_float64_schedule",
    ),
    Mistake(
        name="clipped_at_the_last_step_alone",
        find="variances=variances, clip=clip)",
        replace="variances=variances, clip=clip if step == 0 else None)",
        why="Every guess on the way is cut, or the way leads through guesses that no image has.",
        caught_by="test_each_step_is_that_of_p_sample",
    ),
    Mistake(
        name="callback_told_a_tensor",
        find="on_step(step, x)",
        replace="on_step(torch.tensor(step), x)",
        why="The docstring promises an int; a tensor is no key of a dictionary of timesteps.",
        caught_by="test_no_gradient_is_recorded_and_the_dtype_is_kept",
    ),
    Mistake(
        name="generator_starts_again_at_each_call",
        find="    x = x_T\n",
        replace="    x = x_T\n    generator.manual_seed(generator.initial_seed())\n",
        why="The second batch would be made of the same noise as the first.",
        caught_by="test_the_generator_goes_on_from_call_to_call",
    ),
    Mistake(
        name="noise_mirrored_within_the_batch",
        find="        noise = torch.randn(x.shape, generator=generator, dtype=x.dtype, device=x.device)\n",
        replace="        noise = torch.randn(x.shape, generator=generator, dtype=x.dtype, device=x.device)\n        noise[1::2] = -noise[0 : len(noise) // 2 * 2 : 2]\n",
        why="Antithetic noise is not independent: each sample of a batch has its own.",
        caught_by="test_the_samples_of_a_batch_have_noise_of_their_own",
    ),
    Mistake(
        name="large_variances_cut",
        find="    return 1 - alphas_cumprod / torch.cat((alphas_cumprod.new_ones(1), alphas_cumprod[:-1]))",
        replace="    betas = 1 - alphas_cumprod / torch.cat((alphas_cumprod.new_ones(1), alphas_cumprod[:-1]))\n    return betas.clamp(1e-4, 0.999)",
        why="The cut belongs to the schedule that makes the betas; here they are read off as they are.",
        caught_by="test_fixed_large_variances_are_not_cut",
    ),
    Mistake(
        name="one_noise_for_all_pixels",
        find="noise = torch.randn(x.shape, generator",
        replace="noise = torch.randn(x.shape[:2] + (1,) * (x.dim() - 2), generator",
        why="Points look right; an image gets one number of noise for all of its pixels.",
        caught_by="test_samples_on_their_way_have_any_rank_and_every_element_its_own_noise",
    ),
    Mistake(
        name="clip_for_points_only",
        find="    if clip is not None:\n",
        replace="    if clip is not None and x_t.dim() <= 2:\n",
        why="Images are what is cut: their pixels lie in [-1, 1].",
        caught_by="test_samples_have_any_rank_and_keep_their_dtype",
    ),
    Mistake(
        name="result_in_float32_at_least",
        find="    x_start = x_start_from_noise(x_t, t, pred_noise, alphas_cumprod)\n",
        replace="    x_t = x_t.float() if x_t.element_size() == 2 else x_t\n    x_start = x_start_from_noise(x_t, t, pred_noise, alphas_cumprod)\n",
        why="A model in bfloat16 is given float32 at the next step, and refuses it.",
        caught_by="test_the_result_has_the_dtype_of_the_samples",
    ),
]

EQUIVALENT = {
    "p_sample_loop: torch.full((len(x),), step, dtype=torch.int64, device=x.device)"
    " → torch.full((len(x),), step, device=x.device)": "an int is filled in as int64 anyway",
}
