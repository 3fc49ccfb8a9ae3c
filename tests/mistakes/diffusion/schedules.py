"""Wrong schedules that real people write."""

from tests.mistakes import Mistake

U_OF_COSINE = """u = torch.linspace(0, 1, num_timesteps + 1, dtype=torch.float64)
    return"""
RATIO = "(1 - signal_left[1:] / signal_left[:-1])"
COSINE = "torch.cos(math.pi / 2 * (u + s) / (1 + s)) ** 2"

LINE = "torch.linspace(scale * beta_start, scale * beta_end, num_timesteps, dtype=torch.float64)"
ROOTS = "torch.linspace((scale * beta_start)**0.5, (scale * beta_end)**0.5, num_timesteps, dtype=torch.float64)"

MISTAKES = [
    Mistake(
        name="ends_not_scaled",
        find="scale = 1000 / num_timesteps",
        replace="scale = 1",
        why="The published betas are meant for 1000 timesteps: with 100 of them most of the signal would be left.",
        caught_by="test_fewer_timesteps_take_larger_steps",
    ),
    Mistake(
        name="scale_upside_down",
        find="scale = 1000 / num_timesteps",
        replace="scale = num_timesteps / 1000",
        why="Fewer timesteps have to take larger steps, not smaller ones.",
        caught_by="test_fewer_timesteps_take_larger_steps",
    ),
    Mistake(
        name="never_scaled_down",
        find="scale = 1000 / num_timesteps",
        replace="scale = max(1, 1000 / num_timesteps)",
        why="More timesteps than 1000 have to take smaller steps, or they add more noise in total.",
        caught_by="test_more_timesteps_take_smaller_steps",
    ),
    Mistake(
        name="only_the_last_beta_scaled",
        find="scale * beta_start",
        replace="beta_start",
        why="Both ends are multiplied by 1000 / T, so that the whole line grows.",
        caught_by="test_fewer_timesteps_take_larger_steps",
    ),
    Mistake(
        name="even_in_standard_deviation",
        find=LINE,
        replace=f"{ROOTS}**2",
        why="This is the schedule of Stable Diffusion (scaled linear): there the roots of the betas grow evenly.",
        caught_by="test_the_linear_schedule_of_the_paper",
    ),
    Mistake(
        name="the_last_beta_never_reached",
        find=LINE,
        replace="torch.linspace(scale * beta_start, scale * beta_end, num_timesteps + 1, dtype=torch.float64)[:-1]",
        why="T betas from the first to the last have T - 1 steps between them, not T.",
        caught_by="test_the_linear_schedule_of_the_paper",
    ),
    Mistake(
        name="linear_schedule_not_cut",
        find="return betas.clamp(max=max_beta)",
        replace="return betas",
        why="With T = 10 the scaled betas exceed 1, and 1 - beta is negative.",
        caught_by="test_a_beta_that_grew_too_large_is_cut",
    ),
    Mistake(
        name="ends_cut_before_the_line_is_drawn",
        find="scale * beta_end, num_timesteps",
        replace="min(scale * beta_end, max_beta), num_timesteps",
        why="Cutting the end changes the slope of the whole line: each beta is cut on its own.",
        caught_by="test_a_beta_that_grew_too_large_is_cut",
    ),
    Mistake(
        name="linear_schedule_in_float32",
        find="num_timesteps, dtype=torch.float64)\n    return betas.clamp",
        replace="num_timesteps).double()\n    return betas.clamp",
        why="Converting to float64 at the end does not bring back the digits that float32 lost on the way.",
        caught_by="test_the_linear_schedule_agrees_with_the_definition",
    ),
    Mistake(
        name="cosine_schedule_in_float32",
        find=U_OF_COSINE,
        replace="u = torch.linspace(0, 1, num_timesteps + 1).double()\n    return",
        why="u has to be computed in float64 already: t / T in float32 is off in the eighth digit.",
        caught_by="test_the_cosine_schedule_agrees_with_the_definition",
    ),
    Mistake(
        name="one_point_too_few",
        find=U_OF_COSINE,
        replace="u = torch.linspace(0, 1, num_timesteps, dtype=torch.float64)\n    return",
        why="T ratios of neighbours need T + 1 points.",
        caught_by="test_the_cosine_schedule_by_hand",
    ),
    Mistake(
        name="curve_shifted_by_one_timestep",
        find=U_OF_COSINE,
        replace="u = torch.arange(1, num_timesteps + 2, dtype=torch.float64) / (num_timesteps + 1)\n    return",
        why="The first beta leads from u = 0, the clean sample, to u = 1 / T.",
        caught_by="test_the_cosine_schedule_by_hand",
    ),
    Mistake(
        name="cosine_not_squared",
        find=COSINE,
        replace="torch.cos(math.pi / 2 * (u + s) / (1 + s))",
        why="alphas_cumprod is a share of variance, the square of what multiplies the sample.",
        caught_by="test_the_cosine_schedule_by_hand",
    ),
    Mistake(
        name="offset_not_normalised",
        find=COSINE,
        replace="torch.cos(math.pi / 2 * (u + s)) ** 2",
        why="Divided by 1 + s the curve ends exactly at 90°; without, it passes the end and rises again.",
        caught_by="test_the_cosine_schedule_by_hand",
    ),
    Mistake(
        name="offset_forgotten",
        find=COSINE,
        replace="torch.cos(math.pi / 2 * u) ** 2",
        why="Without the offset s the first betas are tiny.",
        caught_by="test_the_cosine_schedule_by_hand",
    ),
    Mistake(
        name="ratio_upside_down",
        find=RATIO,
        replace="(1 - signal_left[:-1] / signal_left[1:])",
        why="A step leaves what there is after it over what there was before it: less than 1.",
        caught_by="test_the_cosine_schedule_by_hand",
    ),
    Mistake(
        name="difference_instead_of_ratio",
        find=RATIO,
        replace="(signal_left[:-1] - signal_left[1:])",
        why="A beta is the share that is lost of what was still there, not of the whole.",
        caught_by="test_the_cosine_schedule_by_hand",
    ),
    Mistake(
        name="total_instead_of_step",
        find=RATIO,
        replace="(1 - signal_left[1:] / signal_left[0])",
        why="This is what is lost since the beginning (1 - alphas_cumprod), not in this step.",
        caught_by="test_the_cosine_schedule_by_hand",
    ),
    Mistake(
        name="curve_not_cut",
        find="signal_left[:-1]).clamp(max=max_beta)",
        replace="signal_left[:-1])",
        why="The last beta would be 1: nothing of the signal is left and later divisions by it fail.",
        caught_by="test_the_sigmoid_schedule_by_hand",
    ),
    Mistake(
        name="tau_multiplies",
        find="torch.sigmoid((start + u * (end - start)) / tau)",
        replace="torch.sigmoid((start + u * (end - start)) * tau)",
        why="tau is a temperature: a larger one makes the curve straighter.",
        caught_by="test_the_sigmoid_schedule_by_hand",
    ),
    Mistake(
        name="sigmoid_does_not_end_at_zero",
        find="_betas_of(g[-1] - g, max_beta)",
        replace="_betas_of(1 - g, max_beta)",
        why="f has to reach 0 at u = 1; 1 - g still has sigmoid(-3) of the signal there.",
        caught_by="test_the_sigmoid_schedule_by_hand",
    ),
    Mistake(
        name="sigmoid_ends_in_float32",
        find="_betas_of(g[-1] - g, max_beta)",
        replace="_betas_of(torch.sigmoid(torch.tensor(end / tau)) - g, max_beta)",
        why="torch.tensor of a float is float32: g(1) is off in the eighth digit, g(1) - g(u) in the fourth.",
        caught_by="test_the_sigmoid_schedule_agrees_with_the_definition",
    ),
    Mistake(
        name="product_of_the_betas",
        find="torch.cumprod(1 - betas, dim=0)",
        replace="torch.cumprod(betas, dim=0)",
        why="The signal keeps 1 - beta at every step.",
        caught_by="test_what_is_left_is_what_every_step_left",
    ),
    Mistake(
        name="one_minus_the_sum",
        find="torch.cumprod(1 - betas, dim=0)",
        replace="1 - torch.cumsum(betas, dim=0)",
        why="Losses do not add: each takes its share of what the ones before have left.",
        caught_by="test_what_is_left_is_what_every_step_left",
    ),
    Mistake(
        name="exponential_of_the_sum",
        find="torch.cumprod(1 - betas, dim=0)",
        replace="torch.exp(-torch.cumsum(betas, dim=0))",
        why="1 - beta is exp(-beta) for tiny betas only.",
        caught_by="test_what_is_left_is_what_every_step_left",
    ),
    Mistake(
        name="timestep_itself_left_out",
        find="torch.cumprod(1 - betas, dim=0)",
        replace="torch.cat((betas.new_ones(1), torch.cumprod(1 - betas, dim=0)[:-1]))",
        why="Timestep 0 already carries noise: beta_t belongs to the product up to t.",
        caught_by="test_what_is_left_is_what_every_step_left",
    ),
    Mistake(
        name="root_of_what_is_left",
        find="torch.cumprod(1 - betas, dim=0)",
        replace="torch.cumprod(1 - betas, dim=0).sqrt()",
        why="alphas_cumprod is a variance; its root comes later, when a sample is multiplied.",
        caught_by="test_what_is_left_is_what_every_step_left",
    ),
    Mistake(
        name="noise_to_signal",
        find="return alphas_cumprod / (1 - alphas_cumprod)",
        replace="return (1 - alphas_cumprod) / alphas_cumprod",
        why="Signal over noise: large at the first timesteps.",
        caught_by="test_signal_to_noise_by_hand",
    ),
    Mistake(
        name="ratio_of_standard_deviations",
        find="return alphas_cumprod / (1 - alphas_cumprod)",
        replace="return (alphas_cumprod / (1 - alphas_cumprod)).sqrt()",
        why="The signal-to-noise ratio is a ratio of variances.",
        caught_by="test_signal_to_noise_by_hand",
    ),
    Mistake(
        name="number_of_timesteps_unchecked",
        find="if num_timesteps < 1:",
        replace="if num_timesteps < 0:",
        why="Zero timesteps end in a division by zero that does not say what is wrong.",
        caught_by="test_a_schedule_without_timesteps_is_refused",
    ),
]
