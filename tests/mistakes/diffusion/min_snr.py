"""Wrong Min-SNR weights that real people write."""

from tests.mistakes import Mistake

NOISE = "return torch.clamp(gamma / snr, max=1)"
X_START = "return torch.clamp(snr, max=gamma)\n"
V = "return torch.clamp(snr, max=gamma) / (snr + 1)"

MISTAKES = [
    Mistake(
        name="noise_weighted_as_the_clean_sample",
        find=NOISE,
        replace="return snr.clamp(max=gamma)",
        why="The squared error of the noise is SNR times that of the clean sample: the weight is divided by it.",
        caught_by="test_the_ratio_is_cut_at_5",
    ),
    Mistake(
        name="noise_weighted_as_the_velocity",
        find=NOISE,
        replace="return snr.clamp(max=gamma) / (snr + 1)",
        why="SNR + 1 belongs to the velocity; the noise has the SNR.",
        caught_by="test_the_ratio_is_cut_at_5",
    ),
    Mistake(
        name="not_cut",
        find=NOISE,
        replace="return gamma / snr",
        why="Below gamma the weight is 1: noisy timesteps would weigh thousands.",
        caught_by="test_the_ratio_is_cut_at_5",
    ),
    Mistake(
        name="cut_from_below",
        find=NOISE,
        replace="return (gamma / snr).clamp(min=1)",
        why="min(snr, gamma) / snr never exceeds 1.",
        caught_by="test_the_ratio_is_cut_at_5",
    ),
    Mistake(
        name="nothing_over_nothing",
        find=NOISE,
        replace="return snr.clamp(max=gamma) / snr",
        why="Schedules that end in pure noise have an SNR of 0, and 0 / 0 is NaN: write gamma / snr, at most 1.",
        caught_by="test_pure_noise_has_a_weight",
    ),
    Mistake(
        name="small_number_added_to_the_ratio",
        find=NOISE,
        replace="return snr.clamp(max=gamma) / (snr + 1e-8)",
        why="An SNR of 0 would get the weight 0 instead of 1.",
        caught_by="test_pure_noise_has_a_weight",
    ),
    Mistake(
        name="gamma_fixed_for_the_noise",
        find=NOISE,
        replace="return (5 / snr).clamp(max=1)",
        why="The caller chooses where the ratio is cut.",
        caught_by="test_another_gamma_cuts_elsewhere",
    ),
    Mistake(
        name="larger_of_the_two",
        find=X_START,
        replace="return snr.clamp(min=gamma)\n",
        why="The ratio is bounded from above, so that almost clean samples do not dominate.",
        caught_by="test_the_ratio_is_cut_at_5",
    ),
    Mistake(
        name="the_ratio_itself",
        find=X_START,
        replace="return snr\n",
        why="Without the cut the loss of the clean sample is that of the noise again: nothing is balanced.",
        caught_by="test_the_ratio_is_cut_at_5",
    ),
    Mistake(
        name="divided_by_gamma",
        find=X_START,
        replace="return snr.clamp(max=gamma) / gamma\n",
        why="The weight is min(snr, gamma), not its share of gamma.",
        caught_by="test_the_ratio_is_cut_at_5",
    ),
    Mistake(
        name="cut_at_the_root",
        find=X_START,
        replace="return snr.clamp(max=gamma**0.5)\n",
        why="gamma bounds the ratio of variances, not of standard deviations.",
        caught_by="test_the_ratio_is_cut_at_5",
    ),
    Mistake(
        name="velocity_weighted_as_the_noise",
        find=V,
        replace="return (gamma / snr).clamp(max=1)",
        why="The squared error of the velocity is SNR + 1 times that of the clean sample, not SNR times.",
        caught_by="test_the_ratio_is_cut_at_5",
    ),
    Mistake(
        name="one_added_before_the_cut",
        find=V,
        replace="return (snr + 1).clamp(max=gamma) / (snr + 1)",
        why="The SNR is cut at gamma, not SNR + 1: only the divisor has the 1.",
        caught_by="test_the_ratio_is_cut_at_5",
    ),
    Mistake(
        name="divisor_cut_too",
        find=V,
        replace="return snr.clamp(max=gamma) / (snr.clamp(max=gamma) + 1)",
        why="The divisor undoes the true factor between the errors, and that is not cut.",
        caught_by="test_the_ratio_is_cut_at_5",
    ),
    Mistake(
        name="gamma_unchecked",
        find="if not gamma > 0:",
        replace="if gamma < 0:",
        why="With gamma = 0 every weight is 0 and nothing is learnt.",
        caught_by="test_a_gamma_that_is_not_positive_is_refused",
    ),
    Mistake(
        name="gamma_of_zero_alone_refused",
        find="if not gamma > 0:",
        replace="if gamma == 0:",
        why="A negative gamma would reward errors.",
        caught_by="test_a_gamma_that_is_not_positive_is_refused",
    ),
    Mistake(
        name="ratio_with_a_floor",
        find="return torch.clamp(gamma / snr, max=1)",
        replace="return torch.clamp(gamma / snr.clamp(min=0.3), max=1)",
        why="A floor under the ratio changes the weight wherever gamma is small.",
        caught_by="test_neither_ratio_nor_gamma_is_cut_elsewhere",
    ),
    Mistake(
        name="velocity_weight_by_the_share_of_the_signal",
        find="    return torch.clamp(snr, max=gamma) / (snr + 1)\n",
        replace="    return snr / (snr + 1) * torch.clamp(gamma / snr, max=1)\n",
        why="The same but at the ends: inf / inf, and gamma / 0 times 0.",
        caught_by="test_no_noise_at_all_has_a_weight",
    ),
]
