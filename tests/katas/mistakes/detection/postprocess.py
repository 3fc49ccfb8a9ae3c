from tests.katas.mistakes import Mistake

MISTAKES = [
    Mistake("softmax_over_classes", "test_detections_by_hand",
            why="Each class has its own sigmoid. A softmax makes classes compete and leaves no room for background.",
            find="cls_logits.sigmoid().flatten()",
            replace="cls_logits.softmax(dim=1).flatten()"),
    Mistake("threshold_included", "test_detections_by_hand",
            why="A score must be greater than the threshold.",
            find="scores > score_thresh",
            replace="scores >= score_thresh"),
    Mistake("topk_fails_when_few", "test_detections_by_hand",
            why="A level may have fewer candidates than topk_per_level, and topk then raises.",
            find="topk(min(topk, len(candidates)))",
            replace="topk(topk)"),
    Mistake("topk_forgotten", "test_detections_by_hand",
            why="Each level keeps its topk_per_level best. Otherwise the finest level outnumbers the others.",
            find="    candidates = candidates[best]\n",
            replace="    candidates = candidates[best.sort().values] if topk == 0 else candidates\n"),
    Mistake("positions_among_the_candidates", "test_detections_by_hand",
            why="topk returns positions among the candidates above the threshold, not rows of the level.",
            find="    candidates = candidates[best]\n",
            replace="    candidates = best\n"),
    Mistake("anchor_and_class_swapped", "test_detections_by_hand",
            why="A flattened row runs through the classes first: index = anchor * K + class.",
            find="candidates // num_classes, candidates % num_classes",
            replace="candidates % len(anchors), candidates // len(anchors)"),
    Mistake("best_class_only", "test_detections_by_hand",
            why="Every class above the threshold is a candidate, so one anchor may yield several.",
            find="    scores = cls_logits.sigmoid().flatten()\n",
            replace="    best_of = cls_logits.amax(dim=1, keepdim=True)\n"
                    "    scores = cls_logits.sigmoid().where(cls_logits == best_of, 0).flatten()\n"),
    Mistake("labels_from_one", "test_detections_by_hand",
            why="Labels are 0 … K−1: a sigmoid head has no background class.",
            find="candidates // num_classes, candidates % num_classes",
            replace="candidates // num_classes, candidates % num_classes + 1"),
    Mistake("deltas_not_decoded", "test_detections_by_hand",
            why="The deltas say how far the box lies from its anchor.",
            find="decode_boxes(box_deltas[anchor_idxs], anchors[anchor_idxs])",
            replace="anchors[anchor_idxs]"),
    Mistake("not_clipped", "test_detections_by_hand",
            why="Boxes end at the border of the image, as the true boxes do.",
            find="clip_boxes(decode_boxes(box_deltas[anchor_idxs], anchors[anchor_idxs]), image_size)",
            replace="decode_boxes(box_deltas[anchor_idxs], anchors[anchor_idxs])"),
    Mistake("clipped_to_width_and_height", "test_detections_by_hand",
            why="image_size is (height, width), so x is limited by the second entry.",
            find="anchors[anchor_idxs]), image_size)",
            replace="anchors[anchor_idxs]), image_size[::-1])"),
    Mistake("small_in_area", "test_detections_by_hand",
            why="One short side is enough to drop a box, however long the other is.",
            find="(boxes[:, 2:] - boxes[:, :2] >= min_size).all(dim=1)",
            replace="(boxes[:, 2:] - boxes[:, :2]).prod(dim=1) >= min_size"),
    Mistake("exactly_min_size_dropped", "test_detections_by_hand",
            why="A side of exactly min_size is not shorter than it.",
            find=">= min_size).all(dim=1)",
            replace="> min_size).all(dim=1)"),
    Mistake("suppression_across_classes", "test_detections_by_hand",
            why="A rider and a horse share a box. Suppression acts within a class.",
            find="batched_nms(boxes, scores, labels, nms_thresh)",
            replace="batched_nms(boxes, scores, torch.zeros_like(labels), nms_thresh)"),
    Mistake("suppression_within_levels", "test_detections_by_hand",
            why="Two levels can find the same object, so suppression sees all levels together.",
            find="    keep = batched_nms(boxes, scores, labels, nms_thresh)[:detections_per_image]",
            replace="    level = [torch.full_like(part[2], number) for number, part in enumerate(levels)]\n"
                    "    groups = labels + 1000 * torch.cat(level)\n"
                    "    keep = batched_nms(boxes, scores, groups, nms_thresh)[:detections_per_image]"),
    Mistake("limit_before_suppression", "test_detections_by_hand",
            why="The limit counts detections, not the copies that suppression removes.",
            find="    keep = batched_nms(boxes, scores, labels, nms_thresh)[:detections_per_image]",
            replace="    first = scores.argsort(descending=True)[:detections_per_image]\n"
                    "    keep = first[batched_nms(boxes[first], scores[first], labels[first], nms_thresh)]"),
    Mistake("small_boxes_dropped_before_topk", "test_detections_by_hand",
            why="The best of a level are chosen first, which saves decoding the others. Small boxes are dropped later.",
            find="    scores = cls_logits.sigmoid().flatten()\n",
            replace="    every = clip_boxes(decode_boxes(box_deltas, anchors), image_size)\n"
                    "    fit = (every[:, 2:] - every[:, :2] >= min_size).all(dim=1, keepdim=True)\n"
                    "    scores = cls_logits.sigmoid().where(fit, 0).flatten()\n"),
    Mistake("score_threshold_zero_is_the_default", "test_a_limit_of_zero_is_not_the_default",
            why="Zero is a threshold like any other: a full precision-recall curve needs every detection.",
            find="torch.where(scores > score_thresh)[0]",
            replace="torch.where(scores > (score_thresh or 0.05))[0]"),
    Mistake("clipped_after_suppression", "test_detections_by_hand",
            why="The part of a box outside the image must not count for overlaps: clip first, then suppress.",
            find="    keep = batched_nms(boxes, scores, labels, nms_thresh)[:detections_per_image]",
            replace="    whole = torch.cat([\n"
                    "        _candidates(\n"
                    "            *level, (9**9, 9**9), score_thresh=score_thresh, topk=topk_per_level, min_size=0\n"
                    "        ).boxes\n"
                    "        for level in zip(cls_logits, box_deltas, anchors)\n"
                    "    ])\n"
                    "    keep = batched_nms(whole, scores, labels, nms_thresh)[:detections_per_image]"),
    Mistake("fixed_dtype_of_the_scores", "test_narrow_dtypes_give_the_same_detections",
            why="Scores have the dtype of the logits. Code that writes float32 returns another dtype for float16.",
            find="    keep = batched_nms(boxes, scores, labels, nms_thresh)[:detections_per_image]",
            replace="    scores = scores if scores.dtype == torch.float64 else scores.float()\n"
                    "    keep = batched_nms(boxes, scores, labels, nms_thresh)[:detections_per_image]"),
]

CALL = "zip(cls_logits, box_deltas, anchors"
LEVELS = f"postprocess_detections: {CALL}, strict=True) → {CALL}"
PARTS = "postprocess_detections: zip(*levels, strict=True) → zip(*levels"
EQUIVALENT = {
    LEVELS + ")": "lists of unequal length are out of scope",
    LEVELS + ", strict=False)": "lists of unequal length are out of scope",
    PARTS + ")": "each level has the same three fields",
    PARTS + ", strict=False)": "each level has the same three fields",
}
