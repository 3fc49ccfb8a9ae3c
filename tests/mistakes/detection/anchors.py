"""Wrong anchors that real people write."""

from tests.mistakes import Mistake

MISTAKES = [
    Mistake(
        name="ratio_is_width_over_height",
        find="(0.5 * size * scale / math.sqrt(ratio), 0.5 * size * scale * math.sqrt(ratio))",
        replace="(0.5 * size * scale * math.sqrt(ratio), 0.5 * size * scale / math.sqrt(ratio))",
        why="An aspect ratio is height / width here, as in torchvision: inverted, tall objects get wide anchors.",
        caught_by="test_an_aspect_ratio_is_height_over_width",
    ),
    Mistake(
        name="area_grows_with_the_ratio",
        find="(0.5 * size * scale / math.sqrt(ratio), 0.5 * size * scale * math.sqrt(ratio))",
        replace="(0.5 * size * scale, 0.5 * size * scale * ratio)",
        why="The ratio changes the shape at equal area; scaling only the height makes tall anchors larger too.",
        caught_by="test_area_depends_on_the_scale_and_shape_on_the_ratio",
    ),
    Mistake(
        name="ratio_without_the_square_root",
        find="(0.5 * size * scale / math.sqrt(ratio), 0.5 * size * scale * math.sqrt(ratio))",
        replace="(0.5 * size * scale / ratio, 0.5 * size * scale * ratio)",
        why="Dividing the width and multiplying the height by the ratio makes height / width the ratio squared.",
        caught_by="test_area_depends_on_the_scale_and_shape_on_the_ratio",
    ),
    Mistake(
        name="full_sizes_taken_for_half_sizes",
        find="(0.5 * size * scale / math.sqrt(ratio), 0.5 * size * scale * math.sqrt(ratio))",
        replace="(size * scale / math.sqrt(ratio), size * scale * math.sqrt(ratio))",
        why="A box centred at 0 reaches half its width to either side; the full width doubles it.",
        caught_by="test_an_aspect_ratio_is_height_over_width",
    ),
    Mistake(
        name="shapes_rounded",
        find="dtype=torch.float32).reshape(-1, 4)",
        replace="dtype=torch.float32).reshape(-1, 4).round()",
        why="torchvision rounds its base anchors; small ones then differ from the size and ratio asked for.",
        caught_by="test_shapes_are_not_rounded",
    ),
    Mistake(
        name="scales_before_ratios",
        find="        for ratio in aspect_ratios\n        for scale in scales\n",
        replace="        for scale in scales\n        for ratio in aspect_ratios\n",
        why="The order is ratio-major; with another one, a trained head's outputs belong to other shapes.",
        caught_by="test_all_scales_of_the_first_ratio_come_first",
    ),
    Mistake(
        name="centred_on_the_cell_corner",
        find="device=base.device) + 0.5) * stride",
        replace="device=base.device)) * stride",
        why="Cell j covers pixels j * stride to (j + 1) * stride, so its middle is at (j + 0.5) * stride.",
        caught_by="test_anchors_are_centred_in_the_middle_of_their_cells",
    ),
    Mistake(
        name="half_a_pixel_instead_of_half_a_cell",
        find="device=base.device) + 0.5) * stride",
        replace="device=base.device) * stride + 0.5)",
        why="The offset of the centre is half a cell, stride / 2 pixels, not half a pixel.",
        caught_by="test_anchors_are_centred_in_the_middle_of_their_cells",
    ),
    Mistake(
        name="x_and_y_swapped",
        find="torch.stack((x, y, x, y), dim=-1)",
        replace="torch.stack((y, x, y, x), dim=-1)",
        why="Boxes are (x, y, x, y), but the indices of a feature map are (row, column), i.e. (y, x).",
        caught_by="test_anchors_are_centred_in_the_middle_of_their_cells",
    ),
    Mistake(
        name="feature_size_taken_for_width_height",
        find="    y, x = ((torch.arange",
        replace="    x, y = ((torch.arange",
        why="feature_size is (height, width), like a tensor's shape; on square maps nobody notices.",
        caught_by="test_anchors_are_centred_in_the_middle_of_their_cells",
    ),
    Mistake(
        name="column_after_column",
        find='indexing="ij"',
        replace='indexing="xy"',
        why="A head's output flattens row by row; going down the columns gives every score the wrong anchor.",
        caught_by="test_rows_then_columns_then_shapes",
    ),
    Mistake(
        name="shape_after_shape",
        find="return (centers + base).reshape(-1, 4)",
        replace="return (centers + base).transpose(0, 1).reshape(-1, 4)",
        why="All shapes of a cell lie next to each other; a whole grid per shape is the order of another head.",
        caught_by="test_rows_then_columns_then_shapes",
    ),
    Mistake(
        name="dtype_from_the_default",
        find="torch.arange(cells, dtype=base.dtype, device=base.device) + 0.5",
        replace="torch.arange(cells, device=base.device) + 0.5",
        why="An integer range plus 0.5 takes the default dtype, which need not be that of the base anchors.",
        caught_by="test_standing_laws",
    ),
    Mistake(
        name="shapes_in_the_default_dtype",
        find="torch.tensor(corners, dtype=torch.float32)",
        replace="torch.tensor(corners)",
        why="float32 is promised, whatever the default dtype of the program is.",
        caught_by="test_anchors_are_float32_whatever_the_default_dtype",
    ),
    Mistake(
        name="the_same_tensor_given_out_twice",
        find="    return torch.tensor(corners, dtype=torch.float32).reshape(-1, 4)",
        replace="    anchors = torch.tensor(corners, dtype=torch.float32).reshape(-1, 4)\n"
        "    return base_anchors.__dict__.setdefault(str(corners), anchors)",
        why="A cache must give copies: whoever moves its anchors in place moves them for all later calls.",
        caught_by="test_every_call_gives_anchors_of_its_own",
    ),
    Mistake(
        name="only_long_lists_refused",
        find="if len(values) != len(feature_sizes):",
        replace="if len(values) > len(feature_sizes):",
        why="A missing stride or size leaves a level without anchors, and zip says nothing.",
        caught_by="test_a_list_of_the_wrong_length_is_refused",
    ),
    Mistake(
        name="only_short_lists_refused",
        find="if len(values) != len(feature_sizes):",
        replace="if len(values) < len(feature_sizes):",
        why="A surplus stride or size says that the caller and the network disagree about the levels.",
        caught_by="test_a_list_of_the_wrong_length_is_refused",
    ),
    Mistake(
        name="levels_dropped_by_zip",
        find="if len(values) != len(feature_sizes):",
        replace="if False:",
        why="zip stops at the shortest list: a forgotten stride silently takes a pyramid level away.",
        caught_by="test_a_list_of_the_wrong_length_is_refused",
    ),
    Mistake(
        name="scales_of_half_octaves",
        find="(1.0, 2 ** (1 / 3), 2 ** (2 / 3))",
        replace="(1.0, 2 ** (1 / 2), 2)",
        why="RetinaNet's three scales divide an octave evenly; a scale of 2 repeats the next level's first.",
        caught_by="test_the_default_shapes_are_those_of_retinanet",
    ),
]

EQUIVALENT = {
    "base_anchors: torch.tensor(corners, dtype=torch.float32) → torch.tensor(corners)": "float32 is the default",
    "grid_anchors: torch.meshgrid(y, x, indexing='ij') → torch.meshgrid(y, x)": "'ij' is the default (with a warning)",
}
