"""Wrong sample metrics that real people write."""

from tests.mistakes import Mistake

ENERGY = "return 2 * _distances(x, y).mean() - _distances(x, x).mean() - _distances(y, y).mean()"
BIASED = "return within_x.mean() + within_y.mean() - 2 * between.mean()"
UNBIASED = "return _mean_off_diagonal(within_x) + _mean_off_diagonal(within_y) - 2 * between.mean()"
KERNEL = "torch.exp(-(_distances(a, b) ** 2) / (2 * bandwidth**2))"
MEAN_OFF = "return (kernel.sum() - kernel.trace()) / (n * (n - 1))"
TRACES = "traces = covariance1.trace() + covariance2.trace() - 2 * singular_values.sum()"
ROOTS = "torch.linalg.svdvals(_symmetric_root(covariance1) @ _symmetric_root(covariance2))"
NORM = 'return torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist")'

MISTAKES = [
    Mistake(
        name="distance_between_counted_once",
        find=ENERGY,
        replace="return _distances(x, y).mean() - _distances(x, x).mean() - _distances(y, y).mean()",
        why="Twice the distance between the sets stands against the distances within both.",
        caught_by="test_the_energy_distance_counts_all_pairs",
    ),
    Mistake(
        name="half_the_energy_distance",
        find=ENERGY,
        replace="return _distances(x, y).mean() - _distances(x, x).mean() / 2 - _distances(y, y).mean() / 2",
        why="Another convention: this is half of what the docstring promises.",
        caught_by="test_the_energy_distance_counts_all_pairs",
    ),
    Mistake(
        name="root_of_the_energy_distance",
        find=ENERGY,
        replace="return (2 * _distances(x, y).mean() - _distances(x, x).mean() - _distances(y, y).mean()).clamp(min=0).sqrt()",
        why="scipy returns the root of it; here it is the squared distance itself.",
        caught_by="test_the_energy_distance_counts_all_pairs",
    ),
    Mistake(
        name="energy_distance_without_self_pairs",
        find=ENERGY,
        replace=(
            "return 2 * _distances(x, y).mean() - _distances(x, x).sum() / max(1, len(x) * (len(x) - 1))"
            " - _distances(y, y).sum() / max(1, len(y) * (len(y) - 1))"
        ),
        why="The V-statistic pairs a sample with itself, too; without, the distance can be negative.",
        caught_by="test_the_energy_distance_counts_all_pairs",
    ),
    Mistake(
        name="one_of_the_sets_twice",
        find=ENERGY,
        replace="return 2 * (_distances(x, y).mean() - _distances(x, x).mean())",
        why="Each set has its own spread; the second one is not to be forgotten.",
        caught_by="test_the_energy_distance_counts_all_pairs",
    ),
    Mistake(
        name="squared_distances",
        find=ENERGY,
        replace=(
            "return 2 * (_distances(x, y) ** 2).mean() - (_distances(x, x) ** 2).mean()"
            " - (_distances(y, y) ** 2).mean()"
        ),
        why="With squared norms only the means are compared: sets of different spread would be 0 apart.",
        caught_by="test_the_energy_distance_counts_all_pairs",
    ),
    Mistake(
        name="sum_of_the_coordinates",
        find=NORM,
        replace='return torch.cdist(x, y, p=1, compute_mode="donot_use_mm_for_euclid_dist")',
        why="The norm is the Euclidean one, which knows no direction.",
        caught_by="test_distances_are_euclidean",
    ),
    Mistake(
        name="sample_by_sample",
        find=ENERGY,
        replace=(
            "n = min(len(x), len(y))\n"
            "    return 2 * (x[:n] - y[:n]).norm(dim=1).mean() - _distances(x, x).mean() - _distances(y, y).mean()"
        ),
        why="Samples have no partner: all pairs count.",
        caught_by="test_the_energy_distance_counts_all_pairs",
    ),
    Mistake(
        name="empty_sets_accepted",
        find="if len(samples) < at_least:",
        replace="if False:",
        why="The mean over no pairs is NaN, and nobody would know why.",
        caught_by="test_sets_that_are_too_small_are_refused",
    ),
    Mistake(
        name="a_single_sample_in_the_unbiased_one",
        find="_check(x, y, at_least=2)",
        replace="_check(x, y, at_least=1)",
        why="A single sample has no other one: the mean within is 0 / 0.",
        caught_by="test_sets_that_are_too_small_are_refused",
    ),
    Mistake(
        name="kernel_without_the_two",
        find=KERNEL,
        replace="torch.exp(-(_distances(a, b) ** 2) / bandwidth**2)",
        why="The bandwidth is the standard deviation of the kernel: |x - y|² / (2 bandwidth²).",
        caught_by="test_distances_are_euclidean",
    ),
    Mistake(
        name="bandwidth_not_squared",
        find=KERNEL,
        replace="torch.exp(-(_distances(a, b) ** 2) / (2 * bandwidth))",
        why="The bandwidth is a length; it is squared as the distance is.",
        caught_by="test_distances_are_euclidean",
    ),
    Mistake(
        name="gamma_for_bandwidth",
        find=KERNEL,
        replace="torch.exp(-(_distances(a, b) ** 2) * bandwidth)",
        why="scikit-learn's gamma is 1 / (2 bandwidth²): it gets smaller as the bandwidth grows.",
        caught_by="test_distances_are_euclidean",
    ),
    Mistake(
        name="laplace_kernel",
        find=KERNEL,
        replace="torch.exp(-_distances(a, b) / (2 * bandwidth**2))",
        why="The distance in the exponent is squared.",
        caught_by="test_distances_are_euclidean",
    ),
    Mistake(
        name="between_counted_once",
        find=BIASED,
        replace="return within_x.mean() + within_y.mean() - between.mean()",
        why="What is between the sets counts twice; otherwise equal sets are not 0 apart.",
        caught_by="test_equal_sets_are_0_apart",
    ),
    Mistake(
        name="root_of_the_discrepancy",
        find=BIASED,
        replace="return (within_x.mean() + within_y.mean() - 2 * between.mean()).clamp(min=0).sqrt()",
        why="The squared discrepancy is promised.",
        caught_by="test_distances_are_euclidean",
    ),
    Mistake(
        name="unbiased_called_biased",
        find=BIASED,
        replace="return _mean_off_diagonal(within_x) + _mean_off_diagonal(within_y) - 2 * between.mean()",
        why="The biased one pairs a sample with itself, too.",
        caught_by="test_the_biased_discrepancy_agrees_with_the_definition",
    ),
    Mistake(
        name="biased_called_unbiased",
        find=UNBIASED,
        replace="return within_x.mean() + within_y.mean() - 2 * between.mean()",
        why="A sample and itself are always alike: with such pairs two sets from one distribution seem to differ.",
        caught_by="test_the_unbiased_discrepancy_leaves_a_sample_and_itself_out",
    ),
    Mistake(
        name="cut_at_zero",
        find=UNBIASED,
        replace=(
            "return (_mean_off_diagonal(within_x) + _mean_off_diagonal(within_y) - 2 * between.mean()).clamp(min=0)"
        ),
        why="Unbiased values scatter around 0; cut there, their average is above it.",
        caught_by="test_the_unbiased_discrepancy_leaves_a_sample_and_itself_out",
    ),
    Mistake(
        name="diagonal_left_out_but_counted",
        find=MEAN_OFF,
        replace="return (kernel.sum() - kernel.trace()) / (n * n)",
        why="Of n² pairs n are left out: n (n - 1) remain.",
        caught_by="test_the_unbiased_discrepancy_leaves_a_sample_and_itself_out",
    ),
    Mistake(
        name="diagonal_counted_but_left_out",
        find=MEAN_OFF,
        replace="return kernel.sum() / (n * (n - 1))",
        why="The pairs of a sample and itself must go from the sum, too.",
        caught_by="test_the_unbiased_discrepancy_leaves_a_sample_and_itself_out",
    ),
    Mistake(
        name="any_bandwidth_accepted",
        find="if not bandwidth > 0:",
        replace="if bandwidth == 0:",
        why="A negative length is a mistake of the caller that squaring would hide.",
        caught_by="test_a_bandwidth_that_is_not_positive_is_refused",
    ),
    Mistake(
        name="distance_of_the_means_not_squared",
        find="return ((mean1 - mean2) ** 2).sum() + traces",
        replace="return (mean1 - mean2).norm() + traces",
        why="The Fréchet distance here is a squared length, in both of its parts.",
        caught_by="test_the_frechet_distance_of_two_numbers",
    ),
    Mistake(
        name="means_forgotten",
        find="return ((mean1 - mean2) ** 2).sum() + traces",
        replace="return traces",
        why="Two sets of the same shape in different places are not equal.",
        caught_by="test_the_frechet_distance_of_two_numbers",
    ),
    Mistake(
        name="mean_over_the_features",
        find="return ((mean1 - mean2) ** 2).sum() + traces",
        replace="return ((mean1 - mean2) ** 2).mean() + traces",
        why="A distance sums over the features.",
        caught_by="test_along_common_axes_it_compares_means_and_standard_deviations",
    ),
    Mistake(
        name="root_of_the_product_counted_once",
        find=TRACES,
        replace="traces = covariance1.trace() + covariance2.trace() - singular_values.sum()",
        why="Of the root of the product two are taken away: (s1 - s2)² = s1² + s2² - 2 s1 s2.",
        caught_by="test_the_frechet_distance_of_two_numbers",
    ),
    Mistake(
        name="product_without_its_root",
        find=ROOTS,
        replace="torch.linalg.svdvals(covariance1 @ covariance2)",
        why="Of the product of two covariances the root is needed: s1² s2² has the wrong unit.",
        caught_by="test_the_frechet_distance_of_two_numbers",
    ),
    Mistake(
        name="trace_of_the_product_of_roots",
        find=ROOTS,
        replace="(_symmetric_root(covariance1) @ _symmetric_root(covariance2)).trace()[None]",
        why="Only for covariances with common axes is the root of a product the product of the roots.",
        caught_by="test_in_the_plane_it_agrees_with_the_closed_form",
    ),
    Mistake(
        name="root_element_by_element",
        find=ROOTS,
        replace="(covariance1 @ covariance2).clamp(min=0).sqrt().trace()[None]",
        why="The root of a matrix is not the matrix of the roots.",
        caught_by="test_along_common_axes_it_compares_means_and_standard_deviations",
    ),
    Mistake(
        name="variances_only",
        find=ROOTS,
        replace="(covariance1.diagonal() * covariance2.diagonal()).sqrt()",
        why="Correlated features are not independent ones: turning both sets must change nothing.",
        caught_by="test_along_common_axes_it_compares_means_and_standard_deviations",
    ),
    Mistake(
        name="cholesky_factors",
        find=ROOTS,
        replace="torch.linalg.svdvals(torch.linalg.cholesky(covariance1).mT @ torch.linalg.cholesky(covariance2))",
        why="Right for covariances of full rank; of fewer images than features there is no Cholesky factor.",
        caught_by="test_covariances_may_be_singular",
    ),
    Mistake(
        name="negative_eigenvalues",
        find="eigenvalues.clamp(min=0).sqrt()",
        replace="eigenvalues.sqrt()",
        why="An eigenvalue of 0 may come out as -1e-17, and its root is NaN.",
        caught_by="test_covariances_may_be_singular",
    ),
    Mistake(
        name="regularised",
        find="eigenvalues.clamp(min=0).sqrt()",
        replace="eigenvalues.clamp(min=1e-3).sqrt()",
        why="Something added to the diagonal makes singular covariances differ from what they are.",
        caught_by="test_covariances_may_be_singular",
    ),
    Mistake(
        name="first_rows_alone",
        find="    return torch.cdist(x, y, compute_mode",
        replace="    return torch.cdist(x[:1000], y[:1000], compute_mode",
        why="A thousand rows are a sample of the set, and the means run over all pairs.",
        caught_by="test_every_pair_and_every_column_counts_in_large_sets_too",
    ),
    Mistake(
        name="narrow_directions_dropped",
        find="    singular_values = torch.linalg.svdvals(_symmetric_root(covariance1) @ _symmetric_root(covariance2))\n",
        replace="    singular_values = torch.linalg.svdvals(_symmetric_root(covariance1) @ _symmetric_root(covariance2))\n    singular_values = singular_values.where(singular_values > 1e-6 * singular_values.max(), 0)\n",
        why="A narrow direction has its share in the distance, too.",
        caught_by="test_tiny_variances_count",
    ),
    Mistake(
        name="first_columns_only",
        find="    return torch.cdist(x, y, compute_mode",
        replace="    x, y = x[:, :64], y[:, :64]\n    return torch.cdist(x, y, compute_mode",
        why="Features of a network have hundreds of columns, and all of them count.",
        caught_by="test_every_pair_and_every_column_counts_in_large_sets_too",
    ),
    Mistake(
        name="kernels_of_a_part_of_the_samples",
        find="    pairs = ((x, x), (y, y), (x, y))\n",
        replace="    x, y = x[:256], y[:256]\n    pairs = ((x, x), (y, y), (x, y))\n",
        why="All pairs were promised; a part of them is another, noisier number.",
        caught_by="test_every_pair_and_every_column_counts_in_large_sets_too",
    ),
]

EQUIVALENT = {
    "_distances: torch.cdist(x, y, compute_mode='donot_use_mm_for_euclid_dist') → torch.cdist(x, y)": (
        "Through |x|² + |y|² - 2 x · y half of the digits are lost, which the spec lets pass: a fair way."
    ),
    "_kernels: torch.exp → torch.expm1": "The -1 cancels: 1 + 1 - 2.",
}
