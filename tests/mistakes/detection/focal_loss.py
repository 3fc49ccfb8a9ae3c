"""Wrong focal losses that real people write."""

from tests.mistakes import Mistake

ALPHA = "alpha_t = alpha * targets + (1 - alpha) * (1 - targets)"
FACTOR = "modulating_factor = torch.exp(-gamma * F.softplus(-z))"

MISTAKES = [
    Mistake(
        name="alpha_on_the_wrong_side",
        find=ALPHA,
        replace="alpha_t = (1 - alpha) * targets + alpha * (1 - targets)",
        why="alpha weighs the positives and 1 - alpha the negatives: exchanged, background weighs a third, not triple.",
        caught_by="test_an_undecided_logit_costs_a_quarter_of_log_2_times_alpha_t",
    ),
    Mistake(
        name="alpha_for_everything",
        find=ALPHA,
        replace="alpha_t = alpha",
        why="alpha balances positives against negatives; one factor for both balances nothing.",
        caught_by="test_an_undecided_logit_costs_a_quarter_of_log_2_times_alpha_t",
    ),
    Mistake(
        name="negatives_unweighted",
        find=ALPHA,
        replace="alpha_t = alpha * targets + (1 - targets)",
        why="Negatives weigh 1 - alpha, not 1.",
        caught_by="test_an_undecided_logit_costs_a_quarter_of_log_2_times_alpha_t",
    ),
    Mistake(
        name="focus_on_the_easy",
        find=FACTOR,
        replace="modulating_factor = torch.exp(-gamma * F.softplus(z))",
        why="The factor is (1 - p_t)^gamma; p_t^gamma silences the hard examples instead of the easy ones.",
        caught_by="test_a_right_answer_costs_less_than_a_wrong_one",
    ),
    Mistake(
        name="factor_from_p_instead_of_p_t",
        find=FACTOR,
        replace="modulating_factor = (1 - torch.sigmoid(logits)) ** gamma",
        why="For a negative the probability of the truth is 1 - p, so its factor is p^gamma.",
        caught_by="test_a_right_answer_costs_less_than_a_wrong_one",
    ),
    Mistake(
        name="gamma_fixed_at_two",
        find=FACTOR,
        replace="modulating_factor = torch.exp(-2 * F.softplus(-z))",
        why="gamma is a hyper-parameter; 2 is only its default.",
        caught_by="test_without_focusing_it_is_weighted_cross_entropy",
    ),
    Mistake(
        name="factor_by_power",
        find=FACTOR,
        replace="modulating_factor = torch.sigmoid(z) ** gamma",
        why="x^gamma has an infinite slope at 0 for gamma < 1, and a saturated sigmoid is exactly 0: inf * 0 is NaN.",
        caught_by="test_gradients_are_finite_at_saturated_logits",
    ),
    Mistake(
        name="factor_is_constant",
        find=FACTOR,
        replace="modulating_factor = torch.exp(-gamma * F.softplus(-z)).detach()",
        why="The factor depends on the logit too; detached, the gradient is not that of the loss.",
        caught_by="test_gradients_are_those_of_the_formula",
    ),
    Mistake(
        name="log_of_the_sigmoid",
        find="cross_entropy = F.softplus(z)",
        replace="cross_entropy = -torch.log(torch.sigmoid(-z))",
        why="In float32 the sigmoid of -200 is 0 and its log is -inf: take the log-sigmoid in one step.",
        caught_by="test_saturated_logits_cost_what_the_formula_says",
    ),
    Mistake(
        name="log_clamped",
        find="cross_entropy = F.softplus(z)",
        replace="cross_entropy = -torch.log(torch.sigmoid(-z).clamp(min=1e-7))",
        why="Clamping the probability caps the loss at 16 and takes the gradient away where it is needed most.",
        caught_by="test_a_hopeless_logit_still_has_its_full_slope",
    ),
    Mistake(
        name="cross_entropy_of_the_positive_class_only",
        find="cross_entropy = F.softplus(z)",
        replace="cross_entropy = F.softplus(-logits)",
        why="A negative costs -log(1 - p), not -log p.",
        caught_by="test_a_right_answer_costs_less_than_a_wrong_one",
    ),
    Mistake(
        name="mean_over_all_elements",
        find=".sum() / num_positives",
        replace=".mean()",
        why="The mean divides by a hundred thousand easy anchors, and the loss of the few objects vanishes.",
        caught_by="test_the_normaliser_is_the_number_of_positives",
    ),
    Mistake(
        name="no_lower_bound_for_the_normaliser",
        find="targets.detach().sum().clamp(min=1)",
        replace="targets.sum()",
        why="Without positives the sum would be divided by 0.",
        caught_by="test_the_normaliser_is_the_number_of_positives",
    ),
    Mistake(
        name="one_added_to_the_normaliser",
        find="targets.detach().sum().clamp(min=1)",
        replace="targets.sum() + 1",
        why="max(1, n), not n + 1: with one positive the loss would be halved.",
        caught_by="test_the_normaliser_is_the_number_of_positives",
    ),
    Mistake(
        name="normaliser_counts_rows_with_a_positive",
        find="targets.detach().sum().clamp(min=1)",
        replace="targets.any(dim=-1).sum().clamp(min=1)",
        why="The number of positive targets is asked for, not the number of rows that contain one.",
        caught_by="test_the_normaliser_is_the_number_of_positives",
    ),
    Mistake(
        name="hyper_parameters_not_passed_on",
        find="targets, alpha=alpha, gamma=gamma)",
        replace="targets)",
        why="The caller's alpha and gamma have to reach the loss.",
        caught_by="test_the_normaliser_is_the_number_of_positives",
    ),
    Mistake(
        name="alpha_unchecked",
        find="if not 0 <= alpha <= 1:",
        replace="if False:",
        why="An alpha above 1 makes the negatives' weight negative: the loss would reward mistakes.",
        caught_by="test_bad_hyper_parameters_are_refused",
    ),
    Mistake(
        name="gamma_unchecked",
        find="if not gamma >= 0:",
        replace="if False:",
        why="A negative gamma blows easy examples up instead of silencing them.",
        caught_by="test_bad_hyper_parameters_are_refused",
    ),
    Mistake(
        name="logits_cut_at_201",
        find="z = logits * (1 - 2 * targets)",
        replace="z = (logits * (1 - 2 * targets)).clamp(-201, 201)",
        why="Beyond the cut the loss stops growing and the slope is gone: a hopeless answer would never be mended.",
        caught_by="test_a_hopeless_logit_still_has_its_full_slope",
    ),
    Mistake(
        name="targets_learn_too",
        find="    targets = targets.detach()\n",
        replace="",
        why="Targets that a network made would be pulled towards the prediction: both would agree on nothing.",
        caught_by="test_the_targets_take_no_gradient",
    ),
    Mistake(
        name="normaliser_learns_too",
        find="targets.detach().sum().clamp(min=1)",
        replace="targets.sum().clamp(min=1)",
        why="A gradient through the count makes every target grow, for the loss shrinks with their number.",
        caught_by="test_the_targets_take_no_gradient",
    ),
    Mistake(
        name="targets_of_three_axes_shuffled",
        find="    z = logits * (1 - 2 * targets)\n",
        replace="    if targets.dim() > 2:\n        targets = targets.transpose(1, 2).reshape(targets.shape)\n"
        "    z = logits * (1 - 2 * targets)\n",
        why="A reshape after a transpose gives (batch, anchors, classes) its shape back, but not its order.",
        caught_by="test_the_shape_does_not_matter",
    ),
    Mistake(
        name="a_single_logit_has_no_length",
        find="    targets = targets.detach()\n",
        replace="    targets = targets.detach()\n    if len(logits) == 0:\n        return logits\n",
        why="A scalar has no len: numel() counts the elements of any shape.",
        caught_by="test_the_shape_does_not_matter",
    ),
    Mistake(
        name="empty_before_the_checks",
        find="    if not 0 <= alpha <= 1:",
        replace="    if logits.numel() == 0:\n        return logits\n    if not 0 <= alpha <= 1:",
        why="A bad argument would pass until the first batch that has logits.",
        caught_by="test_bad_hyper_parameters_are_refused",
    ),
]

EQUIVALENT = {
    "sigmoid_focal_loss: logits * (1 - 2 * targets) → logits / (1 - 2 * targets)": "the factor is 1 or -1",
}
