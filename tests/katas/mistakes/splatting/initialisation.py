"""Wrong initialisations that people write."""

from tests.katas.mistakes import Mistake

SIZES = "test_sizes_by_hand"
COLORS = "test_colors_and_opacities_by_hand"
MANY = "test_many_points_need_no_large_matrix"
TRAINED = "test_what_comes_back_can_be_trained"
REFUSED = "test_numbers_out_of_range_are_refused"
CDIST = 'torch.cdist(some, points, compute_mode="donot_use_mm_for_euclid_dist")'

MISTAKES = [
    Mistake("the_point_is_its_own_neighbour", SIZES,
            why="The nearest point of all is the point itself, at distance 0: take the three others.",
            find="values[:, 1:].square()",
            replace="values[:, : max(nearest - 1, 1)].square()"),
    Mistake("points_at_the_same_place_left_out", SIZES,
            why="A point at the same place is another point, and its distance of 0 counts.",
            find="        squares = distances.topk",
            replace="        distances = distances.masked_fill(distances == 0, 1e30)\n"
                    "        distances[:, 0] = torch.where(distances.min(1).values > 1e29, 0, distances[:, 0])\n"
                    "        distances = torch.cat([torch.zeros_like(distances[:, :1]), distances], dim=1)\n"
                    "        squares = distances.topk"),
    Mistake("mean_of_distances", SIZES,
            why="The size is the root of the mean square; the mean of the distances is smaller.",
            find="        means.append(squares.sum(1) / max(nearest - 1, 1))",
            replace="        means.append((squares.sqrt().sum(1) / max(nearest - 1, 1)).square())"),
    Mistake("the_nearest_alone", SIZES,
            why="One near neighbour says little about the gap: three are averaged.",
            find="nearest = min(len(points), 4)",
            replace="nearest = min(len(points), 2)"),
    Mistake("four_others", SIZES,
            why="Three others and the point itself are four.",
            find="nearest = min(len(points), 4)",
            replace="nearest = min(len(points), 5)"),
    Mistake("sizes_not_in_logarithms", SIZES,
            why="Gaussians hold logarithms of scales, so that every real number is a size.",
            find="0.5 * _mean_squares(points.double()).clamp(min=_LEAST_SQUARE).log()",
            replace="_mean_squares(points.double()).clamp(min=_LEAST_SQUARE).sqrt()"),
    Mistake("root_forgotten", SIZES,
            why="The logarithm of a square is twice that of the length.",
            find="0.5 * _mean_squares",
            replace="1.0 * _mean_squares"),
    Mistake("no_least_size", SIZES,
            why="Where four points stand at one place the size is 0, its logarithm -inf, and the run is lost.",
            find=".clamp(min=_LEAST_SQUARE).log()",
            replace=".log()"),
    Mistake("least_size_after_the_root", SIZES,
            why="1e-7 is the least square; as the least length it would be far too small.",
            find=".clamp(min=_LEAST_SQUARE).log()",
            replace=".clamp(min=_LEAST_SQUARE**2).log()"),
    Mistake("fails_with_few_points", SIZES,
            why="Three points have two others each: take those that there are.",
            find="nearest = min(len(points), 4)",
            replace="nearest = 4"),
    Mistake("missing_others_count_as_zero", SIZES,
            why="The mean over two others is a half of their sum, not a third.",
            find="squares.sum(1) / max(nearest - 1, 1)",
            replace="squares.sum(1) / 3"),
    Mistake("all_distances_at_once", MANY,
            why="The distances of 100,000 points to each other take 80 GB: a few rows at a time are enough.",
            find="points.split(max(_DISTANCES // max(len(points), 1), 1))",
            replace="[points]"),
    Mistake("digits_lost_far_from_the_origin", MANY,
            why="|p|² + |q|² - 2 pq is the difference of large numbers where the cloud is far from the origin.",
            find=CDIST,
            replace="torch.cdist(some.float(), points.float()).to(some)"),
    Mistake("color_as_coefficient", COLORS,
            why="The renderer shows 0.5 + C0 · sh[:, 0]: invert that.",
            find="(colors.double() - 0.5) / _C0",
            replace="colors.double()"),
    Mistake("coefficient_multiplied", COLORS,
            why="0.5 + C0 · sh = color is solved by dividing by C0.",
            find="(colors.double() - 0.5) / _C0",
            replace="(colors.double() - 0.5) * _C0"),
    Mistake("opacity_not_a_logit", COLORS,
            why="Gaussians hold logits: sigmoid(0.1) is an opacity of 0.52.",
            find="points.new_full((count,), logit)",
            replace="points.new_full((count,), initial_opacity)"),
    Mistake("quaternion_ends_with_w", COLORS,
            why="(w, x, y, z): no rotation is (1, 0, 0, 0); (0, 0, 0, 1) turns by 180 degrees.",
            find="quats[:, 0] = 1",
            replace="quats[:, 3] = 1"),
    Mistake("one_number_for_three_axes", TRAINED,
            why="expand shows one number three times: the axes could never get sizes of their own.",
            find=".repeat(1, 3)",
            replace=".expand(-1, 3)"),
    Mistake("means_are_the_points", TRAINED,
            why="Training moves the means, and would move the caller's points with them.",
            find="means=points.clone()",
            replace="means=points.detach()"),
    Mistake("opacity_of_one_accepted", REFUSED,
            why="The logit of 1 is infinite.",
            find="if not 0 < initial_opacity < 1:",
            replace="if not 0 < initial_opacity <= 1:"),
]

EQUIVALENT = {
    "_mean_squares: max(_DISTANCES // max(len(points), 1), 1) → min(_DISTANCES // max(len(points), 1), 1)":
        "row by row: slow, and right",
    "_mean_squares: max(_DISTANCES // max(len(points), 1), 1) → max(_DISTANCES // max(len(points), 1), 2)":
        "two rows at a time with more than two million points",
    "_mean_squares: max(len(points), 1) → max(len(points), 2)": "other pieces of a cloud of one point",
}
