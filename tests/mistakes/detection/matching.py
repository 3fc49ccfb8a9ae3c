"""Wrong matchers that real people write."""

from tests.mistakes import Mistake

MISTAKES = [
    Mistake(
        name="foreground_threshold_excluded",
        find="[best < fg_iou_thresh]",
        replace="[best <= fg_iou_thresh]",
        why="An IoU of exactly fg_iou_thresh is foreground.",
        caught_by="test_a_value_on_a_threshold_belongs_above_it",
    ),
    Mistake(
        name="background_threshold_excluded",
        find="[best < bg_iou_thresh]",
        replace="[best <= bg_iou_thresh]",
        why="An IoU of exactly bg_iou_thresh is already between the thresholds.",
        caught_by="test_a_value_on_a_threshold_belongs_above_it",
    ),
    Mistake(
        name="no_ignore_band",
        find="    matched_idxs[best < fg_iou_thresh] = BETWEEN_THRESHOLDS\n    matched_idxs[best < bg_iou_thresh]",
        replace="    matched_idxs[best < fg_iou_thresh]",
        why="Anchors between the thresholds are neither object nor background, and must not be taught as background.",
        caught_by="test_an_anchor_is_foreground_between_or_background",
    ),
    Mistake(
        name="background_overwritten",
        find="    matched_idxs[best < fg_iou_thresh] = BETWEEN_THRESHOLDS\n    matched_idxs[best < bg_iou_thresh] = BACKGROUND",
        replace="    matched_idxs[best < bg_iou_thresh] = BACKGROUND\n    matched_idxs[best < fg_iou_thresh] = BETWEEN_THRESHOLDS",
        why="Everything below the background threshold is also below the foreground threshold: the order matters.",
        caught_by="test_an_anchor_is_foreground_between_or_background",
    ),
    Mistake(
        name="paper_thresholds_of_the_rpn",
        find="bg_iou_thresh: float | int = 0.4",
        replace="bg_iou_thresh: float | int = 0.3",
        why="0.3 is the region proposal network's threshold; RetinaNet's background ends at 0.4.",
        caught_by="test_an_anchor_is_foreground_between_or_background",
    ),
    Mistake(
        name="low_quality_matches_always",
        find="    if allow_low_quality_matches:",
        replace="    if True:",
        why="The caller may switch the claims off.",
        caught_by="test_a_truth_claims_its_best_anchor_however_low",
    ),
    Mistake(
        name="zero_overlap_claims",
        find="torch.where(highest_claim > 0, claimed_by, matched_idxs)",
        replace="torch.where(claims.any(dim=0), claimed_by, matched_idxs)",
        why="A truth that overlaps nothing ties at IoU 0 with almost every anchor, and makes all of them foreground.",
        caught_by="test_a_truth_that_overlaps_nothing_claims_nothing",
    ),
    Mistake(
        name="claimed_anchor_goes_to_its_own_truth",
        find="torch.where(highest_claim > 0, claimed_by, matched_idxs)",
        replace="torch.where(highest_claim > 0, match_quality_matrix.max(dim=0).indices, matched_idxs)",
        why="Given to the truth it overlaps most, a claimed anchor may leave the truth that needs it with nothing.",
        caught_by="test_a_claimed_anchor_goes_to_the_truth_that_claims_it",
    ),
    Mistake(
        name="claims_only_fill_gaps",
        find="torch.where(highest_claim > 0, claimed_by, matched_idxs)",
        replace="torch.where((highest_claim > 0) & (matched_idxs < 0), claimed_by, matched_idxs)",
        why="A claim stands above the thresholds; the anchor's own truth has a better anchor anyway.",
        caught_by="test_a_claimed_anchor_goes_to_the_truth_that_claims_it",
    ),
    Mistake(
        name="claims_do_not_reach_ignored_anchors",
        find="torch.where(highest_claim > 0, claimed_by, matched_idxs)",
        replace="torch.where((highest_claim > 0) & (matched_idxs != BETWEEN_THRESHOLDS), claimed_by, matched_idxs)",
        why="A best anchor between the thresholds has to be claimed too.",
        caught_by="test_a_truth_claims_its_best_anchor_however_low",
    ),
    Mistake(
        name="only_the_first_of_tied_anchors_claimed",
        find="claims = match_quality_matrix == match_quality_matrix.max(dim=1, keepdim=True).values",
        replace=(
            "best_anchors = match_quality_matrix.argmax(dim=1, keepdim=True)\n"
            "        claims = torch.zeros_like(match_quality_matrix).scatter(1, best_anchors, 1.0).bool()"
        ),
        why="Several anchors may fit a truth equally well; argmax keeps one of them and drops the others.",
        caught_by="test_all_anchors_that_tie_for_the_best_are_claimed",
    ),
    Mistake(
        name="last_claim_wins",
        find="highest_claim, claimed_by = (match_quality_matrix * claims).max(dim=0)",
        replace=(
            "numbers = torch.arange(1.0, len(claims) + 1, device=claims.device)[:, None]\n"
            "        highest_claim, claimed_by = (numbers * claims * (match_quality_matrix > 0)).max(dim=0)"
        ),
        why="matched[best_anchor_of_each_truth] = arange lets the last truth win; the highest IoU must.",
        caught_by="test_of_two_claims_on_an_anchor_the_higher_wins",
    ),
    Mistake(
        name="no_truths_forgotten",
        find="    if match_quality_matrix.numel() == 0:  # max over an empty dimension is an error\n",
        replace="    if num_anchors == 0:\n",
        why="An image without objects is ordinary input: all of its anchors are background.",
        caught_by="test_without_truths_every_anchor_is_background",
    ),
    Mistake(
        name="thresholds_unchecked",
        find="if bg_iou_thresh > fg_iou_thresh:",
        replace="if False:",
        why="With crossed thresholds the labels contradict each other, and nobody would notice.",
        caught_by="test_crossed_thresholds_are_refused",
    ),
    Mistake(
        name="atss_population_deviation",
        find="correction=correction",
        replace="correction=0",
        why="The deviation is that of a sample, divided by C - 1 (as in the authors' code).",
        caught_by="test_the_deviation_is_that_of_a_sample",
    ),
    Mistake(
        name="atss_single_candidate_is_nan",
        find="correction = min(1, ious.shape[1] - 1)",
        replace="correction = 1",
        why="The sample deviation of one number is 0 / 0; NaN makes every comparison false.",
        caught_by="test_centres_must_lie_strictly_inside_the_truth",
    ),
    Mistake(
        name="atss_threshold_is_the_mean",
        find="thresholds = ious.mean(dim=1) + ious.std(dim=1, correction=correction)",
        replace="thresholds = ious.mean(dim=1)",
        why="The threshold is mean plus standard deviation: a spread-out set of IoUs asks for more.",
        caught_by="test_the_deviation_is_that_of_a_sample",
    ),
    Mistake(
        name="atss_candidates_over_all_levels_together",
        find="in distances.split(list(num_anchors_per_level), dim=1):",
        replace="in (distances,):",
        why="Every level sends top_k candidates; otherwise the finest level, with its dense centres, sends all.",
        caught_by="test_candidates_come_from_every_level_and_pass_mean_plus_deviation",
    ),
    Mistake(
        name="atss_level_offset_forgotten",
        find="[:, :top_k] + start)",
        replace="[:, :top_k])",
        why="Positions within a level are not positions among all anchors: later levels start where earlier ones end.",
        caught_by="test_candidates_come_from_every_level_and_pass_mean_plus_deviation",
    ),
    Mistake(
        name="atss_centre_on_the_border_counts",
        find="((centers > gt_boxes[:, None, :2]) & (centers < gt_boxes[:, None, 2:]))",
        replace="((centers >= gt_boxes[:, None, :2]) & (centers <= gt_boxes[:, None, 2:]))",
        why="The centre has to lie strictly inside the truth.",
        caught_by="test_centres_must_lie_strictly_inside_the_truth",
    ),
    Mistake(
        name="atss_centres_anywhere",
        find="(ious >= thresholds[:, None]) & inside.gather(1, candidates)",
        replace="ious >= thresholds[:, None]",
        why="An anchor whose centre is outside the object sees mostly something else, and is no positive.",
        caught_by="test_centres_must_lie_strictly_inside_the_truth",
    ),
    Mistake(
        name="atss_candidates_by_iou",
        find="candidates = _nearest_of_each_level(distances,",
        replace="candidates = _nearest_of_each_level(-match_quality_matrix,",
        why="Candidates are the anchors with the nearest centres; their IoUs only set the threshold.",
        caught_by="test_the_nearest_centres_are_candidates_and_the_first_of_equals",
    ),
    Mistake(
        name="atss_strict_threshold",
        find="(ious >= thresholds[:, None])",
        replace="(ious > thresholds[:, None])",
        why="An IoU equal to the threshold passes; candidates that are all alike would otherwise all fail.",
        caught_by="test_an_anchor_claimed_by_two_truths_goes_to_the_higher_iou",
    ),
    Mistake(
        name="atss_ambiguous_anchor_goes_to_its_own_truth",
        find="return claimed_by.where(highest_claim >= 0, BACKGROUND)",
        replace="return match_quality_matrix.argmax(dim=0).where(highest_claim >= 0, BACKGROUND)",
        why="Only truths that claim the anchor compete for it, not every truth that overlaps it.",
        caught_by="test_atss_agrees_with_loops",
    ),
    Mistake(
        name="atss_top_k_unchecked",
        find="    if top_k < 1:",
        replace="    if False:",
        why="top_k = 0 leaves no candidates, and a mean of nothing.",
        caught_by="test_bad_atss_arguments_are_refused",
    ),
    Mistake(
        name="atss_level_begins_after_the_one_before",
        find="start += level.shape[1]",
        replace="start = level.shape[1]",
        why="With two levels nobody notices: the third begins after all the anchors of both before it.",
        caught_by="test_every_level_begins_where_all_those_before_it_end",
    ),
    Mistake(
        name="atss_too_few_anchors_accepted",
        find="if sum(num_anchors_per_level) != len(anchors):",
        replace="if sum(num_anchors_per_level) > len(anchors):",
        why="Levels that add up to fewer than N leave anchors that belong to no level.",
        caught_by="test_bad_atss_arguments_are_refused",
    ),
    Mistake(
        name="atss_only_zero_refused",
        find="    if top_k < 1:",
        replace="    if top_k == 0:",
        why="[:-1] is no error: a negative top_k would take all anchors but the farthest.",
        caught_by="test_bad_atss_arguments_are_refused",
    ),
    Mistake(
        name="atss_checked_only_with_truths",
        find="    if top_k < 1:",
        replace="    if top_k < 1 and len(gt_boxes):",
        why="A bad argument would pass until the first image with a truth.",
        caught_by="test_bad_atss_arguments_are_refused",
    ),
    Mistake(
        name="thresholds_checked_only_with_truths",
        find="if bg_iou_thresh > fg_iou_thresh:",
        replace="if len(match_quality_matrix) and bg_iou_thresh > fg_iou_thresh:",
        why="A bad argument would pass until the first image with a truth.",
        caught_by="test_crossed_thresholds_are_refused",
    ),
    Mistake(
        name="atss_left_and_top_border_are_inside",
        find="((centers > gt_boxes[:, None, :2])",
        replace="((centers >= gt_boxes[:, None, :2])",
        why="Strictly inside holds for all four sides of the truth, not only the right and the lower one.",
        caught_by="test_centres_must_lie_strictly_inside_the_truth",
    ),
    Mistake(
        name="small_overlap_claims_nothing",
        find="torch.where(highest_claim > 0, claimed_by, matched_idxs)",
        replace="torch.where(highest_claim > 1e-3, claimed_by, matched_idxs)",
        why="A small object may overlap its best anchor by a thousandth, and needs it all the more.",
        caught_by="test_all_anchors_that_tie_for_the_best_are_claimed",
    ),
    Mistake(
        name="ties_within_a_tolerance",
        find="claims = match_quality_matrix == match_quality_matrix.max(dim=1, keepdim=True).values",
        replace="claims = match_quality_matrix >= match_quality_matrix.max(dim=1, keepdim=True).values - 1e-6",
        why="Only exact ties are ties: a second best anchor is not the best.",
        caught_by="test_all_anchors_that_tie_for_the_best_are_claimed",
    ),
]

EQUIVALENT = {
    "_nearest_of_each_level: level.argsort(dim=1, stable=True) → level.argsort(stable=True)": "dim is 1 of 2: the last",
    "_nearest_of_each_level: level.argsort(dim=1, stable=True) → level.argsort(dim=1)": "the CPU's sort is stable anyway",
    "_nearest_of_each_level: level.argsort(dim=1, stable=True) → level.argsort(dim=1, stable=False)": (
        "the CPU's sort is stable anyway; on CUDA it is not"
    ),
    "atss_match: (_centers(gt_boxes)[:, None] - centers).square().sum → "
    "(_centers(gt_boxes)[:, None] - centers).square().mean": "half the squared distance has the same order",
    "atss_match: highest_claim >= 0 → highest_claim > 0": (
        "differs only for a claim with IoU 0, but an anchor whose centre is strictly inside a truth overlaps it"
    ),
    "atss_match: ious.where(positive, -1.0) → ious.where(positive, -2.0)": "any negative number marks no claim",
    "atss_match: torch.full_like(match_quality_matrix, -1.0) → torch.full_like(match_quality_matrix, -2.0)": (
        "any negative number marks no claim"
    ),
}
