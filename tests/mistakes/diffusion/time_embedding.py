"""Wrong time embeddings that real people write."""

from tests.mistakes import Mistake

CAT = "torch.cat((angles.cos(), angles.sin(), t.new_zeros(len(t), dim % 2)), dim=1)"
FREQUENCIES = "torch.exp(-math.log(max_period) / half * steps)"

MISTAKES = [
    Mistake(
        name="sines_first",
        find=CAT,
        replace="torch.cat((angles.sin(), angles.cos(), t.new_zeros(len(t), dim % 2)), dim=1)",
        why="Cosines come first here; a network trained with one order is useless with the other.",
        caught_by="test_cosines_come_first_and_fast_waves_before_slow_ones",
    ),
    Mistake(
        name="interleaved",
        find=CAT,
        replace="torch.cat((torch.stack((angles.cos(), angles.sin()), 2).flatten(1), t.new_zeros(len(t), dim % 2)), 1)",
        why="All cosines stand before all sines; alternating pairs are the layout of the transformer paper.",
        caught_by="test_cosines_come_first_and_fast_waves_before_slow_ones",
    ),
    Mistake(
        name="divided_by_half_minus_one",
        find=FREQUENCIES,
        replace="torch.exp(-math.log(max_period) / max(half - 1, 1) * steps)",
        why="Divided by half - 1, the last frequency is 1 / max_period: the convention of Ho et al., not this one.",
        caught_by="test_cosines_come_first_and_fast_waves_before_slow_ones",
    ),
    Mistake(
        name="divided_by_dim",
        find=FREQUENCIES,
        replace="torch.exp(-math.log(max_period) / dim * steps)",
        why="i runs to half only, so i / dim uses the upper half of the range of frequencies and no slow waves.",
        caught_by="test_cosines_come_first_and_fast_waves_before_slow_ones",
    ),
    Mistake(
        name="frequencies_grow",
        find=FREQUENCIES,
        replace="torch.exp(math.log(max_period) / half * steps)",
        why="The fastest wave has frequency 1; faster ones jump from timestep to timestep.",
        caught_by="test_cosines_come_first_and_fast_waves_before_slow_ones",
    ),
    Mistake(
        name="slow_waves_first",
        find=FREQUENCIES,
        replace="torch.exp(-math.log(max_period) / half * steps).flip(0)",
        why="The fastest wave comes first.",
        caught_by="test_cosines_come_first_and_fast_waves_before_slow_ones",
    ),
    Mistake(
        name="whole_turns",
        find=FREQUENCIES,
        replace="2 * math.pi * torch.exp(-math.log(max_period) / half * steps)",
        why="Frequencies are in radians: with 2 pi the first wave is 1 at every integer timestep.",
        caught_by="test_cosines_come_first_and_fast_waves_before_slow_ones",
    ),
    Mistake(
        name="period_fixed",
        find=FREQUENCIES,
        replace="torch.exp(-math.log(10_000) / half * steps)",
        why="How slow the slowest wave is, the caller chooses: max_period has to be used.",
        caught_by="test_cosines_come_first_and_fast_waves_before_slow_ones",
    ),
    Mistake(
        name="evenly_spaced_frequencies",
        find=FREQUENCIES,
        replace="(1 - steps / half * (1 - 1 / max_period))",
        why="Frequencies fall by a constant factor; evenly spaced ones are nearly all fast.",
        caught_by="test_cosines_come_first_and_fast_waves_before_slow_ones",
    ),
    Mistake(
        name="no_column_for_an_odd_dim",
        find=CAT,
        replace="torch.cat((angles.cos(), angles.sin()), dim=1)",
        why="An odd dim has to come out odd.",
        caught_by="test_an_odd_dim_ends_in_a_zero",
    ),
    Mistake(
        name="zero_in_front",
        find=CAT,
        replace="torch.cat((t.new_zeros(len(t), dim % 2), angles.cos(), angles.sin()), dim=1)",
        why="The column of zeros is the last.",
        caught_by="test_an_odd_dim_ends_in_a_zero",
    ),
    Mistake(
        name="one_more_cosine_for_an_odd_dim",
        find="half = dim // 2\n    steps",
        replace="half = (dim + 1) // 2\n    steps",
        why="For an odd dim there are as many sines as cosines, and a zero.",
        caught_by="test_an_odd_dim_ends_in_a_zero",
    ),
    Mistake(
        name="fractions_lost",
        find="t = t if t.is_floating_point() else t.float()",
        replace="t = t.long().to(t.dtype if t.is_floating_point() else torch.float32)",
        why="Timesteps may be fractional: continuous-time models and samplers between timesteps use them.",
        caught_by="test_an_odd_dim_ends_in_a_zero",
    ),
    Mistake(
        name="always_float32",
        find="t = t if t.is_floating_point() else t.float()",
        replace="t = t.float()",
        why="Timesteps in float64 give an embedding in float64.",
        caught_by="test_standing_laws",
    ),
    Mistake(
        name="frequencies_in_float32",
        find="torch.arange(half, dtype=t.dtype, device=t.device)",
        replace="torch.arange(half, dtype=torch.float32, device=t.device)",
        why="A frequency rounded to float32 is off in the seventh digit, and at t = 1000 the angle in the fourth.",
        caught_by="test_the_embedding_agrees_with_the_definition",
    ),
    Mistake(
        name="dtype_of_the_default",
        find="else t.float()",
        replace="else t.to(torch.get_default_dtype())",
        why="Integers give float32, whatever the default dtype is.",
        caught_by="test_integers_become_float32_whatever_the_default",
    ),
    Mistake(
        name="scaled_to_a_unit_interval",
        find="angles = t[:, None] * ",
        replace="angles = t[:, None] / t.max() * ",
        why="The embedding of a timestep must not depend on the others in its batch.",
        caught_by="test_timesteps_do_not_depend_on_their_batch",
    ),
    Mistake(
        name="cut_at_the_thousandth_timestep",
        find="angles = t[:, None] * ",
        replace="angles = t.clamp(max=1000)[:, None] * ",
        why="Models with more than 1000 timesteps have to tell the later ones apart.",
        caught_by="test_the_embedding_agrees_with_the_definition",
    ),
    Mistake(
        name="small_dim_unchecked",
        find="if dim < 2:",
        replace="if dim < 1:",
        why="dim = 1 has no room for a wave: the embedding would be a zero for every timestep.",
        caught_by="test_a_dim_without_room_for_a_wave_is_refused",
    ),
    Mistake(
        name="integers_in_half_precision",
        find="t = t if t.is_floating_point() else t.float()",
        replace="t = t if t.is_floating_point() else t.half().float()",
        why="float16 counts in twos beyond 2048.",
        caught_by="test_late_timesteps_keep_their_digits",
    ),
]
