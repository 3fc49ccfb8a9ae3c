"""Wrong posteriors that real people write."""

from tests.mistakes import Mistake

PREVIOUS = "return torch.cat((alphas_cumprod.new_ones(1), alphas_cumprod[:-1]))"
VARIANCE = "return (1 - alphas_cumprod / previous) * (1 - previous) / (1 - alphas_cumprod)"
OF_X_START = "of_x_start = previous.sqrt() * (1 - alphas) / (1 - alphas_cumprod)"
OF_X_T = "of_x_t = alphas.sqrt() * (1 - previous) / (1 - alphas_cumprod)"
MEAN = "mean = extract(of_x_start, t, x_t) * x_start + extract(of_x_t, t, x_t) * x_t"
LOG = "log_variances = torch.cat((variances[:2][-1:], variances[1:])).log()"

MISTAKES = [
    Mistake(
        name="previous_wraps_around",
        find=PREVIOUS,
        replace="return torch.roll(alphas_cumprod, 1)",
        why="Before timestep 0 is the clean sample with level 1, not the noisiest timestep.",
        caught_by="test_variances_by_hand",
    ),
    Mistake(
        name="previous_of_0_is_0_itself",
        find=PREVIOUS,
        replace="return torch.cat((alphas_cumprod[:1], alphas_cumprod[:-1]))",
        why="Timestep 0 already carries noise; what is before it has level 1.",
        caught_by="test_at_t_0_it_is_the_clean_sample",
    ),
    Mistake(
        name="next_taken_for_previous",
        find=PREVIOUS,
        replace="return torch.cat((alphas_cumprod[1:], alphas_cumprod.new_zeros(1)))",
        why="The posterior looks back to t - 1, not ahead.",
        caught_by="test_variances_by_hand",
    ),
    Mistake(
        name="variance_is_beta",
        find=VARIANCE,
        replace="return 1 - alphas_cumprod / previous",
        why="Knowing the clean sample narrows it: beta is multiplied by (1 - abar_(t-1)) / (1 - abar_t).",
        caught_by="test_variances_by_hand",
    ),
    Mistake(
        name="variance_upside_down",
        find=VARIANCE,
        replace="return (1 - alphas_cumprod / previous) * (1 - alphas_cumprod) / (1 - previous)",
        why="There is less noise at t - 1 than at t, so the factor is below 1.",
        caught_by="test_variances_by_hand",
    ),
    Mistake(
        name="level_taken_for_its_root",
        find=OF_X_START,
        replace="of_x_start = previous * (1 - alphas) / (1 - alphas_cumprod)",
        why="The clean sample enters with an amplitude, the root of the level.",
        caught_by="test_the_mean_by_hand",
    ),
    Mistake(
        name="level_of_t_for_that_before",
        find=OF_X_START,
        replace="of_x_start = alphas_cumprod.sqrt() * (1 - alphas) / (1 - alphas_cumprod)",
        why="The clean sample enters as it is at t - 1.",
        caught_by="test_the_mean_by_hand",
    ),
    Mistake(
        name="alpha_without_the_root",
        find=OF_X_T,
        replace="of_x_t = alphas * (1 - previous) / (1 - alphas_cumprod)",
        why="x_t enters with the root of alpha = 1 - beta.",
        caught_by="test_the_mean_by_hand",
    ),
    Mistake(
        name="cumulated_alpha_for_alpha",
        find=OF_X_T,
        replace="of_x_t = alphas_cumprod.sqrt() * (1 - previous) / (1 - alphas_cumprod)",
        why="alpha_t belongs to one step, alphas_cumprod to all of them.",
        caught_by="test_the_mean_by_hand",
    ),
    Mistake(
        name="shares_exchanged",
        find=MEAN,
        replace="mean = extract(of_x_start, t, x_t) * x_t + extract(of_x_t, t, x_t) * x_start",
        why="Each share belongs to its own sample: late in the chain x_t counts most.",
        caught_by="test_the_mean_by_hand",
    ),
    Mistake(
        name="coefficients_along_the_last_axis",
        find=MEAN,
        replace="mean = of_x_start[t].to(x_t.dtype) * x_start + of_x_t[t].to(x_t.dtype) * x_t",
        why="Numbers (B,) broadcast along the last axis; they have to be (B, 1, ..., 1).",
        caught_by="test_samples_have_any_rank",
    ),
    Mistake(
        name="one_timestep_for_the_batch",
        find=MEAN,
        replace="mean = extract(of_x_start, t[:1], x_t) * x_start + extract(of_x_t, t[:1], x_t) * x_t",
        why="Each sample has its own t.",
        caught_by="test_mean_and_variance_agree_with_bayes",
    ),
    Mistake(
        name="log_of_zero",
        find=LOG,
        replace="log_variances = variances.log()",
        why="At t = 0 the variance is 0 and its logarithm minus infinity; 0 times that is NaN wherever it is used.",
        caught_by="test_the_logarithm_at_t_0_is_that_at_t_1",
    ),
    Mistake(
        name="log_clamped",
        find=LOG,
        replace="log_variances = variances.clamp(min=1e-20).log()",
        why="-46 is finite but far from its neighbours; the value of t = 1 is promised.",
        caught_by="test_the_logarithm_at_t_0_is_that_at_t_1",
    ),
    Mistake(
        name="logs_shifted_by_one",
        find=LOG,
        replace="log_variances = torch.cat((variances[1:], variances[-1:])).log()",
        why="Only the value at t = 0 is replaced; the others stay where they are.",
        caught_by="test_the_logarithm_at_t_0_is_that_at_t_1",
    ),
    Mistake(
        name="deviation_for_the_variance",
        find="return Posterior(mean, extract(variances, t, x_t), extract(log_variances, t, x_t))",
        replace="return Posterior(mean, extract(variances, t, x_t).sqrt(), extract(log_variances, t, x_t))",
        why="The second entry is the variance, not its root.",
        caught_by="test_mean_and_variance_agree_with_bayes",
    ),
    Mistake(
        name="schedule_in_the_dtype_of_the_samples",
        find="    alphas = alphas_cumprod / previous\n    of_x_start",
        replace="    alphas_cumprod, previous = alphas_cumprod.to(x_t.dtype), previous.to(x_t.dtype)\n"
        "    alphas = alphas_cumprod / previous\n    of_x_start",
        why="Near 1 a level has no digits left in float32 once 1 minus it is taken.",
        caught_by="test_float32_samples_keep_their_dtype_with_a_float64_schedule",
    ),
]

EQUIVALENT = {}
