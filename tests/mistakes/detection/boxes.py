from tests.mistakes import Mistake

MISTAKES = [
    Mistake(
        name="size_counts_pixels",
        find="(y1 + y2) / 2, x2 - x1, y2 - y1]",
        replace="(y1 + y2) / 2, x2 - x1 + 1, y2 - y1 + 1]",
        why="Coordinates are continuous, not pixel indices: a box from 10 to 14 is 4 wide.",
        caught_by="test_a_box_of_corners_has_a_centre_and_a_size",
    ),
    Mistake(
        name="centre_from_the_wrong_corner",
        find="cx - width / 2, cy - height / 2, cx + width / 2",
        replace="cx, cy, cx + width / 2",
        why="The first two numbers are the centre, so the box reaches half a width to either side of it.",
        caught_by="test_changing_the_format_and_back_gives_the_same_boxes",
    ),
    Mistake(
        name="width_and_height_swapped",
        find="(y1 + y2) / 2, x2 - x1, y2 - y1]",
        replace="(y1 + y2) / 2, y2 - y1, x2 - x1]",
        why="The order is (cx, cy, width, height): width belongs to x.",
        caught_by="test_a_box_of_corners_has_a_centre_and_a_size",
    ),
    Mistake(
        name="integer_centre_truncated",
        find="    x1, y1, x2, y2 = _as_floating(boxes).unbind(-1)\n    return torch.stack([(x1 + x2) / 2, (y1 + y2) / 2,",
        replace="    x1, y1, x2, y2 = boxes.unbind(-1)\n    return torch.stack([(x1 + x2) // 2, (y1 + y2) // 2,",
        why="The centre of an integer box may lie at a half, so integers cannot hold it.",
        caught_by="test_the_centre_of_an_integer_box_may_lie_at_a_half",
    ),
    Mistake(
        name="area_counts_pixels",
        find="return (x2 - x1) * (y2 - y1)",
        replace="return (x2 - x1 + 1) * (y2 - y1 + 1)",
        why="The + 1 of the old VOC code is for pixel indices; boxes here are continuous.",
        caught_by="test_area_is_width_times_height",
    ),
    Mistake(
        name="area_in_the_narrow_dtype",
        find="return boxes if boxes.dtype in (torch.float32, torch.float64) else boxes.float()",
        replace="return boxes",
        why="uint8 wraps around at 256 and float16 ends at 65504: areas need a wider dtype.",
        caught_by="test_a_float16_box_may_be_larger_than_float16_can_count",
    ),
    Mistake(
        name="everything_in_float32",
        find="return boxes if boxes.dtype in (torch.float32, torch.float64) else boxes.float()",
        replace="return boxes.float()",
        why="float64 boxes must give float64 results.",
        caught_by="test_standing_laws",
    ),
    Mistake(
        name="clip_swaps_height_and_width",
        find="height, width = image_size",
        replace="width, height = image_size",
        why="image_size is (height, width), as in tensor.shape[-2:]; x is limited by the width.",
        caught_by="test_clipping_uses_the_width_for_x_and_the_height_for_y",
    ),
    Mistake(
        name="clip_forgets_the_lower_border",
        find="torch.stack([x1.clamp(0, width), y1.clamp(0, height),",
        replace="torch.stack([x1.clamp(max=width), y1.clamp(max=height),",
        why="A box may stick out on the left and at the top too.",
        caught_by="test_clipping_uses_the_width_for_x_and_the_height_for_y",
    ),
    Mistake(
        name="clip_to_the_last_pixel_index",
        find="x2.clamp(0, width), y2.clamp(0, height)",
        replace="x2.clamp(0, width - 1), y2.clamp(0, height - 1)",
        why="The right border of the image is at x = width, not at the index of the last pixel.",
        caught_by="test_clipping_uses_the_width_for_x_and_the_height_for_y",
    ),
    Mistake(
        name="clip_in_place",
        find="    height, width = image_size\n",
        replace="    height, width = image_size\n    boxes[..., 0].clamp_(0, width)\n",
        why="The caller's boxes must stay what they were.",
        caught_by="test_standing_laws",
    ),
    Mistake(
        name="negative_overlap_not_clamped",
        find="width = (torch.minimum(x2, u2) - torch.maximum(x1, u1)).clamp(min=0)",
        replace="width = torch.minimum(x2, u2) - torch.maximum(x1, u1)",
        why="Two boxes apart in x and in y have two negative overlaps, whose product looks like an area.",
        caught_by="test_overlap_equals_counted_squares",
    ),
    Mistake(
        name="intersection_counted_twice",
        find="box_area(boxes2) - intersection",
        replace="box_area(boxes2)",
        why="The sum of both areas holds the intersection twice; the union holds it once.",
        caught_by="test_iou_of_two_overlapping_boxes",
    ),
    Mistake(
        name="overlap_by_the_smaller_box",
        find="intersection, box_area(boxes1)[:, None] + box_area(boxes2) - intersection",
        replace="intersection, torch.minimum(box_area(boxes1)[:, None], box_area(boxes2))",
        why="Intersection over the smaller area is another measure; IoU divides by the union.",
        caught_by="test_iou_of_two_overlapping_boxes",
    ),
    Mistake(
        name="zero_union_not_guarded",
        find="numerator / denominator.where(denominator > 0, 1)",
        replace="numerator / denominator",
        why="Two boxes without area give 0 / 0 = NaN.",
        caught_by="test_degenerate_boxes_give_zero_and_a_finite_gradient",
    ),
    Mistake(
        name="nan_masked_afterwards",
        find="numerator / denominator.where(denominator > 0, 1)",
        replace="(numerator / denominator).nan_to_num(0)",
        why="Replacing the NaN in the result leaves it in the gradient: guard the denominator before dividing.",
        caught_by="test_degenerate_boxes_give_zero_and_a_finite_gradient",
    ),
    Mistake(
        name="epsilon_in_the_denominator",
        find="numerator / denominator.where(denominator > 0, 1)",
        replace="numerator / (denominator + 1e-6)",
        why="An epsilon biases every IoU; identical boxes would not reach 1.",
        caught_by="test_overlap_equals_counted_squares",
    ),
    Mistake(
        name="giou_penalty_over_the_union",
        find="_safe_ratio(hull - union, hull)",
        replace="_safe_ratio(hull - union, union)",
        why="The empty part of the hull is measured against the hull: GIoU then stays above −1.",
        caught_by="test_giou_of_two_boxes_apart",
    ),
    Mistake(
        name="giou_hull_is_the_intersection",
        find="hull = (torch.maximum(x2, u2) - torch.minimum(x1, u1))",
        replace="hull = (torch.minimum(x2, u2) - torch.maximum(x1, u1))",
        why="The hull reaches from the smaller left side to the larger right side.",
        caught_by="test_giou_of_two_boxes_apart",
    ),
    Mistake(
        name="giou_sign",
        find="_safe_ratio(intersection, union) - _safe_ratio(hull",
        replace="_safe_ratio(intersection, union) + _safe_ratio(hull",
        why="Empty space in the hull must lower the score: the farther apart, the worse.",
        caught_by="test_giou_of_two_boxes_apart",
    ),
]

_LAST_OF_TWO = "the boxes of this function are (N, 4): axis 1 is the last one"
EQUIVALENT = {
    "box_area: _as_wide_floating(boxes).unbind(-1) → _as_wide_floating(boxes).unbind(+1)": _LAST_OF_TWO,
    "generalized_box_iou: _as_wide_floating(boxes2).unbind(-1) → _as_wide_floating(boxes2).unbind(+1)": _LAST_OF_TWO,
    "_intersection_and_union: _as_wide_floating(boxes2).unbind(-1) → _as_wide_floating(boxes2).unbind(+1)": _LAST_OF_TWO,
    "_safe_ratio: denominator.where(denominator > 0, 1) → denominator.where(denominator > 0, 2)": (
        "where the denominator is 0 the numerator is 0 too, and 0 / 2 is 0 / 1"
    ),
}
