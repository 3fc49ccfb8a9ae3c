from tests.mistakes import Mistake

MISTAKES = [
    Mistake(
        name="not_sorted",
        find="    order = scores.argsort(descending=True, stable=True)\n",
        replace="    order = torch.arange(len(scores), device=scores.device)\n",
        why="The walk goes down the detections by falling score, in whatever order they were given.",
        caught_by="test_the_curve_walks_down_the_detections_by_falling_score",
    ),
    Mistake(
        name="ties_reversed",
        find="    order = scores.argsort(descending=True, stable=True)\n",
        replace="    order = scores.argsort(stable=True).flip(0)\n",
        why="Turning an ascending order round also turns equal scores round.",
        caught_by="test_of_equal_scores_the_first_given_comes_first",
    ),
    Mistake(
        name="recall_of_the_found",
        find="true_positives / num_positives)",
        replace="true_positives / correct.sum())",
        why="Recall is measured against all objects, also those that no detection found.",
        caught_by="test_the_curve_walks_down_the_detections_by_falling_score",
    ),
    Mistake(
        name="curve_in_the_dtype_of_the_scores",
        find="cumsum(dim=0).double()",
        replace="cumsum(dim=0).to(scores.dtype)",
        why="1/3 in float32 is not 1/3 in float64: a recall may fall on the wrong side of a point.",
        caught_by="test_the_curve_is_float64_whatever_the_dtype_of_the_scores",
    ),
    Mistake(
        name="counts_not_checked",
        find="    if num_positives < max(1, int(correct.sum())):",
        replace="    if num_positives < 0:",
        why="With no objects recall is 0 / 0, and with fewer objects than correct detections it exceeds 1.",
        caught_by="test_a_number_of_objects_that_cannot_be_is_rejected",
    ),
    Mistake(
        name="not_interpolated",
        find="precision.flip(0).cummax(dim=0).values.flip(0)",
        replace="precision",
        why="The zigzag is levelled: at each recall the best precision at that recall or beyond counts.",
        caught_by="test_interpolated_precision_is_the_best_at_this_recall_or_beyond",
    ),
    Mistake(
        name="maximum_from_the_wrong_side",
        find="precision.flip(0).cummax(dim=0).values.flip(0)",
        replace="precision.cummax(dim=0).values",
        why="The maximum runs over higher recalls, not lower ones.",
        caught_by="test_interpolated_precision_is_the_best_at_this_recall_or_beyond",
    ),
    Mistake(
        name="strictly_beyond",
        find="recall_points.contiguous())]",
        replace="recall_points.contiguous(), right=True)]",
        why="recall[k] >= r: a point exactly at r belongs to it.",
        caught_by="test_interpolated_precision_is_the_best_at_this_recall_or_beyond",
    ),
    Mistake(
        name="last_precision_beyond_the_curve",
        find="    best_from = F.pad(precision.flip(0).cummax(dim=0).values.flip(0), (0, 1))",
        replace="    best_from = precision.flip(0).cummax(dim=0).values.flip(0)\n"
        "    best_from = torch.cat([best_from, best_from[-1:]])",
        why="A recall that is never reached has precision 0; it does not go on for ever.",
        caught_by="test_interpolated_precision_is_the_best_at_this_recall_or_beyond",
    ),
    Mistake(
        name="strict_iou_threshold",
        find="overlap >= iou_threshold",
        replace="overlap > iou_threshold",
        why="An IoU of exactly the threshold is enough.",
        caught_by="test_an_overlap_exactly_at_the_threshold_is_enough",
    ),
    Mistake(
        name="every_detection_on_an_object_is_correct",
        find=" and targets[n] not in taken:",
        replace=":",
        why="An object is found once; its second detection is wrong, or copies would be rewarded.",
        caught_by="test_a_second_detection_of_an_object_is_wrong_and_does_not_try_the_next_best",
    ),
    Mistake(
        name="objects_numbered_per_image",
        find="index + len(difficult), -1)",
        replace="index, -1)",
        why="Object 0 of one image is not object 0 of another: numbers must be unique over all images.",
        caught_by="test_average_precision_is_the_area_under_the_interpolated_curve",
    ),
    Mistake(
        name="judged_in_the_given_order",
        find="    for n in scores.argsort(descending=True, stable=True).tolist():",
        replace="    for n in range(len(scores)):",
        why="The better detection takes the object, not the one listed first.",
        caught_by="test_average_precision_equals_its_definition",
    ),
    Mistake(
        name="difficult_detections_are_wrong",
        find="            counted[n] = False",
        replace="            pass",
        why="Finding a difficult object is not punished: the detection is left out of the curve.",
        caught_by="test_difficult_objects_are_neither_asked_for_nor_punished",
    ),
    Mistake(
        name="difficult_objects_are_asked_for",
        find="difficult.count(False)",
        replace="len(difficult)",
        why="Difficult objects are not among those to be found.",
        caught_by="test_difficult_objects_are_neither_asked_for_nor_punished",
    ),
    Mistake(
        name="difficult_objects_are_taken_once",
        find="        if targets[n] >= 0 and difficult[targets[n]]:\n            counted[n] = False\n",
        replace="        if targets[n] >= 0 and difficult[targets[n]] and targets[n] not in taken:\n"
        "            counted[n] = False\n            taken.add(targets[n])\n",
        why="However many detections lie on a difficult object, all are left out.",
        caught_by="test_difficult_objects_are_neither_asked_for_nor_punished",
    ),
    Mistake(
        name="objects_of_all_classes",
        find="truth.labels == label\n",
        replace="torch.ones_like(truth.labels, dtype=torch.bool)\n",
        why="A dog found as a cat is not found: a detection looks at objects of its own class.",
        caught_by="test_average_precision_equals_its_definition",
    ),
    Mistake(
        name="absent_class_counts_as_zero",
        find="        if num_positives > 0:\n",
        replace="        if num_positives == 0:\n            results[label] = 0.0\n        else:\n",
        why="A class with nothing to find has no recall; a 0 would pull the mean down.",
        caught_by="test_a_class_without_objects_to_find_does_not_appear",
    ),
    Mistake(
        name="area_by_trapezes",
        find="    return float((steps * interpolated_precision(precision, recall, recall)).sum())",
        replace="    best = interpolated_precision(precision, recall, recall)\n"
        "    return float(torch.trapezoid(torch.cat([best[:1], best]), torch.cat([recall.new_zeros(1), recall])))",
        why="The interpolated curve is a staircase: each step has the precision of its right end.",
        caught_by="test_average_precision_is_the_area_under_the_interpolated_curve",
    ),
    Mistake(
        name="area_of_the_raw_curve",
        find="(steps * interpolated_precision(precision, recall, recall)).sum()",
        replace="(steps * precision).sum()",
        why="VOC's AP is the area under the interpolated curve, not under the zigzag.",
        caught_by="test_average_precision_equals_its_definition",
    ),
    Mistake(
        name="first_step_forgotten",
        find="    steps = recall.diff(prepend=recall.new_zeros(1))\n"
        "    return float((steps * interpolated_precision(precision, recall, recall)).sum())",
        replace="    best = interpolated_precision(precision, recall, recall)\n"
        "    return float((recall.diff() * best[1:]).sum())",
        why="The area begins at recall 0, before the first detection.",
        caught_by="test_average_precision_is_the_area_under_the_interpolated_curve",
    ),
    Mistake(
        name="ten_points",
        find="recall.new_tensor(ELEVEN_POINTS)",
        replace="recall.new_tensor(ELEVEN_POINTS[1:])",
        why="The eleven points are 0, 0.1, …, 1, with both ends.",
        caught_by="test_average_precision_is_the_area_under_the_interpolated_curve",
    ),
    Mistake(
        name="lists_silently_cut",
        find="    if len(detections) != len(truths):",
        replace="    if False:",
        why="zip stops at the shorter list: the last images would not be judged, and nobody would know.",
        caught_by="test_lists_of_different_lengths_are_rejected",
    ),
    Mistake(
        name="threshold_in_per_cent_accepted",
        find="    if not 0 < iou_threshold <= 1:",
        replace="    if False:",
        why="A threshold of 50 would make every detection wrong, and one of 0 every detection right.",
        caught_by="test_a_threshold_outside_0_1_is_rejected",
    ),
    Mistake(
        name="shorter_list_of_detections_accepted",
        find="if len(detections) != len(truths):",
        replace="if len(detections) > len(truths):",
        why="A zip stops at the shorter list: objects of the images that are left over would never be asked for.",
        caught_by="test_lists_of_different_lengths_are_rejected",
    ),
    Mistake(
        name="no_objects_and_nothing_correct",
        find="max(1, int(correct.sum()))",
        replace="int(correct.sum())",
        why="With nothing to find, recall is 0 / 0.",
        caught_by="test_without_objects_to_find_there_is_no_curve_even_if_nothing_is_correct",
    ),
    Mistake(
        name="crowd_taken_for_difficult",
        find="torch.zeros_like(theirs) if truth.difficult is None else truth.difficult",
        replace="torch.zeros_like(theirs) if truth.crowd is None else truth.crowd",
        why="Crowds are a notion of COCO; VOC excuses the difficult objects alone.",
        caught_by="test_crowds_and_areas_play_no_part",
    ),
]

_STABLE = "torch sorts stably on the CPU whether asked or not; on a GPU it does not"
EQUIVALENT = {
    "interpolated_precision: F.pad(precision.flip(0).cummax(dim=0).values.flip(0), (0, 1)) → "
    "F.pad(precision.flip(0).cummax(dim=0).values.flip(0), (0, 2))": "the second zero is never read",
    "_targets: F.pad(ious, (0, 1)) → F.pad(ious, (0, 2))": "a column of zeros more reaches no threshold",
    "_targets: torch.where(overlap >= iou_threshold, index + len(difficult), -1) → "
    "torch.where(overlap >= iou_threshold, index + len(difficult), -2)": "any negative number marks no object",
    "_judge: scores.argsort(descending=True, stable=True) → scores.argsort(descending=True)": _STABLE,
    "_judge: scores.argsort(descending=True, stable=True) → scores.argsort(descending=True, stable=False)": _STABLE,
}
