from tests.mistakes import Mistake

MISTAKES = [
    Mistake(
        name="suppresses_at_the_threshold",
        find="columns[:, left]) > iou_threshold",
        replace="columns[:, left]) >= iou_threshold",
        why="A box goes when its IoU is greater than the threshold; equal is not enough.",
        caught_by="test_boxes_exactly_at_the_threshold_stay",
    ),
    Mistake(
        name="suppressed_boxes_suppress",
        find="        updated = ~suppresses[keep].any(dim=0)",
        replace="        updated = ~suppresses.any(dim=0)",
        why="A box that was itself suppressed must not take others with it: chains would vanish whole.",
        caught_by="test_a_suppressed_box_suppresses_nobody",
    ),
    Mistake(
        name="suppressed_boxes_suppress_later_ones",
        find="~overlaps[keep, _CHUNK:].any(dim=0)",
        replace="~overlaps[:, _CHUNK:].any(dim=0)",
        why="Only boxes that were kept suppress those that come later.",
        caught_by="test_a_thousand_boxes_are_suppressed_as_defined",
    ),
    Mistake(
        name="one_round_is_enough",
        find="        if torch.equal(updated, keep):\n            return keep\n        keep = updated",
        replace="        if torch.equal(updated, keep):\n            return keep\n        return suppresses[updated].any(dim=0).logical_not()",
        why="A box can be freed by the fall of its suppressor, and that frees or fells others: repeat until nothing changes.",
        caught_by="test_nms_equals_its_definition",
    ),
    Mistake(
        name="ascending_scores",
        find="    left = scores.argsort(descending=True, stable=True)",
        replace="    left = scores.argsort(stable=True)",
        why="The best box comes first: sort by falling score.",
        caught_by="test_a_suppressed_box_suppresses_nobody",
    ),
    Mistake(
        name="ties_reversed",
        find="    left = scores.argsort(descending=True, stable=True)",
        replace="    left = scores.argsort(stable=True).flip(0)",
        why="Turning an ascending order round puts the higher index first among equal scores.",
        caught_by="test_of_equal_scores_the_lower_index_comes_first",
    ),
    Mistake(
        name="positions_in_the_sorted_order",
        find="        kept.append(chunk[keep])",
        replace="        kept.append(torch.where(keep)[0])",
        why="Indices are those of the caller's boxes, not places in the sorted order.",
        caught_by="test_a_suppressed_box_suppresses_nobody",
    ),
    Mistake(
        name="indices_in_input_order",
        find="    return torch.cat(kept)",
        replace="    return torch.cat(kept).sort().values",
        why="The result comes by falling score, so that its first entries are the best.",
        caught_by="test_a_suppressed_box_suppresses_nobody",
    ),
    Mistake(
        name="pixel_areas",
        find="(x2 - x1) * (y2 - y1) + (u2 - u1) * (v2 - v1)",
        replace="(x2 - x1 + 1) * (y2 - y1 + 1) + (u2 - u1 + 1) * (v2 - v1 + 1)",
        why="Coordinates are continuous: the + 1 of pixel indices makes small boxes overlap less.",
        caught_by="test_boxes_exactly_at_the_threshold_stay",
    ),
    Mistake(
        name="overlap_not_clamped",
        find="    width = (torch.minimum(x2, u2) - torch.maximum(x1, u1)).clamp(min=0)\n"
        "    height = (torch.minimum(y2, v2) - torch.maximum(y1, v1)).clamp(min=0)",
        replace="    width = torch.minimum(x2, u2) - torch.maximum(x1, u1)\n"
        "    height = torch.minimum(y2, v2) - torch.maximum(y1, v1)",
        why="Boxes apart in both directions have two negative sides, whose product looks like an overlap.",
        caught_by="test_kept_boxes_stand_apart_and_every_other_one_overlaps_a_better_one",
    ),
    Mistake(
        name="labels_ignored",
        find="        members = torch.where(labels == label)[0]",
        replace="        members = torch.arange(len(labels), device=labels.device)",
        why="A box suppresses only boxes of its own label: a dog may stand in front of a horse.",
        caught_by="test_a_box_suppresses_only_its_own_label",
    ),
    Mistake(
        name="offset_trick_without_the_minimum",
        find="    kept = torch.zeros_like(labels, dtype=torch.bool)\n",
        replace="    if len(boxes):\n"
        "        offsets = labels.unique(return_inverse=True)[1].to(boxes) * boxes.max()\n"
        "        return nms(boxes + offsets[:, None], scores, iou_threshold)\n"
        "    kept = torch.zeros_like(labels, dtype=torch.bool)\n",
        why="An offset of label × largest coordinate does not part the labels where coordinates are negative.",
        caught_by="test_batched_nms_equals_its_definition",
    ),
    Mistake(
        name="offset_trick_with_raw_labels",
        find="    kept = torch.zeros_like(labels, dtype=torch.bool)\n",
        replace="    if len(boxes):\n"
        "        offsets = labels.to(boxes) * (boxes.max() - boxes.min() + 1)\n"
        "        return nms(boxes + offsets[:, None], scores, iou_threshold)\n"
        "    kept = torch.zeros_like(labels, dtype=torch.bool)\n",
        why="A label of a million moves its boxes so far that float32 rounds their corners away.",
        caught_by="test_the_values_of_the_labels_do_not_matter",
    ),
    Mistake(
        name="labels_one_after_the_other",
        find="    order = scores.argsort(descending=True, stable=True)\n    return order[kept[order]]",
        replace="    return torch.where(kept)[0]",
        why="All labels together come by falling score: the caller cuts the list off at a limit.",
        caught_by="test_a_box_suppresses_only_its_own_label",
    ),
    Mistake(
        name="linear_exponent",
        find="torch.exp(-box_iou(boxes, boxes).square() / sigma)",
        replace="torch.exp(-box_iou(boxes, boxes) / sigma)",
        why="The Gaussian penalty squares the IoU: exp(−IoU² / sigma).",
        caught_by="test_soft_suppression_lowers_scores_instead",
    ),
    Mistake(
        name="sigma_squared",
        find="torch.exp(-box_iou(boxes, boxes).square() / sigma)",
        replace="torch.exp(-box_iou(boxes, boxes).square() / (2 * sigma**2))",
        why="sigma here divides the squared IoU as it is; it is no standard deviation. (At 0.5 both agree.)",
        caught_by="test_soft_nms_equals_its_definition",
    ),
    Mistake(
        name="order_fixed_at_the_start",
        find="        best = int(scores.where(waiting, -1).argmax())",
        replace="        original = original if picked else scores\n        best = int(original.where(waiting, -1).argmax())",
        why="Lowered scores change who comes next: the highest score is looked for anew each time.",
        caught_by="test_soft_suppression_lowers_scores_instead",
    ),
    Mistake(
        name="picked_boxes_are_lowered_too",
        find="        scores = torch.where(waiting, scores * decay[best], scores)",
        replace="        scores = scores * decay[best]",
        why="A box keeps the score it was picked with; it even overlaps itself wholly.",
        caught_by="test_soft_suppression_lowers_scores_instead",
    ),
    Mistake(
        name="scores_lowered_in_place",
        find="        scores = torch.where(waiting, scores * decay[best], scores)",
        replace="        scores[waiting] *= decay[best][waiting]",
        why="The scores are the caller's: writing into them changes what he sees afterwards.",
        caught_by="test_standing_laws",
    ),
    Mistake(
        name="low_scores_are_kept",
        find="        if scores[best] < score_threshold:\n            break\n",
        replace="",
        why="Below the score threshold nothing more is picked; else every box would be returned.",
        caught_by="test_soft_nms_equals_its_definition",
    ),
    Mistake(
        name="stops_at_the_score_threshold",
        find="scores[best] < score_threshold",
        replace="scores[best] <= score_threshold",
        why="Picking ends when the highest score is below the threshold, not at it.",
        caught_by="test_soft_suppression_stops_below_its_score_threshold",
    ),
    Mistake(
        name="threshold_not_checked",
        find="    if not 0 <= iou_threshold <= 1:",
        replace="    if False:",
        why="A threshold of 50 (per cent?) would silently keep everything.",
        caught_by="test_a_threshold_outside_0_1_is_rejected",
    ),
    Mistake(
        name="sigma_not_checked",
        find="    if not sigma > 0:",
        replace="    if False:",
        why="A sigma of 0 divides by zero, and a negative one raises the scores of copies.",
        caught_by="test_a_sigma_that_is_not_positive_is_rejected",
    ),
    Mistake(
        name="original_scores_returned",
        find="        scores = torch.where(waiting, scores * decay[best], scores)\n"
        "    indices = torch.tensor(picked, dtype=torch.int64, device=scores.device)\n"
        "    return SoftDetections(indices, scores[indices])",
        replace="        original = original if len(picked) > 1 else scores\n"
        "        scores = torch.where(waiting, scores * decay[best], scores)\n"
        "    indices = torch.tensor(picked, dtype=torch.int64, device=scores.device)\n"
        "    return SoftDetections(indices, original[indices] if picked else scores[:0])",
        why="The score returned is the lowered one, not the one that came in.",
        caught_by="test_soft_suppression_lowers_scores_instead",
    ),
    Mistake(
        name="scores_in_the_dtype_of_the_boxes",
        find=".square() / sigma).to(scores.dtype)",
        replace=".square() / sigma)",
        why="Scores in float32 beside boxes in float64 would come back in float64.",
        caught_by="test_soft_suppression_gives_scores_in_the_dtype_of_the_scores",
    ),
    Mistake(
        name="threshold_of_batched_nms_not_checked",
        find="    _check_threshold(iou_threshold)  # without boxes there is no label to ask `nms` for\n",
        replace="",
        why="Without boxes there is no label, so `nms` is never called and checks nothing.",
        caught_by="test_a_threshold_outside_0_1_is_rejected",
    ),
    Mistake(
        name="no_boxes_before_the_check",
        find="    _check_threshold(iou_threshold)\n    # Each",
        replace="    if len(boxes) == 0:\n        return scores.argsort()\n    _check_threshold(iou_threshold)\n"
        "    # Each",
        why="A wrong call is told as such at once, not when the first box arrives.",
        caught_by="test_a_threshold_outside_0_1_is_rejected",
    ),
    Mistake(
        name="sigma_unchecked_without_boxes",
        find="    if not sigma > 0:",
        replace="    if len(boxes) > 0 and not sigma > 0:",
        why="A wrong call is told as such at once, not when the first box arrives.",
        caught_by="test_a_sigma_that_is_not_positive_is_rejected",
    ),
    Mistake(
        name="offset_trick_with_numbered_labels",
        find="    kept = torch.zeros_like(labels, dtype=torch.bool)\n",
        replace="    if len(boxes) == 0:\n        return nms(boxes, scores, iou_threshold)\n"
        "    low, span = boxes.min(), boxes.max() - boxes.min() + 1\n"
        "    numbers = labels.unique(return_inverse=True)[1]\n"
        "    return nms(boxes - low + (numbers * span)[:, None].to(boxes), scores, iou_threshold)\n"
        "    kept = torch.zeros_like(labels, dtype=torch.bool)\n",
        why="Even with the smallest offsets that keep 90 labels apart, float32 has 1/128 of a pixel left.",
        caught_by="test_many_labels_in_a_large_image_are_as_exact_as_one",
    ),
    Mistake(
        name="zero_scores_dropped",
        find="if scores[best] < score_threshold:",
        replace="if scores[best] < score_threshold or scores[best] == 0:",
        why="Zero is not below a threshold of zero.",
        caught_by="test_soft_suppression_stops_below_its_score_threshold",
    ),
    Mistake(
        name="soft_overlaps_in_half_precision",
        find="box_iou(boxes, boxes).square()",
        replace="box_iou(boxes.half(), boxes.half()).double().square()",
        why="Half precision has three digits: the penalties, and soon the order, are others.",
        caught_by="test_soft_nms_equals_its_definition",
    ),
]

EQUIVALENT = {
    "soft_nms: scores.where(waiting, -1) → scores.where(waiting, -2)": "any number below all scores marks the picked",
}
