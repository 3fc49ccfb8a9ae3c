from tests.katas.mistakes import Mistake

MISTAKES = [
    Mistake("strict_threshold", "test_figures_by_hand",
            why="An overlap of exactly the threshold is enough.",
            find="free = (overlap >= thresholds)",
            replace="free = (overlap > thresholds)"),
    Mistake("objects_chosen_again", "test_figures_by_hand",
            why="An object is found once; a second detection of it is wrong.",
            find=" & ~taken[:, :, choice]",
            replace=""),
    Mistake("only_the_best_object_is_tried", "test_figures_by_hand",
            why="That is VOC's rule. In COCO a detection whose best object is taken tries the next best.",
            find="        free = (overlap >= thresholds) & (choice >= 0) & ~taken[:, :, choice]\n",
            replace="        free = (overlap >= thresholds) & (choice >= 0) & ~taken[:, :, choice]\n"
                    "        free = free & (overlap == overlap.amax(dim=-1, keepdim=True))\n"),
    Mistake("no_preference_for_regular_objects", "test_figures_by_hand",
            why="A detection is ignored only if no regular object is left for it.",
            find="        free = regular.where(regular.any(dim=-1, keepdim=True), free)\n",
            replace=""),
    Mistake("iou_with_crowds", "test_figures_by_hand",
            why="With a crowd the overlap is the share of the detection inside it. The IoU would be tiny.",
            find="    whole = torch.where(crowd, _area(boxes), _area(boxes) + _area(objects) - intersection)",
            replace="    whole = _area(boxes) + _area(objects) - intersection"),
    Mistake("crowds_are_to_be_found", "test_figures_by_hand",
            why="A crowd is ignored: nobody has to find it.",
            find="    ignored_objects = objects.crowd | _outside(objects.areas)",
            replace="    ignored_objects = _outside(objects.areas)"),
    Mistake("other_sizes_removed_from_the_truth", "test_all_figures_equal_those_of_pycocotools",
            why="A detection of an object of another size is ignored. Without that object it would be wrong.",
            find="        free = (overlap >= thresholds) & (choice >= 0) & ~taken[:, :, choice]\n",
            replace="        free = (overlap >= thresholds) & (choice >= 0) & ~taken[:, :, choice]\n"
                    "        free = free & (~ignored_objects | objects.crowd)[:, None, choice]\n"),
    Mistake("strays_of_other_sizes_count", "test_figures_by_hand",
            why="A stray detection of another size is ignored in this range, not wrong.",
            find="_outside(_area(found.boxes))[:, None])",
            replace="False)"),
    Mistake("area_of_the_box", "test_figures_by_hand",
            why="The size of an object is its own area, where it is given.",
            find="_area(x.boxes.double()) if x.areas is None else x.areas.double() for x",
            replace="_area(x.boxes.double()) for x"),
    Mistake("areas_swapped", "test_figures_by_hand",
            why="The limits 32 and 96 are side lengths. Areas are compared with their squares.",
            find="(0.0, 32.0**2), (32.0**2, 96.0**2), (96.0**2, 1e10))",
            replace="(0.0, 32.0), (32.0, 96.0), (96.0, 1e10))"),
    Mistake("curves_image_after_image", "test_figures_by_hand",
            why="The curve has the detections of all images together, by falling score.",
            find="    order = found.scores.argsort(descending=True, stable=True)\n",
            replace="    order = torch.arange(len(found.scores), device=found.scores.device)\n"),
    Mistake("not_interpolated", "test_figures_by_hand",
            why="At each recall the highest precision at that recall or beyond counts.",
            find="precision.flip(-1).cummax(dim=-1).values.flip(-1)",
            replace="precision"),
    Mistake("recalls_on_another_grid", "test_figures_by_hand",
            why="A recall of 7/10 is just below point 70 of COCO's grid, 70 * 0.01, so use the given grid.",
            find="RECALL_POINTS = tuple(np.linspace(0, 1, 101).tolist())",
            replace="RECALL_POINTS = tuple(n / 100 for n in range(101))"),
    Mistake("absent_classes_count_as_zero", "test_figures_by_hand",
            why="A class without objects of a size has nothing to find there and takes no part in the mean.",
            find="precision.nanmean(dim=(0, 2)), recall.nanmean(dim=(0, 3))",
            replace="precision.nan_to_num().mean(dim=(0, 2)), recall.nan_to_num().mean(dim=(0, 3))"),
    Mistake("classes_of_the_detections", "test_figures_by_hand",
            why="A class that is never detected has average precision 0; leaving it out flatters the detector.",
            find="    labels = objects.labels.unique()",
            replace="    labels = objects.labels[torch.isin(objects.labels, found.labels)].unique()"),
    Mistake("lists_silently_cut", "test_lists_of_different_lengths_are_refused",
            why="Images without a counterpart would not be judged.",
            find="    if len(detections) != len(truths):",
            replace="    if False:"),
    Mistake("hundred_over_the_whole_data_set", "test_figures_by_hand",
            why="The limit of 100 detections holds per image and class, not for all images together.",
            find="    found = _Found(*(field[turns < MAX_DETECTIONS[-1]] for field in found))\n"
                 "    turns = turns[turns < MAX_DETECTIONS[-1]]\n",
            replace="    best = found.scores.argsort(descending=True, stable=True)[:100].sort().values\n"
                    "    found, turns = _Found(*(field[best] for field in found)), turns[best]\n"),
    Mistake("crowd_as_an_integer", "test_figures_by_hand",
            why="COCO files have 0 and 1. ~ turns the uint8 0 into 255 and 1 into 254, and both are true.",
            find="else x.crowd.bool() for",
            replace="else x.crowd for"),
    Mistake("images_without_objects_skipped", "test_figures_by_hand",
            why="Detections in an image without objects are wrong. Skipping the image hides them.",
            find="    found, objects = _gather_detections(detections), _gather_objects(truths)\n",
            replace="    pairs = list(zip(detections, truths))\n"
                    "    pairs = [p for p in pairs if len(p[1].boxes)] or pairs[:1]\n"
                    "    found = _gather_detections([p[0] for p in pairs])\n"
                    "    objects = _gather_objects([p[1] for p in pairs])\n"),
    Mistake("images_without_detections_skipped", "test_figures_by_hand",
            why="Objects in an image without detections are missed. Skipping the image hides them.",
            find="    found, objects = _gather_detections(detections), _gather_objects(truths)\n",
            replace="    pairs = list(zip(detections, truths))\n"
                    "    pairs = [p for p in pairs if len(p[0].boxes)] or pairs[:1]\n"
                    "    found = _gather_detections([p[0] for p in pairs])\n"
                    "    objects = _gather_objects([p[1] for p in pairs])\n"),
]

