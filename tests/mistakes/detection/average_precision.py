from tests.mistakes import Mistake

MISTAKES = [
    Mistake(
        name="strict_threshold",
        find="free = (overlap >= thresholds)",
        replace="free = (overlap > thresholds)",
        why="An overlap of exactly the threshold is enough.",
        caught_by="test_an_overlap_exactly_at_the_threshold_is_enough",
    ),
    Mistake(
        name="objects_chosen_again",
        find=" & ~taken[:, :, choice]",
        replace="",
        why="An object is found once; a second detection of it is wrong.",
        caught_by="test_all_figures_equal_those_of_pycocotools",
    ),
    Mistake(
        name="crowds_are_taken",
        find="takes = hit & ~objects.crowd[target]",
        replace="takes = hit",
        why="A crowd holds many objects: any number of detections may lie in it.",
        caught_by="test_a_crowd_is_not_to_be_found_and_forgives_all_detections_inside_it",
    ),
    Mistake(
        name="only_the_best_object_is_tried",
        find="        free = (overlap >= thresholds) & (choice >= 0) & ~taken[:, :, choice]\n",
        replace="        free = (overlap >= thresholds) & (choice >= 0) & ~taken[:, :, choice]\n"
        "        free = free & (overlap == overlap.amax(dim=-1, keepdim=True))\n",
        why="That is VOC's rule; in COCO a detection whose best object is taken goes on to the next.",
        caught_by="test_a_detection_whose_best_object_is_taken_tries_the_next_best",
    ),
    Mistake(
        name="no_preference_for_regular_objects",
        find="        free = regular.where(regular.any(dim=-1, keepdim=True), free)\n",
        replace="",
        why="A detection is ignored only if no regular object is left for it.",
        caught_by="test_a_regular_object_goes_before_a_crowd_that_is_overlapped_more",
    ),
    Mistake(
        name="first_of_equals",
        find="    rows = rows.flip(1)\n",
        replace="",
        why="Of objects overlapped equally, the last listed is chosen, as in pycocotools.",
        caught_by="test_of_objects_overlapped_equally_the_last_listed_is_chosen",
    ),
    Mistake(
        name="given_order",
        find="    orders = [found.scores.argsort(descending=True, stable=True) for found in detections]",
        replace="    orders = [torch.arange(len(found.scores), device=found.scores.device) for found in detections]",
        why="Detections choose by falling score, not as listed.",
        caught_by="test_the_better_detection_chooses_first_wherever_it_is_listed",
    ),
    Mistake(
        name="ties_reversed",
        find="    orders = [found.scores.argsort(descending=True, stable=True) for found in detections]",
        replace="    orders = [found.scores.argsort(stable=True).flip(0) for found in detections]",
        why="Of equal scores the first listed comes first.",
        caught_by="test_all_figures_equal_those_of_pycocotools",
    ),
    Mistake(
        name="iou_with_crowds",
        find="    whole = torch.where(crowd, _area(boxes), _area(boxes) + _area(objects) - intersection)",
        replace="    whole = _area(boxes) + _area(objects) - intersection",
        why="With a crowd the overlap is the share of the detection that lies in it; IoU would be tiny.",
        caught_by="test_a_crowd_is_not_to_be_found_and_forgives_all_detections_inside_it",
    ),
    Mistake(
        name="pixel_sizes",
        find="    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])",
        replace="    return (boxes[..., 2] - boxes[..., 0] + 1) * (boxes[..., 3] - boxes[..., 1] + 1)",
        why="Coordinates are continuous; the + 1 of pixel indices belongs to the old VOC code.",
        caught_by="test_average_precision_is_the_mean_over_ten_thresholds",
    ),
    Mistake(
        name="crowds_are_to_be_found",
        find="    ignored_objects = objects.crowd | _outside(objects.areas)",
        replace="    ignored_objects = _outside(objects.areas)",
        why="A crowd is ignored: it is neither to be found nor held against a detection.",
        caught_by="test_without_objects_nothing_can_be_said",
    ),
    Mistake(
        name="other_sizes_removed_from_the_truth",
        find="        free = (overlap >= thresholds) & (choice >= 0) & ~taken[:, :, choice]\n",
        replace="        free = (overlap >= thresholds) & (choice >= 0) & ~taken[:, :, choice]\n"
        "        free = free & (~ignored_objects | objects.crowd)[:, None, choice]\n",
        why="Detections of objects of another size are forgiven; without those objects they would be wrong.",
        caught_by="test_all_figures_equal_those_of_pycocotools",
    ),
    Mistake(
        name="strays_of_other_sizes_count",
        find="_outside(_area(found.boxes))[:, None])",
        replace="False)",
        why="A stray detection of another size is ignored in this range, not wrong.",
        caught_by="test_wrong_detections_count_only_for_their_own_size",
    ),
    Mistake(
        name="all_detections_of_other_sizes_ignored",
        find="    ignored = torch.where(chosen >= 0, ignored_objects[ranges, chosen], _outside(_area(found.boxes))[:, None])",
        replace="    ignored = torch.where(chosen >= 0, ignored_objects[ranges, chosen], False)\n"
        "    ignored = ignored | _outside(_area(found.boxes))[:, None]",
        why="A detection that found a regular object is correct, whatever the size of its own box.",
        caught_by="test_all_figures_equal_those_of_pycocotools",
    ),
    Mistake(
        name="half_open_ranges",
        find="(areas < low) | (areas > high)",
        replace="(areas < low) | (areas >= high)",
        why="Both ends belong to a range: an object of 32² is small and medium.",
        caught_by="test_both_ends_belong_to_an_area_range",
    ),
    Mistake(
        name="area_of_the_box",
        find="_area(x.boxes.double()) if x.areas is None else x.areas.double() for x",
        replace="_area(x.boxes.double()) for x",
        why="The size of an object is its own area, where it is given.",
        caught_by="test_the_size_of_an_object_is_its_area_and_not_that_of_its_box",
    ),
    Mistake(
        name="areas_swapped",
        find="(0.0, 32.0**2), (32.0**2, 96.0**2), (96.0**2, 1e10))",
        replace="(0.0, 32.0), (32.0, 96.0), (96.0, 1e10))",
        why="The limits 32 and 96 are side lengths; areas are compared with their squares.",
        caught_by="test_an_object_found_exactly_has_all_figures_one_and_other_sizes_have_none",
    ),
    Mistake(
        name="no_limit_of_a_hundred",
        find="    found = _Found(*(field[turns < MAX_DETECTIONS[-1]] for field in found))\n"
        "    turns = turns[turns < MAX_DETECTIONS[-1]]\n",
        replace="",
        why="Only the hundred best detections of each image and class count.",
        caught_by="test_recall_after_one_ten_and_a_hundred_detections_an_image_and_class",
    ),
    Mistake(
        name="recall_over_all_turns",
        find="    recall = (correct & within).sum(dim=-1) / num_positives",
        replace="    recall = correct.sum(dim=-1) / num_positives * torch.ones_like(within[..., 0])",
        why="ar1 and ar10 count the first one and ten detections of each image.",
        caught_by="test_recall_after_one_ten_and_a_hundred_detections_an_image_and_class",
    ),
    Mistake(
        name="curves_image_after_image",
        find="    order = found.scores.argsort(descending=True, stable=True)\n",
        replace="    order = torch.arange(len(found.scores), device=found.scores.device)\n",
        why="The curve walks down the detections of all images together, by falling score.",
        caught_by="test_all_figures_equal_those_of_pycocotools",
    ),
    Mistake(
        name="curves_with_ties_reversed",
        find="    order = found.scores.argsort(descending=True, stable=True)\n",
        replace="    order = found.scores.argsort(stable=True).flip(0)\n",
        why="Of equal scores the first image comes first in the curve.",
        caught_by="test_all_figures_equal_those_of_pycocotools",
    ),
    Mistake(
        name="ignored_detections_count_as_wrong",
        find="(~ignored).cumsum(dim=-1).clamp(min=1)",
        replace="torch.ones_like(ignored).cumsum(dim=-1)",
        why="Precision is over the detections that are not ignored.",
        caught_by="test_a_crowd_is_not_to_be_found_and_forgives_all_detections_inside_it",
    ),
    Mistake(
        name="not_interpolated",
        find="precision.flip(-1).cummax(dim=-1).values.flip(-1)",
        replace="precision",
        why="At each recall the best precision at that recall or beyond counts.",
        caught_by="test_all_figures_equal_those_of_pycocotools",
    ),
    Mistake(
        name="area_under_the_curve",
        find="    return torch.where(num_positives > 0, interpolated.mean(dim=-1), torch.nan)",
        replace="    steps = recall.diff(dim=-1, prepend=torch.zeros_like(recall[..., :1]))\n"
        "    area = (steps * best_from[..., :-1]).sum(dim=-1)\n"
        "    return torch.where(num_positives > 0, area, torch.nan)",
        why="COCO's average is the mean at 101 recalls, not the exact area.",
        caught_by="test_precision_is_averaged_at_a_hundred_and_one_recalls",
    ),
    Mistake(
        name="recalls_on_another_grid",
        find="RECALL_POINTS = tuple(np.linspace(0, 1, 101).tolist())",
        replace="RECALL_POINTS = tuple(n / 100 for n in range(101))",
        why="7/10 of the objects found is just below point 70 of COCO's grid, 70 · 0.01: use the grid that is given.",
        caught_by="test_recalls_are_compared_with_the_points_as_they_are",
    ),
    Mistake(
        name="absent_classes_count_as_zero",
        find="precision.nanmean(dim=(0, 2)), recall.nanmean(dim=(0, 3))",
        replace="precision.nan_to_num().mean(dim=(0, 2)), recall.nan_to_num().mean(dim=(0, 3))",
        why="A class without objects of a size has nothing to find there and takes no part in the mean.",
        caught_by="test_an_object_found_exactly_has_all_figures_one_and_other_sizes_have_none",
    ),
    Mistake(
        name="classes_of_the_detections",
        find="    labels = objects.labels.unique()",
        replace="    labels = objects.labels[torch.isin(objects.labels, found.labels)].unique()",
        why="A class that is never detected has average precision 0; leaving it out flatters the detector.",
        caught_by="test_a_class_that_is_never_detected_counts_as_zero_and_one_without_objects_not_at_all",
    ),
    Mistake(
        name="ap75_at_another_threshold",
        find="for t in (0.5, 0.75))",
        replace="for t in (0.5, 0.65))",
        why="ap75 is the average precision at an IoU of 0.75, the sixth threshold.",
        caught_by="test_average_precision_is_the_mean_over_ten_thresholds",
    ),
    Mistake(
        name="overlaps_in_float32",
        find="_overlap(found.boxes[now], objects.boxes[choice], objects.crowd[choice])",
        replace="_overlap(found.boxes[now].float(), objects.boxes[choice].float(), objects.crowd[choice]).double()",
        why="In float32 an overlap may fall on the other side of a threshold.",
        caught_by="test_float32_boxes_are_compared_in_float64",
    ),
    Mistake(
        name="lists_silently_cut",
        find="    if len(detections) != len(truths):",
        replace="    if False:",
        why="Images without counterpart would go unjudged.",
        caught_by="test_lists_of_different_lengths_are_rejected",
    ),
    Mistake(
        name="no_images_forgotten",
        find="if not truths:",
        replace="if False:",
        why="Tables cannot be joined where there are none; a mean over nothing is NaN.",
        caught_by="test_without_objects_nothing_can_be_said",
    ),
    Mistake(
        name="shorter_list_of_detections_accepted",
        find="if len(detections) != len(truths):",
        replace="if len(detections) > len(truths):",
        why="A zip stops at the shorter list: objects of the images that are left over would never be asked for.",
        caught_by="test_lists_of_different_lengths_are_rejected",
    ),
    Mistake(
        name="difficult_taken_for_crowd",
        find="if x.crowd is None else x.crowd for x in truths]",
        replace="if x.difficult is None else x.difficult for x in truths]",
        why="Difficult objects are a notion of Pascal VOC; COCO excuses crowds alone.",
        caught_by="test_difficult_objects_are_objects_like_any_other",
    ),
    Mistake(
        name="crowds_told_by_the_first_image",
        find="dtype=torch.bool) if x.crowd is None",
        replace="dtype=torch.bool) if truths[0].crowd is None or x.crowd is None",
        why="One image without marks at the head of the list would make every crowd an object to be found.",
        caught_by="test_images_with_and_without_crowds_and_areas_mix",
    ),
    Mistake(
        name="areas_from_all_images_or_none",
        find="if x.areas is None else",
        replace="if any(t.areas is None for t in truths) else",
        why="One image without areas would change the size of the objects in all others.",
        caught_by="test_images_with_and_without_crowds_and_areas_mix",
    ),
    Mistake(
        name="areas_in_float32",
        find="_area(x.boxes.double()) if",
        replace="_area(x.boxes).double() if",
        why="An area at the border of two ranges is rounded into the wrong one.",
        caught_by="test_areas_and_scores_are_float64",
    ),
    Mistake(
        name="scores_in_float32",
        find="[found.scores.argsort(",
        replace="[found.scores.float().argsort(",
        why="Scores that differ in float64 become equal, and the order in the list decides.",
        caught_by="test_areas_and_scores_are_float64",
    ),
    Mistake(
        name="curve_in_float32_scores",
        find="return _Found(_image_of_each(orders), boxes.double(), scores, labels)",
        replace="return _Found(_image_of_each(orders), boxes.double(), scores.float(), labels)",
        why="Scores of two images that differ in float64 become equal, and the order of the images decides.",
        caught_by="test_areas_and_scores_are_float64",
    ),
]

