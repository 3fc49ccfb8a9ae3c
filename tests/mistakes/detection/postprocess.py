from tests.mistakes import Mistake

MISTAKES = [
    Mistake(
        name="softmax_over_classes",
        find="cls_logits.sigmoid().flatten()",
        replace="cls_logits.softmax(dim=1).flatten()",
        why="Each class is scored by its own sigmoid; a softmax makes classes compete and leaves no background.",
        caught_by="test_every_pair_of_anchor_and_class_above_the_threshold_is_a_candidate",
    ),
    Mistake(
        name="logits_against_the_threshold",
        find="torch.where(scores > score_thresh)[0]",
        replace="torch.where(cls_logits.flatten() > score_thresh)[0]",
        why="The threshold is for scores in [0, 1], not for logits.",
        caught_by="test_every_pair_of_anchor_and_class_above_the_threshold_is_a_candidate",
    ),
    Mistake(
        name="threshold_included",
        find="scores > score_thresh",
        replace="scores >= score_thresh",
        why="A score must be greater than the threshold.",
        caught_by="test_a_score_exactly_at_the_threshold_is_dropped",
    ),
    Mistake(
        name="threshold_forgotten",
        find="torch.where(scores > score_thresh)[0]",
        replace="torch.arange(len(scores), device=scores.device)",
        why="Without a threshold the list fills up with noise whenever there is room.",
        caught_by="test_every_pair_of_anchor_and_class_above_the_threshold_is_a_candidate",
    ),
    Mistake(
        name="topk_fails_when_few",
        find="topk(min(topk, len(candidates)))",
        replace="topk(topk)",
        why="A level may have fewer candidates than topk_per_level, and topk then raises.",
        caught_by="test_every_pair_of_anchor_and_class_above_the_threshold_is_a_candidate",
    ),
    Mistake(
        name="topk_forgotten",
        find="    candidates = candidates[best]\n",
        replace="    candidates = candidates[best.sort().values] if topk == 0 else candidates\n",
        why="Each level keeps its topk_per_level best: the finest one would drown the others.",
        caught_by="test_each_level_keeps_its_own_best_candidates",
    ),
    Mistake(
        name="positions_among_the_candidates",
        find="    candidates = candidates[best]\n",
        replace="    candidates = best\n",
        why="topk answers with places among those above the threshold, not with rows of the level.",
        caught_by="test_detections_equal_the_seven_steps_by_hand",
    ),
    Mistake(
        name="anchor_and_class_swapped",
        find="candidates // num_classes, candidates % num_classes",
        replace="candidates % len(anchors), candidates // len(anchors)",
        why="Row-major flattening runs through the classes first: index = anchor · K + class.",
        caught_by="test_every_pair_of_anchor_and_class_above_the_threshold_is_a_candidate",
    ),
    Mistake(
        name="best_class_only",
        find="    scores = cls_logits.sigmoid().flatten()\n",
        replace="    best_of = cls_logits.amax(dim=1, keepdim=True)\n"
        "    scores = cls_logits.sigmoid().where(cls_logits == best_of, 0).flatten()\n",
        why="One anchor may yield several classes: every class above the threshold is a candidate of its own.",
        caught_by="test_every_pair_of_anchor_and_class_above_the_threshold_is_a_candidate",
    ),
    Mistake(
        name="labels_from_one",
        find="candidates // num_classes, candidates % num_classes",
        replace="candidates // num_classes, candidates % num_classes + 1",
        why="Labels are 0 … K−1: a sigmoid head has no background class.",
        caught_by="test_every_pair_of_anchor_and_class_above_the_threshold_is_a_candidate",
    ),
    Mistake(
        name="deltas_not_decoded",
        find="decode_boxes(box_deltas[anchor_idxs], anchors[anchor_idxs])",
        replace="anchors[anchor_idxs]",
        why="An anchor is only the starting point: the deltas tell where the box really is.",
        caught_by="test_boxes_are_decoded_against_their_own_anchors",
    ),
    Mistake(
        name="deltas_of_other_anchors",
        find="decode_boxes(box_deltas[anchor_idxs], anchors[anchor_idxs])",
        replace="decode_boxes(box_deltas[: len(anchor_idxs)], anchors[anchor_idxs])"
        " if len(anchor_idxs) <= len(anchors) else decode_boxes(box_deltas[anchor_idxs], anchors[anchor_idxs])",
        why="Deltas and anchors are picked by the same indices.",
        caught_by="test_boxes_are_decoded_against_their_own_anchors",
    ),
    Mistake(
        name="not_clipped",
        find="clip_boxes(decode_boxes(box_deltas[anchor_idxs], anchors[anchor_idxs]), image_size)",
        replace="decode_boxes(box_deltas[anchor_idxs], anchors[anchor_idxs])",
        why="Boxes end at the border of the image, as those of the truth do.",
        caught_by="test_boxes_are_clipped_to_height_and_width",
    ),
    Mistake(
        name="clipped_to_width_and_height",
        find="anchors[anchor_idxs]), image_size)",
        replace="anchors[anchor_idxs]), image_size[::-1])",
        why="image_size is (height, width): x is limited by the width, which comes second.",
        caught_by="test_boxes_are_clipped_to_height_and_width",
    ),
    Mistake(
        name="clipped_at_the_end",
        find="    keep = batched_nms(boxes, scores, labels, nms_thresh)[:detections_per_image]",
        replace="    raw = torch.cat([decode_boxes(d, a) for d, a in zip(box_deltas, anchors)])\n"
        "    cut = clip_boxes(raw, image_size)\n"
        "    whole = raw[(boxes[:, None] == cut).all(dim=2).float().argmax(dim=1)] if len(raw) else boxes\n"
        "    keep = batched_nms(whole, scores, labels, nms_thresh)[:detections_per_image]",
        why="What lies outside the image must not count when overlaps are measured: clip first, then suppress.",
        caught_by="test_detections_equal_the_seven_steps_by_hand",
    ),
    Mistake(
        name="small_in_area",
        find="(boxes[:, 2:] - boxes[:, :2] >= min_size).all(dim=1)",
        replace="(boxes[:, 2:] - boxes[:, :2]).prod(dim=1) >= min_size",
        why="A sliver is small however long it is: each side counts, not the area.",
        caught_by="test_a_box_is_small_when_a_side_is_shorter_than_min_size_once_clipped",
    ),
    Mistake(
        name="small_in_both_sides",
        find="(boxes[:, 2:] - boxes[:, :2] >= min_size).all(dim=1)",
        replace="(boxes[:, 2:] - boxes[:, :2] >= min_size).any(dim=1)",
        why="One short side is enough to drop a box.",
        caught_by="test_a_box_is_small_when_a_side_is_shorter_than_min_size_once_clipped",
    ),
    Mistake(
        name="exactly_min_size_dropped",
        find=">= min_size).all(dim=1)",
        replace="> min_size).all(dim=1)",
        why="A side of exactly min_size is not shorter than it.",
        caught_by="test_a_box_is_small_when_a_side_is_shorter_than_min_size_once_clipped",
    ),
    Mistake(
        name="suppression_across_classes",
        find="batched_nms(boxes, scores, labels, nms_thresh)",
        replace="batched_nms(boxes, scores, torch.zeros_like(labels), nms_thresh)",
        why="A rider and a horse share a box; suppression acts within a class.",
        caught_by="test_suppression_acts_across_levels_and_within_classes",
    ),
    Mistake(
        name="suppression_within_levels",
        find="    keep = batched_nms(boxes, scores, labels, nms_thresh)[:detections_per_image]",
        replace="    level = [torch.full_like(part[2], number) for number, part in enumerate(levels)]\n"
        "    groups = labels + 1000 * torch.cat(level)\n"
        "    keep = batched_nms(boxes, scores, groups, nms_thresh)[:detections_per_image]",
        why="Two levels find the same object: suppression sees all levels together.",
        caught_by="test_suppression_acts_across_levels_and_within_classes",
    ),
    Mistake(
        name="limit_before_suppression",
        find="    keep = batched_nms(boxes, scores, labels, nms_thresh)[:detections_per_image]",
        replace="    first = scores.argsort(descending=True)[:detections_per_image]\n"
        "    keep = first[batched_nms(boxes[first], scores[first], labels[first], nms_thresh)]",
        why="The limit counts detections, not the copies that suppression removes.",
        caught_by="test_the_limit_counts_what_suppression_leaves",
    ),
    Mistake(
        name="limit_forgotten",
        find="nms_thresh)[:detections_per_image]",
        replace="nms_thresh)",
        why="An image yields at most detections_per_image detections.",
        caught_by="test_the_limit_counts_what_suppression_leaves",
    ),
    Mistake(
        name="small_boxes_dropped_before_topk",
        find="    scores = cls_logits.sigmoid().flatten()\n",
        replace="    every = clip_boxes(decode_boxes(box_deltas, anchors), image_size)\n"
        "    fit = (every[:, 2:] - every[:, :2] >= min_size).all(dim=1, keepdim=True)\n"
        "    scores = cls_logits.sigmoid().where(fit, 0).flatten()\n",
        why="The best of a level are chosen first, which spares decoding all the others; small ones are dropped after.",
        caught_by="test_the_best_of_a_level_are_chosen_before_small_boxes_are_dropped",
    ),
]
