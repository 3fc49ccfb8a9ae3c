from tests.katas.mistakes import Mistake

MISTAKES = [
    Mistake("suppresses_at_the_threshold", "test_boxes_exactly_at_the_threshold_stay",
            why="A box goes when its IoU is greater than the threshold; equal is not enough.",
            find="columns[:, left]) > iou_threshold",
            replace="columns[:, left]) >= iou_threshold"),
    Mistake("suppressed_boxes_suppress", "test_a_suppressed_box_suppresses_nobody",
            why="A box that was itself suppressed must not take others with it: chains would vanish whole.",
            find="        updated = ~suppresses[keep].any(dim=0)",
            replace="        updated = ~suppresses.any(dim=0)"),
    Mistake("suppressed_boxes_suppress_later_ones", "test_a_thousand_boxes_are_suppressed_as_defined",
            why="Only boxes that were kept suppress those that come later.",
            find="~overlaps[keep, _CHUNK:].any(dim=0)",
            replace="~overlaps[:, _CHUNK:].any(dim=0)"),
    Mistake("one_round_is_enough", "test_nms_equals_its_definition",
            why="A box can be freed by the fall of its suppressor, and that frees or fells others: repeat until nothing changes.",
            find="        if torch.equal(updated, keep):\n"
                 "            return keep\n"
                 "        keep = updated",
            replace="        if torch.equal(updated, keep):\n"
                    "            return keep\n"
                    "        return suppresses[updated].any(dim=0).logical_not()"),
    Mistake("ascending_scores", "test_a_suppressed_box_suppresses_nobody",
            why="The best box comes first: sort by falling score.",
            find="    left = scores.argsort(descending=True, stable=True)",
            replace="    left = scores.argsort(stable=True)"),
    Mistake("ties_reversed", "test_of_equal_scores_the_lower_index_comes_first",
            why="Turning an ascending order round puts the higher index first among equal scores.",
            find="    left = scores.argsort(descending=True, stable=True)",
            replace="    left = scores.argsort(stable=True).flip(0)"),
    Mistake("positions_in_the_sorted_order", "test_a_suppressed_box_suppresses_nobody",
            why="Indices are those of the caller's boxes, not places in the sorted order.",
            find="        kept.append(chunk[keep])",
            replace="        kept.append(torch.where(keep)[0])"),
    Mistake("indices_in_input_order", "test_a_suppressed_box_suppresses_nobody",
            why="The result comes by falling score, so that its first entries are the best.",
            find="    return torch.cat(kept)",
            replace="    return torch.cat(kept).sort().values"),
    Mistake("pixel_areas", "test_boxes_exactly_at_the_threshold_stay",
            why="Coordinates are continuous: the + 1 of pixel indices makes small boxes overlap less.",
            find="(x2 - x1) * (y2 - y1) + (u2 - u1) * (v2 - v1)",
            replace="(x2 - x1 + 1) * (y2 - y1 + 1) + (u2 - u1 + 1) * (v2 - v1 + 1)"),
    Mistake("overlap_not_clamped", "test_kept_boxes_stand_apart_and_every_other_one_overlaps_a_better_one",
            why="Boxes apart in both directions have two negative sides, whose product looks like an overlap.",
            find="    width = (torch.minimum(x2, u2) - torch.maximum(x1, u1)).clamp(min=0)\n"
                 "    height = (torch.minimum(y2, v2) - torch.maximum(y1, v1)).clamp(min=0)",
            replace="    width = torch.minimum(x2, u2) - torch.maximum(x1, u1)\n"
                    "    height = torch.minimum(y2, v2) - torch.maximum(y1, v1)"),
    Mistake("labels_ignored", "test_a_box_suppresses_only_its_own_label",
            why="A box suppresses only boxes of its own label: a dog may stand in front of a horse.",
            find="        members = torch.where(labels == label)[0]",
            replace="        members = torch.arange(len(labels), device=labels.device)"),
    Mistake("offset_trick_without_the_minimum", "test_batched_nms_equals_its_definition",
            why="An offset of label × largest coordinate does not part the labels where coordinates are negative.",
            find="    kept = torch.zeros_like(labels, dtype=torch.bool)\n",
            replace="    if len(boxes):\n"
                    "        offsets = labels.unique(return_inverse=True)[1].to(boxes) * boxes.max()\n"
                    "        return nms(boxes + offsets[:, None], scores, iou_threshold)\n"
                    "    kept = torch.zeros_like(labels, dtype=torch.bool)\n"),
    Mistake("offset_trick_with_raw_labels", "test_the_values_of_the_labels_do_not_matter",
            why="A label of a million moves its boxes so far that float32 rounds their corners away.",
            find="    kept = torch.zeros_like(labels, dtype=torch.bool)\n",
            replace="    if len(boxes):\n"
                    "        offsets = labels.to(boxes) * (boxes.max() - boxes.min() + 1)\n"
                    "        return nms(boxes + offsets[:, None], scores, iou_threshold)\n"
                    "    kept = torch.zeros_like(labels, dtype=torch.bool)\n"),
    Mistake("labels_one_after_the_other", "test_a_box_suppresses_only_its_own_label",
            why="All labels together come by falling score: the caller cuts the list off at a limit.",
            find="    order = scores.argsort(descending=True, stable=True)\n"
                 "    return order[kept[order]]",
            replace="    return torch.where(kept)[0]"),
    Mistake("linear_exponent", "test_soft_suppression_lowers_scores_instead",
            why="The Gaussian penalty squares the IoU: exp(−IoU² / sigma).",
            find="torch.exp(-box_iou(boxes, boxes).square() / sigma)",
            replace="torch.exp(-box_iou(boxes, boxes) / sigma)"),
    Mistake("sigma_squared", "test_soft_nms_equals_its_definition",
            why="sigma here divides the squared IoU as it is; it is no standard deviation. (At 0.5 both agree.)",
            find="torch.exp(-box_iou(boxes, boxes).square() / sigma)",
            replace="torch.exp(-box_iou(boxes, boxes).square() / (2 * sigma**2))"),
    Mistake("order_fixed_at_the_start", "test_soft_suppression_lowers_scores_instead",
            why="Lowered scores change who comes next: the highest score is looked for anew each time.",
            find="        best = int(scores.where(waiting, -1).argmax())",
            replace="        original = original if picked else scores\n"
                    "        best = int(original.where(waiting, -1).argmax())"),
    Mistake("picked_boxes_are_lowered_too", "test_soft_suppression_lowers_scores_instead",
            why="A box keeps the score it was picked with; it even overlaps itself wholly.",
            find="        scores = torch.where(waiting, scores * decay[best], scores)",
            replace="        scores = scores * decay[best]"),
    Mistake("scores_lowered_in_place", "test_standing_laws",
            why="The scores are the caller's: writing into them changes what he sees afterwards.",
            find="        scores = torch.where(waiting, scores * decay[best], scores)",
            replace="        scores[waiting] *= decay[best][waiting]"),
    Mistake("low_scores_are_kept", "test_soft_nms_equals_its_definition",
            why="Below the score threshold nothing more is picked; else every box would be returned.",
            find="        if scores[best] < score_threshold:\n"
                 "            break\n",
            replace=""),
    Mistake("stops_at_the_score_threshold", "test_soft_suppression_stops_below_its_score_threshold",
            why="Picking ends when the highest score is below the threshold, not at it.",
            find="scores[best] < score_threshold",
            replace="scores[best] <= score_threshold"),
    Mistake("threshold_not_checked", "test_a_threshold_outside_0_1_is_rejected",
            why="A threshold of 50 (per cent?) would silently keep everything.",
            find="    if not 0 <= iou_threshold <= 1:",
            replace="    if False:"),
    Mistake("sigma_not_checked", "test_a_sigma_that_is_not_positive_is_rejected",
            why="A sigma of 0 divides by zero, and a negative one raises the scores of copies.",
            find="    if not sigma > 0:",
            replace="    if False:"),
    Mistake("original_scores_returned", "test_soft_suppression_lowers_scores_instead",
            why="The score returned is the lowered one, not the one that came in.",
            find="        scores = torch.where(waiting, scores * decay[best], scores)\n"
                 "    indices = torch.tensor(picked, dtype=torch.int64, device=scores.device)\n"
                 "    return SoftDetections(indices, scores[indices])",
            replace="        original = original if len(picked) > 1 else scores\n"
                    "        scores = torch.where(waiting, scores * decay[best], scores)\n"
                    "    indices = torch.tensor(picked, dtype=torch.int64, device=scores.device)\n"
                    "    return SoftDetections(indices, original[indices] if picked else scores[:0])"),
    Mistake("scores_in_the_dtype_of_the_boxes", "test_soft_suppression_gives_scores_in_the_dtype_of_the_scores",
            why="Scores in float32 beside boxes in float64 would come back in float64.",
            find=".square() / sigma).to(scores.dtype)",
            replace=".square() / sigma)"),
    Mistake("threshold_of_batched_nms_not_checked", "test_a_threshold_outside_0_1_is_rejected",
            why="Without boxes there is no label, so `nms` is never called and checks nothing.",
            find="    _check_threshold(iou_threshold)  # without boxes there is no label to ask `nms` for\n",
            replace=""),
    Mistake("no_boxes_before_the_check", "test_a_threshold_outside_0_1_is_rejected",
            why="A wrong call is told as such at once, not when the first box arrives.",
            find="    _check_threshold(iou_threshold)\n"
                 "    # Each",
            replace="    if len(boxes) == 0:\n"
                    "        return scores.argsort()\n"
                    "    _check_threshold(iou_threshold)\n"
                    "    # Each"),
    Mistake("sigma_unchecked_without_boxes", "test_a_sigma_that_is_not_positive_is_rejected",
            why="A wrong call is told as such at once, not when the first box arrives.",
            find="    if not sigma > 0:",
            replace="    if len(boxes) > 0 and not sigma > 0:"),
    Mistake("offset_trick_with_numbered_labels", "test_many_labels_in_a_large_image_are_as_exact_as_one",
            why="Even with the smallest offsets that keep 90 labels apart, float32 has 1/128 of a pixel left.",
            find="    kept = torch.zeros_like(labels, dtype=torch.bool)\n",
            replace="    if len(boxes) == 0:\n"
                    "        return nms(boxes, scores, iou_threshold)\n"
                    "    low, span = boxes.min(), boxes.max() - boxes.min() + 1\n"
                    "    numbers = labels.unique(return_inverse=True)[1]\n"
                    "    return nms(boxes - low + (numbers * span)[:, None].to(boxes), scores, iou_threshold)\n"
                    "    kept = torch.zeros_like(labels, dtype=torch.bool)\n"),
    Mistake("zero_scores_dropped", "test_soft_suppression_stops_below_its_score_threshold",
            why="Zero is not below a threshold of zero.",
            find="if scores[best] < score_threshold:",
            replace="if scores[best] < score_threshold or scores[best] == 0:"),
    Mistake("soft_overlaps_in_half_precision", "test_soft_nms_equals_its_definition",
            why="Half precision has three digits: the penalties, and soon the order, are others.",
            find="box_iou(boxes, boxes).square()",
            replace="box_iou(boxes.half(), boxes.half()).double().square()"),
]

EQUIVALENT = {
    "soft_nms: scores.where(waiting, -1) → scores.where(waiting, -2)":
        "any number below all scores marks the picked",
}