_STABLE = "torch sorts stably on the CPU whether asked or not; on a GPU it does not"
_ROOM = "one row, column or turn more, which stays empty"
_MARK = "any other number that no index or overlap has would do"
_GPU = "shows only on a GPU: on the CPU both devices are one"
EQUIVALENT = {
    "_gather_detections: found.scores.argsort(descending=True, stable=True) → found.scores.argsort(descending=True)": _STABLE,
    "_gather_detections: found.scores.argsort(descending=True, stable=True) → "
    "found.scores.argsort(descending=True, stable=False)": _STABLE,
    "_match: torch.arange(len(positions), device=rows.device) → torch.arange(len(positions))": _GPU,
    "_evaluate_class: torch.arange(len(AREA_RANGES), device=chosen.device) → torch.arange(len(AREA_RANGES))": _GPU,
    "_match: 1 + int(torch.cat([objects.images, found.images]).max()) → "
    "2 + int(torch.cat([objects.images, found.images]).max())": _ROOM,
    "_match: 1 + int(positions.max()) → 2 + int(positions.max())": _ROOM,
    "_match: torch.where(free, overlap, -1) → torch.where(free, overlap, -2)": _MARK,
    "_average_precision: F.pad(precision.flip(-1).cummax(dim=-1).values.flip(-1), (0, 1)) → "
    "F.pad(precision.flip(-1).cummax(dim=-1).values.flip(-1), (0, 2))": "the second zero is never read",
}
