"""Wrong augmentations that real people write: the boxes leave their objects."""

from tests.mistakes import Mistake

FLIPPED = "torch.stack((width - x2, y1, width - x1, y2), dim=1)"
KEEP = "keep = (visible_area > 0) & (visible_area >= min_visibility * area)"
CUT = "cut = shifted.clamp(min=0).minimum(boxes.new_tensor([crop_width, crop_height, crop_width, crop_height]))"
SCALES = "boxes.new_tensor([scale_x, scale_y, scale_x, scale_y])"

MISTAKES = [
    Mistake(
        name="mirrored_corners_not_exchanged",
        find=FLIPPED,
        replace="torch.stack((width - x1, y1, width - x2, y2), dim=1)",
        why="The mirror turns the right edge into the left one; unexchanged, every box has a negative width.",
        caught_by="test_a_mirrored_box_is_as_far_from_the_right_as_it_was_from_the_left",
    ),
    Mistake(
        name="mirrored_at_the_last_pixel",
        find=FLIPPED,
        replace="torch.stack((width - 1 - x2, y1, width - 1 - x1, y2), dim=1)",
        why="W - 1 mirrors pixel indices; continuous coordinates span from 0 to W, and the boxes shift by one pixel.",
        caught_by="test_mirrored_boxes_stay_on_their_objects",
    ),
    Mistake(
        name="mirrored_upside_down",
        find="image.flip(2)",
        replace="image.flip(1)",
        why="Dimension 1 is the height: the image is turned upside down and the boxes are mirrored sideways.",
        caught_by="test_mirrored_boxes_stay_on_their_objects",
    ),
    Mistake(
        name="mirrored_by_the_height",
        find="width = image.shape[2]",
        replace="width = image.shape[1]",
        why="x is mirrored at the width; on square images nobody notices.",
        caught_by="test_a_mirrored_box_is_as_far_from_the_right_as_it_was_from_the_left",
    ),
    Mistake(
        name="image_not_mirrored",
        find="ImageAndBoxes(image.flip(2), ",
        replace="ImageAndBoxes(image, ",
        why="Boxes and image have to be mirrored together.",
        caught_by="test_mirrored_boxes_stay_on_their_objects",
    ),
    Mistake(
        name="last_position_never_drawn",
        find="torch.randint(height - crop_height + 1,",
        replace="torch.randint(max(1, height - crop_height),",
        why="randint excludes its upper end: without the + 1 the window never touches the lower border.",
        caught_by="test_every_position_of_the_window_is_equally_likely",
    ),
    Mistake(
        name="global_randomness",
        find="torch.randint(width - crop_width + 1, (), generator=generator, device=generator.device)",
        replace="torch.randint(width - crop_width + 1, ())",
        why="Randomness that is not drawn from the given generator cannot be repeated.",
        caught_by="test_the_generator_decides",
    ),
    Mistake(
        name="one_draw_for_both_directions",
        find="left = int(torch.randint(width - crop_width + 1, (), generator=generator, device=generator.device))",
        replace="left = min(top, width - crop_width)",
        why="Row and column are drawn independently, or the window only slides along the diagonal.",
        caught_by="test_every_position_of_the_window_is_equally_likely",
    ),
    Mistake(
        name="boxes_not_moved_into_the_window",
        find="shifted = boxes - boxes.new_tensor([left, top, left, top])",
        replace="shifted = boxes",
        why="The boxes returned are relative to the window, whose corner is at (left, top).",
        caught_by="test_a_box_is_moved_cut_and_dropped_if_too_little_is_left",
    ),
    Mistake(
        name="left_and_top_exchanged",
        find="boxes.new_tensor([left, top, left, top])",
        replace="boxes.new_tensor([top, left, top, left])",
        why="Boxes are (x, y, x, y): left belongs to x and top to y.",
        caught_by="test_a_box_is_moved_cut_and_dropped_if_too_little_is_left",
    ),
    Mistake(
        name="boxes_not_cut",
        find="Crop(window, cut[keep], labels[keep])",
        replace="Crop(window, shifted[keep], labels[keep])",
        why="What lies beyond the window cannot be seen, and boxes must not stick out of the image.",
        caught_by="test_a_box_is_moved_cut_and_dropped_if_too_little_is_left",
    ),
    Mistake(
        name="cut_with_height_and_width_exchanged",
        find=CUT,
        replace="cut = shifted.clamp(min=0).minimum(boxes.new_tensor([crop_height, crop_width, crop_height, crop_width]))",
        why="x is cut at the width and y at the height; on square windows nobody notices.",
        caught_by="test_a_box_is_moved_cut_and_dropped_if_too_little_is_left",
    ),
    Mistake(
        name="empty_boxes_kept",
        find=KEEP,
        replace="keep = visible_area >= min_visibility * area",
        why="With min_visibility 0 boxes wholly outside would stay, with no area: their log-size is -inf.",
        caught_by="test_a_box_is_moved_cut_and_dropped_if_too_little_is_left",
    ),
    Mistake(
        name="visibility_must_exceed",
        find=KEEP,
        replace="keep = (visible_area > 0) & (visible_area > min_visibility * area)",
        why="A box that keeps exactly the fraction asked for stays; with min_visibility 1 nothing else could.",
        caught_by="test_a_box_is_moved_cut_and_dropped_if_too_little_is_left",
    ),
    Mistake(
        name="visibility_ignored",
        find=KEEP,
        replace="keep = visible_area > 0",
        why="A sliver of an object at the border is no object that anyone could recognise.",
        caught_by="test_a_box_is_moved_cut_and_dropped_if_too_little_is_left",
    ),
    Mistake(
        name="visibility_as_a_fraction_of_the_window",
        find=KEEP,
        replace="keep = (visible_area > 0) & (visible_area >= min_visibility * crop_height * crop_width)",
        why="The fraction is of the box's own area before the crop, not of the window.",
        caught_by="test_a_box_is_moved_cut_and_dropped_if_too_little_is_left",
    ),
    Mistake(
        name="labels_left_behind",
        find="labels[keep])",
        replace="labels[: int(keep.sum())])",
        why="When a box is dropped its label goes with it; otherwise all later boxes get their neighbour's label.",
        caught_by="test_a_box_is_moved_cut_and_dropped_if_too_little_is_left",
    ),
    Mistake(
        name="window_larger_than_the_image_accepted",
        find="if not (1 <= crop_height <= height and 1 <= crop_width <= width):",
        replace="if not (1 <= crop_height <= height):",
        why="Both directions have to fit, and slicing beyond the image silently gives a smaller window.",
        caught_by="test_a_window_that_does_not_fit_is_refused",
    ),
    Mistake(
        name="visibility_unchecked",
        find="if not 0 <= min_visibility <= 1:",
        replace="if False:",
        why="A percentage given for a fraction would silently drop every box.",
        caught_by="test_a_visibility_that_is_no_fraction_is_refused",
    ),
    Mistake(
        name="boxes_not_stretched",
        find=f"boxes * {SCALES}",
        replace="boxes",
        why="When the image changes its size, its boxes do too.",
        caught_by="test_x_and_y_are_stretched_by_their_own_factors",
    ),
    Mistake(
        name="one_factor_for_both_directions",
        find=SCALES,
        replace="boxes.new_tensor([scale_x, scale_x, scale_x, scale_x])",
        why="Width and height may change by different factors.",
        caught_by="test_x_and_y_are_stretched_by_their_own_factors",
    ),
    Mistake(
        name="factors_exchanged",
        find=SCALES,
        replace="boxes.new_tensor([scale_y, scale_x, scale_y, scale_x])",
        why="x is stretched with the width; size and shape are (height, width), boxes (x, y).",
        caught_by="test_x_and_y_are_stretched_by_their_own_factors",
    ),
    Mistake(
        name="factor_upside_down",
        find="scale_x, scale_y = new_width / width, new_height / height",
        replace="scale_x, scale_y = width / new_width, height / new_height",
        why="The factor is new over old.",
        caught_by="test_x_and_y_are_stretched_by_their_own_factors",
    ),
    Mistake(
        name="corners_aligned",
        find="align_corners=False, antialias=True",
        replace="align_corners=True",
        why="With aligned corners the pixels' content moves by up to half a pixel against the boxes.",
        caught_by="test_pixels_are_interpolated_bilinearly_with_antialiasing",
    ),
    Mistake(
        name="no_antialiasing",
        find=", antialias=True)",
        replace=")",
        why="Without antialiasing a shrunk image skips pixels, and thin objects disappear.",
        caught_by="test_pixels_are_interpolated_bilinearly_with_antialiasing",
    ),
    Mistake(
        name="size_unchecked",
        find="if new_height < 1 or new_width < 1:",
        replace="if False:",
        why="A size without pixels is a mistake of the caller, and should be called one.",
        caught_by="test_a_size_without_pixels_is_refused",
    ),
    Mistake(
        name="areas_of_two_precisions",
        find="area, visible_area = _area(boxes), _area(cut)",
        replace="area, visible_area = _area(boxes.double()), _area(cut)",
        why="A float32 area is rounded; against the same area in float64 half of the whole boxes come out a little short.",
        caught_by="test_a_box_that_is_wholly_visible_stays_however_its_coordinates_are_rounded",
    ),
    Mistake(
        name="positions_rounded_to_the_nearest",
        find="left = int(torch.randint(width - crop_width + 1, (), generator=generator, device=generator.device))",
        replace="left = round(torch.rand((), generator=generator).item() * (width - crop_width))",
        why="Rounding gives the first and the last position half an interval each: they are drawn half as often.",
        caught_by="test_every_position_of_the_window_is_equally_likely",
    ),
    Mistake(
        name="visibility_with_slack",
        find="(visible_area >= min_visibility * area)",
        replace="(visible_area >= min_visibility * area - 1e-6)",
        why="A slack in square pixels is more than a small box has; rounding errors grow and shrink with the area.",
        caught_by="test_a_box_smaller_than_a_pixel_is_judged_by_its_own_area",
    ),
    Mistake(
        name="small_remains_taken_for_none",
        find="keep = (visible_area > 0)",
        replace="keep = (visible_area > 1e-6)",
        why="An area above 0 is something, however small the box was.",
        caught_by="test_a_box_smaller_than_a_pixel_is_judged_by_its_own_area",
    ),
    Mistake(
        name="area_of_at_least_one",
        find="(visible_area >= min_visibility * area)",
        replace="(visible_area >= min_visibility * area.clamp(min=1))",
        why="A box may be smaller than a pixel, or coordinates may be fractions of the image.",
        caught_by="test_a_box_smaller_than_a_pixel_is_judged_by_its_own_area",
    ),
]

ON_THE_CPU = "a generator lives on the CPU unless it was made for a GPU, and so does randint by default"
EQUIVALENT = {
    "random_crop_with_boxes: torch.randint(height - crop_height + 1, (), generator=generator, device=generator.device)"
    " → torch.randint(height - crop_height + 1, (), generator=generator)": ON_THE_CPU,
    "random_crop_with_boxes: torch.randint(width - crop_width + 1, (), generator=generator, device=generator.device)"
    " → torch.randint(width - crop_width + 1, (), generator=generator)": ON_THE_CPU,
    "resize_with_boxes: F.interpolate(image[None], size=size, mode='bilinear', align_corners=False, antialias=True)"
    " → F.interpolate(image[None], size=size, mode='bilinear', antialias=True)": "corners are not aligned by default",
}