SORT = "_gather_detections: found.scores.argsort(descending=True, stable=True) → found.scores.argsort(descending=True"
TOGETHER = "which images are matched together; the matches are the same"
NONE = "turns.new_full((len(AREA_RANGES), len(IOU_THRESHOLDS), len(turns)), {})"
LAST = "1 + int(found.images.max()) if len(turns) else {}"
AXES = [(one, one.replace("-1", "+1", 1)) for one in (
    "best_from.gather(-1, torch.searchsorted(recall, points))", "interpolated.mean(dim=-1)", "correct.cumsum(dim=-1)",
    "(~ignored).cumsum(dim=-1)", "precision.flip(-1)",
)] + [("precision.flip(-1).cummax(dim=-1)", "precision.flip(-1).cummax(dim=+1)"),
      ("precision.flip(-1).cummax(dim=-1).values.flip(-1)", "precision.flip(-1).cummax(dim=-1).values.flip(+1)")]
BEST = "F.pad(precision.flip(-1).cummax(dim=-1).values.flip(-1), (0, {}))"
IMAGES = "{} + int(torch.cat([objects.images, found.images]).max())"
EQUIVALENT = {
    SORT + ")": "torch sorts stably on the CPU whether asked or not; on a GPU it does not",
    SORT + ", stable=False)": "torch sorts stably on the CPU whether asked or not; on a GPU it does not",
    "_match: counts.clamp(min=1).log2() // 3 → counts.clamp(min=1).log2() * 3": TOGETHER,
    "_match: counts.clamp(min=1).log2() // 3 → counts.clamp(min=1).log2() // 4": TOGETHER,
    "_match: counts.clamp(min=1) → counts.clamp(min=2)": TOGETHER,
    f"_match: {NONE.format(-1)} → {NONE.format(-2)}": "any number below 0 would do",
    f"_match: {LAST.format(0)} → {LAST.format(1)}": "one more count, of an image that is not there",
    f"_match: {LAST[:27]} → {LAST[:27].replace('1', '2')}": "one more count, of an image that is not there",
    "_match: F.pad(theirs, (0, 1), value=-1) → F.pad(theirs, (0, 2), value=-1)": "the place -1 is the last all the same",
    "_match_together: torch.arange(len(positions), device=rows.device) → torch.arange(len(positions))": "shows only on a GPU",
    "_evaluate_class: torch.arange(len(AREA_RANGES), device=chosen.device) → torch.arange(len(AREA_RANGES))":
        "shows only on a GPU",
    f"_match_together: {IMAGES.format(1)} → {IMAGES.format(2)}": "one more row, which stays empty",
    "_match_together: 1 + int(positions.max()) → 2 + int(positions.max())": "one more column, which stays empty",
    "_match_together: torch.where(free, overlap, -1) → torch.where(free, overlap, -2)": "any number below 0 would do",
    f"_average_precision: {BEST.format(1)} → {BEST.format(2)}": "the second zero is never read",
    **{f"_average_precision: {one} → {other}": "the last of two axes" for one, other in AXES},
}
