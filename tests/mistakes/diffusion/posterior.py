"""Wrong posteriors that real people write."""

from tests.mistakes import Mistake

VARIANCES = "return (1 - alphas_cumprod / previous) * (1 - previous) / (1 - alphas_cumprod)"
OF_X_START = "of_x_start = previous.sqrt() * (1 - alphas) / (1 - alphas_cumprod)"
OF_X_T = "of_x_t = alphas.sqrt() * (1 - previous) / (1 - alphas_cumprod)"
LOG = "log_variances = torch.cat((variances[1:2], variances[1:])).log()"
MEAN = "mean = extract(of_x_start, t, x_t) * x_start + extract(of_x_t, t, x_t) * x_t"
PREVIOUS = "torch.cat((alphas_cumprod.new_ones(1), alphas_cumprod[:-1]))"
RETURN = "return Posterior(mean, extract(variances, t, x_t), extract(log_variances, t, x_t))"

MISTAKES = [
    Mistake(
        name="variance_of_the_forward_step",
        find=VARIANCES,
        replace="return 1 - alphas_cumprod / previous",
        why="beta_t is the variance of the step forward; knowing the clean sample makes it smaller.",
        caught_by="test_variances_by_hand",
    ),
    Mistake(
        name="variance_upside_down",
        find=VARIANCES,
        replace="return (1 - alphas_cumprod / previous) * (1 - alphas_cumprod) / (1 - previous).clamp(min=1e-20)",
        why="There is less noise before the step than after it: (1 - abar_(t-1)) / (1 - abar_t) is less than 1.",
        caught_by="test_variances_by_hand",
    ),
    Mistake(
        name="standard_deviation",
        find=VARIANCES,
        replace="return ((1 - alphas_cumprod / previous) * (1 - previous) / (1 - alphas_cumprod)).sqrt()",
        why="The root is taken when noise is added: this is the variance.",
        caught_by="test_variances_by_hand",
    ),
    Mistake(
        name="variance_never_zero",
        find=VARIANCES,
        replace="return ((1 - alphas_cumprod / previous) * (1 - previous) / (1 - alphas_cumprod)).clamp(min=1e-8)",
        why="Only the logarithm needs a bound: the variance at t = 0 is 0.",
        caught_by="test_variances_by_hand",
    ),
    Mistake(
        name="clean_sample_without_root",
        find=OF_X_START,
        replace="of_x_start = previous * (1 - alphas) / (1 - alphas_cumprod)",
        why="abar is a share of variance; the clean sample has faded by its root.",
        caught_by="test_a_posterior_by_hand",
    ),
    Mistake(
        name="clean_sample_faded_to_t",
        find=OF_X_START,
        replace="of_x_start = alphas_cumprod.sqrt() * (1 - alphas) / (1 - alphas_cumprod)",
        why="It is the step before that is looked for: the clean sample has faded to abar_(t-1) there.",
        caught_by="test_a_posterior_by_hand",
    ),
    Mistake(
        name="noisy_sample_without_root",
        find=OF_X_T,
        replace="of_x_t = alphas * (1 - previous) / (1 - alphas_cumprod)",
        why="One step multiplies the sample by the root of 1 - beta_t.",
        caught_by="test_a_posterior_by_hand",
    ),
    Mistake(
        name="noisy_sample_with_the_products_root",
        find=OF_X_T,
        replace="of_x_t = alphas_cumprod.sqrt() * (1 - previous) / (1 - alphas_cumprod)",
        why="Between neighbours lies the alpha of one step, 1 - beta_t, not the product of all.",
        caught_by="test_a_posterior_by_hand",
    ),
    Mistake(
        name="noisy_sample_with_beta",
        find=OF_X_T,
        replace="of_x_t = alphas.sqrt() * (1 - alphas) / (1 - alphas_cumprod)",
        why="beta_t weighs the clean sample; the noisy one has the noise that was there before, 1 - abar_(t-1).",
        caught_by="test_a_posterior_by_hand",
    ),
    Mistake(
        name="samples_exchanged",
        find=MEAN,
        replace="mean = extract(of_x_start, t, x_t) * x_t + extract(of_x_t, t, x_t) * x_start",
        why="Each factor belongs to its own sample: clean first, noisy second.",
        caught_by="test_a_posterior_by_hand",
    ),
    Mistake(
        name="logarithm_of_zero",
        find=LOG,
        replace="log_variances = variances.log()",
        why="At t = 0 it would be minus infinity.",
        caught_by="test_the_logarithm_at_0_is_that_at_1",
    ),
    Mistake(
        name="logarithm_of_a_tiny_number",
        find=LOG,
        replace="log_variances = variances.clamp(min=1e-20).log()",
        why="-46 at t = 0 is a bound far from all other values; the value at t = 1 is the convention.",
        caught_by="test_the_logarithm_at_0_is_that_at_1",
    ),
    Mistake(
        name="all_bounded_by_the_value_at_1",
        find=LOG,
        replace="log_variances = variances.clamp(min=variances[1].item()).log()",
        why="Only t = 0 is replaced: a later variance may be smaller than the one at t = 1.",
        caught_by="test_the_posterior_agrees_with_conditioning",
    ),
    Mistake(
        name="logarithms_shifted",
        find=LOG,
        replace="log_variances = torch.cat((variances[1:], variances[-1:])).log()",
        why="Only the value at t = 0 is replaced.",
        caught_by="test_the_logarithm_at_0_is_that_at_1",
    ),
    Mistake(
        name="logarithm_at_0_of_the_forward_step",
        find=LOG,
        replace="log_variances = torch.cat((1 - alphas_cumprod[:1], variances[1:])).log()",
        why="At t = 0 the logarithm is that of the posterior variance at t = 1, not of beta_0.",
        caught_by="test_the_logarithm_at_0_is_that_at_1",
    ),
    Mistake(
        name="logarithm_of_the_standard_deviation",
        find=LOG,
        replace=LOG.replace(".log()", ".sqrt().log()"),
        why="It is the logarithm of the variance, twice that of the standard deviation.",
        caught_by="test_a_posterior_by_hand",
    ),
    Mistake(
        name="before_the_first_comes_the_first",
        find=PREVIOUS,
        replace="torch.cat((alphas_cumprod[:1], alphas_cumprod[:-1]))",
        why="Before timestep 0 comes the clean sample, where abar is 1.",
        caught_by="test_before_timestep_0_comes_the_clean_sample",
    ),
    Mistake(
        name="before_the_first_comes_the_last",
        find=PREVIOUS,
        replace="alphas_cumprod.roll(1)",
        why="roll brings the last element to the front; before timestep 0 abar is 1.",
        caught_by="test_variances_by_hand",
    ),
    Mistake(
        name="next_instead_of_previous",
        find=PREVIOUS,
        replace="torch.cat((alphas_cumprod[1:], alphas_cumprod.new_ones(1)))",
        why="The step goes from t back to t - 1.",
        caught_by="test_variances_by_hand",
    ),
    Mistake(
        name="schedule_cast_first",
        find="    previous = _previous(alphas_cumprod)\n    alphas = ",
        replace="    alphas_cumprod = alphas_cumprod.to(x_t.dtype)\n"
        "    previous = _previous(alphas_cumprod)\n    alphas = ",
        why="Differences from 1 of 1e-4 have only 4 digits left in float32.",
        caught_by="test_early_timesteps_keep_their_digits",
    ),
    Mistake(
        name="variance_without_dimensions",
        find=RETURN,
        replace="return Posterior(mean, variances[t].to(x_t.dtype), extract(log_variances, t, x_t))",
        why="The variance of a sample has to multiply noise of the sample's shape: (B, 1, ..., 1), not (B,).",
        caught_by="test_a_posterior_by_hand",
    ),
    Mistake(
        name="variance_of_the_first_sample",
        find=RETURN,
        replace="return Posterior(mean, extract(variances, t[:1].expand(len(t)), x_t), extract(log_variances, t, x_t))",
        why="Every sample has its own timestep, so its own variance.",
        caught_by="test_the_posterior_agrees_with_conditioning",
    ),
    Mistake(
        name="variance_in_the_dtype_of_the_schedule",
        find=RETURN,
        replace="return Posterior(mean, extract(variances, t, x_t.to(variances)), extract(log_variances, t, x_t))",
        why="A variance in float64 would turn float32 samples into float64.",
        caught_by="test_the_dtype_is_that_of_the_samples",
    ),
    Mistake(
        name="no_gradient",
        find=MEAN,
        replace=MEAN + "\n    mean = mean.detach()",
        why="Guidance differentiates the mean with respect to the samples.",
        caught_by="test_gradients_reach_both_samples",
    ),
    Mistake(
        name="one_timestep_unchecked",
        find="if len(alphas_cumprod) < 2:",
        replace="if len(alphas_cumprod) < 1:",
        why="Without a timestep 1 there is no value for the logarithm at 0, and the error would be about an index.",
        caught_by="test_a_schedule_of_one_timestep_is_refused",
    ),
    Mistake(
        name="logarithm_with_a_floor",
        find="torch.cat((variances[1:2], variances[1:])).log()",
        replace="torch.cat((variances[1:2], variances[1:])).clamp(min=1e-6).log()",
        why="The floor is meant for t = 0; other variances may be as small.",
        caught_by="test_extreme_betas_are_not_cut",
    ),
    Mistake(
        name="noise_with_a_floor",
        find="    of_x_start = previous.sqrt() * (1 - alphas) / (1 - alphas_cumprod)",
        replace="    of_x_start = previous.sqrt() * (1 - alphas) / (1 - alphas_cumprod).clamp(min=1e-5)",
        why="A floor under what one divides by makes the first timesteps wrong: they were finite.",
        caught_by="test_extreme_betas_are_not_cut",
    ),
    Mistake(
        name="variance_in_float32_at_least",
        find="return Posterior(mean, extract(variances, t, x_t), extract(log_variances, t, x_t))",
        replace="wide = x_t.float() if x_t.element_size() == 2 else x_t\n    return Posterior(mean, extract(variances, t, wide), extract(log_variances, t, wide))",
        why="All three have the dtype of x_t, bfloat16 as well.",
        caught_by="test_the_dtype_is_that_of_the_samples",
    ),
]
