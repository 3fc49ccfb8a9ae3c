"""Wrong DDIM samplers that real people write."""

from tests.katas.mistakes import Mistake

MISTAKES = [
    Mistake("leading_spacing", "test_timesteps_fall_evenly_from_the_last",
            why="Leading spacing never visits T - 1: the network is shown pure noise at a timestep with signal.",
            find="return num_timesteps * left // num_steps - 1",
            replace="return num_timesteps // num_steps * (left - 1)"),
    Mistake("missing_noise_counts_as_none_wanted", "test_what_cannot_be_is_refused_by_name",
            why="Forgetting the noise must not quietly turn the sampler into another one.",
            find="    if eta != 0 and noise is None:\n"
                 '        raise ValueError(f"noise is needed for eta = {eta}")\n',
            replace="    if noise is None:\n"
                    "        eta = 0\n"),
    Mistake("clean_level_is_that_of_the_last_timestep", "test_a_step_by_hand",
            why="Index -1 wraps around to the noisiest timestep; the clean sample has alphas_cumprod 1.",
            find="levels = torch.cat((alphas_cumprod, alphas_cumprod.new_ones(1)))",
            replace="levels = alphas_cumprod"),
    Mistake("noise_kept_after_the_cut", "test_a_step_by_hand",
            why="After the cut the old noise and the new x_start no longer explain x_t together.",
            find="        pred_noise = (x_t - signal * x_start) / sigma\n",
            replace=""),
    Mistake("sigma_of_the_betas", "test_a_step_by_hand",
            why="eta = 1 has the posterior's variance, which is smaller than beta by (1 - abar_prev) / (1 - abar).",
            find="variance = eta**2 * (1 - abar_prev) / (1 - abar) * (1 - abar / abar_prev)",
            replace="variance = eta**2 * (1 - abar / abar_prev)"),
    Mistake("fresh_noise_on_top", "test_a_step_by_hand",
            why="Fresh noise takes the place of predicted noise; added on top there is too much of it.",
            find="direction = (1 - abar_prev - variance).clamp(min=0).sqrt()",
            replace="direction = (1 - abar_prev).sqrt()"),
    Mistake("negative_by_rounding", "test_rounding_does_not_make_the_root_nan",
            why="At eta = 1 and abar near 0 the difference is 0 but for rounding, and the root of -1e-8 is NaN.",
            find="    direction = (1 - abar_prev - variance).clamp(min=0).sqrt()\n",
            replace="    sigma_t = eta * ((1 - abar_prev) / (1 - abar)).sqrt() * (1 - abar / abar_prev).sqrt()\n"
                    "    direction = (1 - abar_prev - sigma_t**2).sqrt()\n"),
    Mistake("last_step_left_out", "test_each_step_goes_to_the_next_timestep_listed",
            why="The last timestep of the list still has noise: one more step leads to the clean sample.",
            find="path = [*timesteps.tolist(), -1]",
            replace="path = timesteps.tolist()"),
    Mistake("steps_to_the_timestep_below", "test_each_step_goes_to_the_next_timestep_listed",
            why="The step leads to the next element of the list, not to t - 1.",
            find="x = ddim_step(x, t, t_prev, ",
            replace="x = ddim_step(x, t, t - 1, "),
    Mistake("network_asked_at_the_destination", "test_each_step_goes_to_the_next_timestep_listed",
            why="x has the noise of timestep t, so that is what the network must be told.",
            find="at_t = torch.full((len(x),), t, dtype=torch.int64, device=x.device)",
            replace="at_t = torch.full((len(x),), max(t_prev, 0), dtype=torch.int64, device=x.device)"),
    Mistake("clip_not_passed_on", "test_each_step_goes_to_the_next_timestep_listed",
            why="The caller's clip has to reach every step.",
            find="alphas_cumprod, eta=eta, noise=noise, clip=clip)",
            replace="alphas_cumprod, eta=eta, noise=noise)"),
    Mistake("starting_noise_used_again", "test_the_noise_of_every_step_is_fresh",
            why="The noise of a step is independent of where the way began.",
            find="noise = torch.randn(x.shape, generator=generator, dtype=x.dtype, device=x.device)",
            replace="noise = x_T"),
    Mistake("generator_ignored", "test_randomness_comes_from_the_generator_alone",
            why="Noise from the global generator makes a run impossible to repeat.",
            find="noise = torch.randn(x.shape, generator=generator, dtype=x.dtype, device=x.device)",
            replace="noise = torch.randn(x.shape, dtype=x.dtype, device=x.device)"),
    Mistake("inversion_asks_about_the_last_timestep", "test_inversion_predicts_where_each_step_starts",
            why="There is no timestep -1 to ask a network about.",
            find="max(t, path[1])",
            replace="t"),
    Mistake("noise_predicted_for_the_destination", "test_inversion_predicts_where_each_step_starts",
            why="The noise is predicted for x at the timestep where it is, not where it goes.",
            find="max(t, path[1])",
            replace="t_next"),
    Mistake("sampling_records_gradients", "test_each_step_goes_to_the_next_timestep_listed",
            why="A graph over all steps fills the memory and serves nobody.",
            find="@torch.no_grad()\n"
                 "def ddim_sample_loop",
            replace="def ddim_sample_loop"),
    Mistake("global_noise_without_a_generator", "test_what_cannot_be_is_refused_by_name",
            why="Without a generator torch draws from the global one, and the run cannot be repeated.",
            find="    if eta != 0 and generator is None:\n"
                 '        raise ValueError(f"generator is needed for eta = {eta}")\n',
            replace=""),
    Mistake("schedule_cast_first", "test_the_dtype_is_kept_with_all_digits",
            why="1 - alphas_cumprod is tiny at the first timesteps: in float32 it keeps four digits.",
            find="    levels = torch.cat((alphas_cumprod, alphas_cumprod.new_ones(1)))",
            replace="    alphas_cumprod = alphas_cumprod.to(x_t.dtype)\n"
                    "    levels = torch.cat((alphas_cumprod, alphas_cumprod.new_ones(1)))"),
    Mistake("clip_of_0_taken_for_none", "test_a_step_agrees_with_the_definition",
            why="0 is false in Python, and a bound all the same.",
            find="    if clip is not None:\n",
            replace="    if clip:\n"),
    Mistake("network_sees_a_cut_sample", "test_each_step_goes_to_the_next_timestep_listed",
            why="clip bounds the guess of x_start; x itself is noisy and may lie outside of the range.",
            find="predict_noise(x, at_t), alphas_cumprod, eta=eta",
            replace="predict_noise(x if clip is None else x.clamp(-clip, clip), at_t), alphas_cumprod, eta=eta"),
]

EQUIVALENT = {
    "ddim_step: alphas_cumprod.new_ones(1) → alphas_cumprod.new_ones(2)":
        "only the last one is looked at",
    "ddim_sample_loop: torch.full((len(x),), t, dtype=torch.int64, device=x.device) → "
    "torch.full((len(x),), t, device=x.device)":
        "an int is filled in as int64 anyway",
    "ddim_invert: torch.full((len(x),), max(t, path[1]), dtype=torch.int64, device=x.device) → "
    "torch.full((len(x),), max(t, path[1]), device=x.device)":
        "an int is filled in as int64 anyway",
}
