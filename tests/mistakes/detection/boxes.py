from tests.mistakes import Mistake

CLIPPED = """    x1, y1, x2, y2 = boxes.unbind(-1)
    return torch.stack([x1.clamp(0, width), y1.clamp(0, height), x2.clamp(0, width), y2.clamp(0, height)], dim=-1)
"""

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
    Mistake(
        name="small_number_added_to_the_union",
        find="return numerator / denominator.where(denominator > 0, 1)",
        replace="return numerator / (denominator + 1e-7)",
        why="Added to an area it is nothing for boxes of pixels, and everything for boxes of fractions of the image.",
        caught_by="test_the_unit_of_length_does_not_matter",
    ),
    Mistake(
        name="union_of_at_least_a_tenth",
        find="return numerator / denominator.where(denominator > 0, 1)",
        replace="return numerator / denominator.clamp(min=0.1)",
        why="A floor under the union makes small boxes overlap less than they do.",
        caught_by="test_the_unit_of_length_does_not_matter",
    ),
    Mistake(
        name="quotient_from_logarithms",
        find="    return _safe_ratio(intersection, union)\n",
        replace="    return torch.where(intersection > 0, (intersection.log() - union.log()).exp(), 0.0)\n",
        why="Rounded logarithms miss 3/4 by the last bit: on which side of a threshold of 0.75 it falls is chance.",
        caught_by="test_an_iou_that_meets_a_threshold_meets_it_exactly",
    ),
    Mistake(
        name="floor_that_float32_does_not_have",
        find="return numerator / denominator.where(denominator > 0, 1)",
        replace="return numerator / denominator.clamp(min=1e-300)",
        why="In float32 1e-300 is 0, and two boxes without area give 0 / 0 again.",
        caught_by="test_degenerate_boxes_give_zero_and_a_finite_gradient",
    ),
    Mistake(
        name="integers_added_as_they_are",
        find="    x1, y1, x2, y2 = _as_floating(boxes).unbind(-1)\n    return torch.stack([(x1 + x2) / 2,",
        replace="    x1, y1, x2, y2 = boxes.unbind(-1)\n    return torch.stack([(x1 + x2) / 2,",
        why="The sum wraps around before the division makes it floating: in uint8 200 + 240 is 184.",
        caught_by="test_integers_are_made_floating_before_they_are_added",
    ),
    Mistake(
        name="integers_in_the_default_dtype",
        find="(torch.float32, torch.float64) else boxes.float()",
        replace="(torch.float32, torch.float64) else boxes.to(torch.get_default_dtype())",
        why="float32 is promised, whatever the default dtype of the program is.",
        caught_by="test_integers_give_float32_whatever_the_default_dtype_and_the_number_of_boxes",
    ),
    Mistake(
        name="no_boxes_in_the_dtype_of_the_input",
        find="    return _safe_ratio(intersection, union)\n",
        replace="    return _safe_ratio(intersection, union) if len(boxes1) else boxes1.new_zeros(0, len(boxes2))\n",
        why="An image without boxes would give an integer IoU where every other one gives float32.",
        caught_by="test_integers_give_float32_whatever_the_default_dtype_and_the_number_of_boxes",
    ),
    Mistake(
        name="clip_through_float32",
        find=CLIPPED,
        replace="""    borders = torch.tensor([width, height, width, height])
    return _as_floating(boxes).clamp(min=0).minimum(borders.to(_as_floating(boxes))).to(boxes.dtype)
""",
        why="float32 holds whole numbers only up to 2²⁴: the next one is rounded, though its box needs no clipping.",
        caught_by="test_clipping_keeps_integers",
    ),
    Mistake(
        name="clip_by_the_second_axis",
        find=CLIPPED,
        replace="""    clipped = boxes.clone()
    for k, limit in enumerate((width, height)):
        clipped[:, k::2] = boxes[:, k::2].clamp(0, limit)
    return clipped
""",
        why="In a batch of (images, boxes, 4) the second axis counts boxes; the coordinates are the last one.",
        caught_by="test_a_batch_of_any_rank_is_converted_and_clipped",
    ),
    Mistake(
        name="one_box_made_into_a_list_of_one",
        find="cx, cy, width, height = _as_floating(boxes).unbind(-1)",
        replace="cx, cy, width, height = torch.atleast_2d(_as_floating(boxes)).unbind(-1)",
        why="A single box of shape (4,) is a batch of rank 0, and must not become (1, 4).",
        caught_by="test_a_batch_of_any_rank_is_converted_and_clipped",
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
