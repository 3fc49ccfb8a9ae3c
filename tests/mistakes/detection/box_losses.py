"""Wrong box losses that real people write."""

from tests.mistakes import Mistake

LINE = "torch.where(distance < beta, 0.5 * distance**2 / beta, distance - 0.5 * beta)"
PRODUCT_OF_SIDES = ".clamp(min=0).prod(dim=1)"

MISTAKES = [
    Mistake(
        name="parabola_not_divided_by_beta",
        find=LINE,
        replace="torch.where(distance < beta, 0.5 * distance**2, distance - 0.5 * beta)",
        why="0.5 d² meets the line only for beta = 1; 0.5 d² / beta has value and slope of the line at beta.",
        caught_by="test_a_parabola_near_the_target_and_a_line_beyond_beta",
    ),
    Mistake(
        name="line_not_shifted_by_beta",
        find=LINE,
        replace="torch.where(distance < beta, 0.5 * distance**2 / beta, distance - 0.5)",
        why="The line is |d| - 0.5 beta; with 0.5 the loss jumps at beta and can be negative.",
        caught_by="test_a_parabola_near_the_target_and_a_line_beyond_beta",
    ),
    Mistake(
        name="huber_instead_of_smooth_l1",
        find=LINE,
        replace="torch.where(distance < beta, 0.5 * distance**2, beta * (distance - 0.5 * beta))",
        why="The Huber loss is beta times smooth L1: its outliers pull with slope beta instead of 1.",
        caught_by="test_smooth_l1_agrees_with_the_definition",
    ),
    Mistake(
        name="beta_zero_forgotten",
        find="if beta == 0:",
        replace="if False:",
        why="where differentiates the branch not taken too: for beta = 0 that is 0 / 0, and every gradient NaN.",
        caught_by="test_the_slope_never_exceeds_one",
    ),
    Mistake(
        name="sign_lost",
        find="(pred - target).abs()",
        replace="(pred - target)",
        why="The loss depends on the distance: without the absolute value a prediction that is too small is rewarded.",
        caught_by="test_a_parabola_near_the_target_and_a_line_beyond_beta",
    ),
    Mistake(
        name="reduced_to_the_mean",
        find=LINE,
        replace="torch.where(distance < beta, 0.5 * distance**2 / beta, distance - 0.5 * beta).mean()",
        why="The loss is wanted element by element; how to reduce it is for the caller to say.",
        caught_by="test_a_parabola_near_the_target_and_a_line_beyond_beta",
    ),
    Mistake(
        name="beta_unchecked",
        find="if not beta >= 0:",
        replace="if False:",
        why="A negative beta has no parabola, and its loss no minimum at the target.",
        caught_by="test_a_negative_beta_is_refused",
    ),
    Mistake(
        name="plain_iou_loss",
        find="return 1 - _ratio(intersection, union) + _ratio(hull - union, hull)",
        replace="return 1 - _ratio(intersection, union)",
        why="Without the hull the loss is 1 for all boxes that do not overlap, and nothing pulls them together.",
        caught_by="test_boxes_apart_cost_more_the_farther_they_are",
    ),
    Mistake(
        name="hull_term_subtracted",
        find="return 1 - _ratio(intersection, union) + _ratio(hull - union, hull)",
        replace="return 1 - _ratio(intersection, union) - _ratio(hull - union, hull)",
        why="GIoU = IoU - (hull - union) / hull, so 1 - GIoU has a plus: the wrong sign pushes boxes apart.",
        caught_by="test_overlapping_boxes",
    ),
    Mistake(
        name="hull_fraction_of_the_union",
        find="_ratio(hull - union, hull)",
        replace="_ratio(hull - union, union)",
        why="The empty part is a fraction of the hull, so that the loss stays below 2.",
        caught_by="test_overlapping_boxes",
    ),
    Mistake(
        name="overlap_of_boxes_apart",
        find=PRODUCT_OF_SIDES,
        replace=".prod(dim=1)",
        why="Two negative sides multiply to a positive area: boxes that are apart in x and y seem to overlap.",
        caught_by="test_boxes_apart_cost_more_the_farther_they_are",
    ),
    Mistake(
        name="overlap_clamped_after_the_product",
        find=PRODUCT_OF_SIDES,
        replace=".prod(dim=1).clamp(min=0)",
        why="Each side has to be clamped: the product of two negative sides is positive.",
        caught_by="test_boxes_apart_cost_more_the_farther_they_are",
    ),
    Mistake(
        name="union_counts_the_overlap_twice",
        find="+ (upper2 - lower2).prod(dim=1) - intersection",
        replace="+ (upper2 - lower2).prod(dim=1)",
        why="The two areas both contain the overlap, so it is subtracted once.",
        caught_by="test_overlapping_boxes",
    ),
    Mistake(
        name="epsilon_in_the_denominator",
        find="return numerator / denominator.where(denominator > 0, 1.0)",
        replace="return numerator / (denominator + 1e-7)",
        why="An epsilon is a length unit in disguise: for boxes in normalised coordinates it is no longer small.",
        caught_by="test_giou_loss_does_not_depend_on_the_unit",
    ),
    Mistake(
        name="division_unguarded",
        find="return numerator / denominator.where(denominator > 0, 1.0)",
        replace="return numerator / denominator",
        why="Two points have union 0, and 0 / 0 is NaN.",
        caught_by="test_degenerate_boxes",
    ),
    Mistake(
        name="nan_masked_after_the_division",
        find="return numerator / denominator.where(denominator > 0, 1.0)",
        replace="torch.where(denominator > 0, numerator / denominator, 0.0)",
        why="Masking the NaN afterwards leaves it in the gradient; the denominator has to be guarded before.",
        caught_by="test_gradients_of_the_giou_loss_are_finite_for_all_boxes",
    ),
    Mistake(
        name="hull_is_the_inner_box",
        find="(torch.maximum(upper1, upper2) - torch.minimum(lower1, lower2)).prod(dim=1)",
        replace="(torch.minimum(upper1, upper2) - torch.maximum(lower1, lower2)).prod(dim=1)",
        why="The hull reaches from the smaller lower corner to the larger upper one; this is the overlap.",
        caught_by="test_overlapping_boxes",
    ),
    Mistake(
        name="small_beta_taken_for_none",
        find="if beta == 0:",
        replace="if beta < 5e-4:",
        why="A small beta still has its parabola; only beta = 0 has none.",
        caught_by="test_a_small_beta_still_has_its_parabola",
    ),
    Mistake(
        name="empty_before_the_check",
        find="    if not beta >= 0:",
        replace="    if pred.numel() == 0:\n        return pred - target\n    if not beta >= 0:",
        why="A bad argument would pass until the first batch that has boxes.",
        caught_by="test_a_negative_beta_is_refused",
    ),
    Mistake(
        name="floor_that_float32_does_not_have",
        find="return numerator / denominator.where(denominator > 0, 1.0)",
        replace="return numerator / denominator.clamp(min=1e-60)",
        why="In float32 1e-60 is 0, and two boxes without area give 0 / 0 again.",
        caught_by="test_degenerate_boxes",
    ),
]

EQUIVALENT = {
    "_ratio: denominator.where(denominator > 0, 1.0) → denominator.where(denominator > 0, 2.0)": (
        "the numerator is 0 there, whatever it is divided by"
    ),
    "smooth_l1_loss: distance < beta → distance <= beta": "parabola and line have the same value and slope at beta",
}
