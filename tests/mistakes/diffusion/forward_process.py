"""Wrong forward processes that real people write."""

from tests.mistakes import Mistake

EXTRACT = "values[t].to(x.dtype).reshape(-1, *[1] * (x.dim() - 1))"
FACTORS = "signal, sigma = alphas_cumprod.sqrt(), (1 - alphas_cumprod).sqrt()"
SUM = "return extract(signal, t, x_start) * x_start + extract(sigma, t, x_start) * noise"

MISTAKES = [
    Mistake(
        name="not_reshaped",
        find=EXTRACT,
        replace="values[t].to(x.dtype)",
        why="Numbers of shape (B,) meet the last axis of the samples: one for every column instead of every row.",
        caught_by="test_a_batch_as_large_as_the_sample",
    ),
    Mistake(
        name="batch_on_the_last_axis",
        find=EXTRACT,
        replace="values[t].to(x.dtype).reshape(*[1] * (x.dim() - 1), -1)",
        why="The batch is the first axis, so the ones come after it.",
        caught_by="test_every_sample_gets_its_own_number",
    ),
    Mistake(
        name="images_only",
        find=EXTRACT,
        replace="values[t].to(x.dtype).reshape(-1, 1, 1, 1)",
        why="Points, signals and videos have another rank than images.",
        caught_by="test_extracted_numbers_agree_with_the_definition",
    ),
    Mistake(
        name="one_dimension_too_many",
        find=EXTRACT,
        replace="values[t].to(x.dtype).reshape(-1, *[1] * x.dim())",
        why="One dimension of the result is the batch itself: only x.dim() - 1 ones follow.",
        caught_by="test_every_sample_gets_its_own_number",
    ),
    Mistake(
        name="first_timestep_for_everyone",
        find=EXTRACT,
        replace="values[t[0]].to(x.dtype).expand(len(t)).reshape(-1, *[1] * (x.dim() - 1))",
        why="Every sample of the batch has its own timestep.",
        caught_by="test_every_sample_gets_its_own_number",
    ),
    Mistake(
        name="in_order_of_the_timesteps",
        find=EXTRACT,
        replace="values[t.sort().values].to(x.dtype).reshape(-1, *[1] * (x.dim() - 1))",
        why="Number i belongs to sample i, whatever its timestep.",
        caught_by="test_every_sample_gets_its_own_number",
    ),
    Mistake(
        name="counted_from_one",
        find=EXTRACT,
        replace="values[t - 1].to(x.dtype).reshape(-1, *[1] * (x.dim() - 1))",
        why="Timesteps are counted from 0, as the schedule is.",
        caught_by="test_every_sample_gets_its_own_number",
    ),
    Mistake(
        name="dtype_of_the_schedule",
        find="values[t].to(x.dtype)",
        replace="values[t]",
        why="A float64 schedule would turn float32 images into float64, and the network refuses them.",
        caught_by="test_the_dtype_is_that_of_the_samples",
    ),
    Mistake(
        name="schedule_cast_first",
        find=FACTORS,
        replace="alphas_cumprod = alphas_cumprod.to(x_start.dtype)\n    " + FACTORS,
        why="1 - alphas_cumprod in float32 has lost half of its digits where it is 1e-4.",
        caught_by="test_the_first_timesteps_keep_their_digits",
    ),
    Mistake(
        name="roots_forgotten",
        find=FACTORS,
        replace="signal, sigma = alphas_cumprod, 1 - alphas_cumprod",
        why="alphas_cumprod is a share of variance; a sample is multiplied by its root.",
        caught_by="test_signal_and_noise_by_hand",
    ),
    Mistake(
        name="root_of_the_noise_forgotten",
        find=FACTORS,
        replace="signal, sigma = alphas_cumprod.sqrt(), 1 - alphas_cumprod",
        why="1 - alphas_cumprod is the variance of the noise; its root multiplies the noise.",
        caught_by="test_signal_and_noise_by_hand",
    ),
    Mistake(
        name="one_minus_the_root",
        find=FACTORS,
        replace="signal, sigma = alphas_cumprod.sqrt(), 1 - alphas_cumprod.sqrt()",
        why="The squares of both factors add up to 1, not the factors.",
        caught_by="test_signal_and_noise_by_hand",
    ),
    Mistake(
        name="product_taken_twice",
        find=FACTORS,
        replace="alphas_cumprod = alphas_cumprod.cumprod(0)\n    " + FACTORS,
        why="alphas_cumprod is the product already.",
        caught_by="test_signal_and_noise_by_hand",
    ),
    Mistake(
        name="signal_and_noise_exchanged",
        find=SUM,
        replace="return extract(sigma, t, x_start) * x_start + extract(signal, t, x_start) * noise",
        why="The signal fades with t and the noise grows, not the other way round.",
        caught_by="test_signal_and_noise_by_hand",
    ),
    Mistake(
        name="noise_subtracted",
        find=SUM,
        replace="return extract(signal, t, x_start) * x_start - extract(sigma, t, x_start) * noise",
        why="The distribution is the same, but the network would be asked for the wrong sign.",
        caught_by="test_signal_and_noise_by_hand",
    ),
    Mistake(
        name="variance_explodes",
        find=SUM,
        replace="return x_start + extract(sigma / signal, t, x_start) * noise",
        why="This is the variance-exploding process: the signal is not scaled down as the noise grows.",
        caught_by="test_signal_and_noise_by_hand",
    ),
    Mistake(
        name="no_gradient",
        find=SUM,
        replace="return extract(signal, t, x_start) * x_start.detach() + extract(sigma, t, x_start) * noise.detach()",
        why="Guidance differentiates through noisy samples.",
        caught_by="test_gradients_reach_sample_and_noise",
    ),
    Mistake(
        name="noise_scaled_in_place",
        find=SUM,
        replace="return noise.mul_(extract(sigma, t, x_start)).add_(extract(signal, t, x_start) * x_start)",
        why="The noise is also the target of the training: it must not be overwritten.",
        caught_by="test_standing_laws",
    ),
    Mistake(
        name="noise_with_a_floor",
        find="(1 - alphas_cumprod).sqrt()\n",
        replace="(1 - alphas_cumprod).clamp(min=1e-5).sqrt()\n",
        why="A floor adds noise where the schedule has almost none.",
        caught_by="test_tiny_noise_is_not_lost",
    ),
    Mistake(
        name="half_precision_widened",
        find="return values[t].to(x.dtype).reshape",
        replace="return values[t].to(x.dtype if x.dtype == torch.float64 else torch.float32).reshape",
        why="A model in bfloat16 is given float32, and its first layer refuses it.",
        caught_by="test_the_dtype_is_that_of_the_samples",
    ),
]
