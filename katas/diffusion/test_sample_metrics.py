"""sample_metrics: energy distance, maximum mean discrepancy and Fréchet distance of two sets of samples.

All of them are squared distances. Biased means that a sample is paired with itself too, unbiased that it is
not. The Fréchet distance takes means and covariances, which may be singular. Out of scope: gradients, choice
of the bandwidth, sets too large for all pairs at once.
"""

import itertools
import math

import numpy as np
import pytest
import scipy.linalg
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from katas.diffusion.sample_metrics import (
    energy_distance,
    frechet_distance,
    mmd_rbf_biased,
    mmd_rbf_unbiased,
)
from katas.lab.expect import expect_close
from katas.lab.laws import STANDING_LAWS
from katas.lab.strategies import seeds, tensors

# Samples that coincide may come out √(2e-16 · |x|²) apart where |x|² + |y|² - 2 x · y was used: a fair way.
HALF_THE_DIGITS = {"atol": 1e-5, "rtol": 1e-7}
bandwidths = st.sampled_from([0.3, 1, 2.5])


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=rng(seed), dtype=torch.float64)


def column(*numbers):
    return torch.tensor(numbers, dtype=torch.float64)[:, None]


def number(value):
    return torch.tensor(value, dtype=torch.float64)


def two_sets(at_least=1):
    """Two sets of different sizes in 1 to 3 dimensions."""
    rows = st.integers(at_least, 5)
    return st.integers(1, 3).flatmap(lambda dim: st.tuples(tensors(rows, dim), tensors(rows, dim)))


def orthogonal(dim, seed):
    return torch.linalg.qr(randn(dim, dim, seed=seed)).Q


def kernel(a, b, bandwidth):
    return math.exp(-(math.dist(a, b) ** 2) / (2 * bandwidth**2))


def mean_over_pairs(function, xs, ys):
    return sum(function(a, b) for a in xs for b in ys) / (len(xs) * len(ys))


def mean_over_others(function, xs):
    pairs = list(itertools.permutations(xs, 2))
    return sum(function(a, b) for a, b in pairs) / len(pairs)


# --- worked examples ----------------------------------------------------------------------------------------


def test_the_energy_distance_counts_all_pairs():
    # {0, 1} and {3}: 2 · (3 + 2)/2 - (0 + 1 + 1 + 0)/4 - 0 = 4.5
    got = energy_distance(column(0, 1), column(3))
    expect_close(got, 4.5, "2 E|x - y| - E|x - x'| - E|y - y'|, each sample paired with itself too")


def test_distances_are_euclidean():
    x, y = torch.zeros(1, 2, dtype=torch.float64), torch.tensor([[3.0, 4.0]], dtype=torch.float64)
    expect_close(energy_distance(x, y), 10.0, "one sample each: 2 |x - y|, which is 5 from (0, 0) to (3, 4)")
    # k = exp(-25 / (2 · 5²)) = exp(-1/2), and 1 + 1 - 2 k
    expected = 2 - 2 * math.exp(-0.5)
    expect_close(mmd_rbf_biased(x, y, bandwidth=5), expected, "k = exp(-|x - y|² / (2 bandwidth²))")


def test_the_unbiased_discrepancy_leaves_a_sample_and_itself_out():
    # {0, 1} and {0, 2}: k(0, 1) + k(0, 2) - 2 · (k(0, 0) + k(0, 2) + k(1, 0) + k(1, 2)) / 4
    #   = e^(-1/2) + e^(-2) - (1 + e^(-2) + 2 e^(-1/2)) / 2 = (e^(-2) - 1) / 2, which is below 0
    got = mmd_rbf_unbiased(column(0, 1), column(0, 2), bandwidth=1)
    expect_close(got, (math.exp(-2) - 1) / 2, "within a set no sample with itself, between sets all pairs")


def test_the_frechet_distance_of_two_numbers():
    # (1 - 4)² + (2 - 3)², for the standard deviations 2 and 3
    got = frechet_distance(*(torch.tensor(a).double() for a in ([1], [[4]], [4], [[9]])))
    expect_close(got, 10.0, "squared difference of the means + squared difference of the standard deviations")


# --- energy distance and discrepancy ------------------------------------------------------------------------


@given(two_sets())
def test_the_energy_distance_agrees_with_the_definition(sets):
    x, y = (each.tolist() for each in sets)
    between, *within = (mean_over_pairs(math.dist, a, b) for a, b in ((x, y), (x, x), (y, y)))
    expect_close(energy_distance(*sets), number(2 * between - sum(within)), "over all pairs", **HALF_THE_DIGITS)


@given(tensors(st.integers(1, 6), 1), tensors(st.integers(1, 6), 1))
def test_in_one_dimension_it_is_the_square_of_scipys(x, y):
    expected = scipy.stats.energy_distance(x[:, 0].numpy(), y[:, 0].numpy()) ** 2
    got = energy_distance(x, y)
    expect_close(got, number(expected), "scipy returns the square root of the same", **HALF_THE_DIGITS)


@given(two_sets(), bandwidths)
def test_the_biased_discrepancy_agrees_with_the_definition(sets, bandwidth):
    x, y = (each.tolist() for each in sets)
    within_x, within_y, between = (
        mean_over_pairs(lambda a, b: kernel(a, b, bandwidth), *pair) for pair in ((x, x), (y, y), (x, y))
    )
    got = mmd_rbf_biased(*sets, bandwidth=bandwidth)
    expect_close(got, number(within_x + within_y - 2 * between), "over all pairs, a sample with itself too")


@given(two_sets(at_least=2), bandwidths)
def test_the_unbiased_discrepancy_agrees_with_the_definition(sets, bandwidth):
    def k(a, b):
        return kernel(a, b, bandwidth)

    x, y = (each.tolist() for each in sets)
    expected = mean_over_others(k, x) + mean_over_others(k, y) - 2 * mean_over_pairs(k, x, y)
    got = mmd_rbf_unbiased(*sets, bandwidth=bandwidth)
    expect_close(got, number(expected), "within a set over pairs of two samples, between the sets over all")


def test_the_unbiased_discrepancy_of_one_distribution_is_0_on_average():
    draws = ((randn(3, 1, seed=seed), randn(5, 1, seed=seed + 10_000)) for seed in range(1000))
    values = torch.stack([mmd_rbf_unbiased(x, y, bandwidth=1) for x, y in draws])
    # The mean of 1000 values has a standard error of about 0.007; 6 of them: wrongly refused with probability
    # 2e-9. The biased one has the mean (1 - 1/√3) (1/3 + 1/5) = 0.23.
    expect_close(values.mean(), 0.0, "sets of 3 and of 5 from one distribution", atol=0.042, rtol=0)
    assert values.min() < -0.1, f"unbiased values scatter around 0: some are negative, not all > {values.min()}"


METRICS = [energy_distance, mmd_rbf_biased, mmd_rbf_unbiased]


def measure(metric, x, y, scale=1.0):
    return metric(x, y) if metric is energy_distance else metric(x, y, bandwidth=1.5 * scale)


@pytest.mark.parametrize("metric", METRICS)
@settings(max_examples=20)
@given(two_sets(at_least=2), seeds())
def test_motions_and_exchange_change_nothing(metric, sets, seed):
    x, y = sets
    expected = measure(metric, x, y)
    turn = orthogonal(x.shape[1], seed)
    same = {
        "the two sets exchanged": (y, x),
        "both sets moved by the same vector": (x + 2, y + 2),
        "both sets turned together": (x @ turn, y @ turn),
        "one set in another order": (x.flip(0), y),
    }
    for law, (other_x, other_y) in same.items():
        expect_close(measure(metric, other_x, other_y), expected, law, **HALF_THE_DIGITS)


@settings(max_examples=20)
@given(two_sets(at_least=2), st.sampled_from([0.1, 3]))
def test_the_unit_of_length_matters_as_promised(sets, scale):
    x, y = sets
    got = energy_distance(scale * x, scale * y)
    expected = scale * energy_distance(x, y)
    expect_close(got, expected, "the energy distance is in units of length", **HALF_THE_DIGITS)
    for metric in (mmd_rbf_biased, mmd_rbf_unbiased):
        got = measure(metric, scale * x, scale * y, scale)
        expect_close(got, measure(metric, x, y), "the bandwidth is in units of length")


@pytest.mark.parametrize("metric", [energy_distance, mmd_rbf_biased])
def test_equal_sets_are_0_apart(metric):
    x = randn(40, 3, seed=1)
    twice = torch.cat((x, x.flip(0)))  # the same distribution
    expect_close(measure(metric, x, x.clone()), 0.0, "a set and itself")
    expect_close(measure(metric, x, twice), 0.0, "a set and itself with every sample twice, in another order")


@pytest.mark.parametrize("metric", [energy_distance, mmd_rbf_biased])
@settings(max_examples=20)
@given(two_sets())
def test_biased_distances_are_never_negative(metric, sets):
    value = measure(metric, *sets).item()
    assert value > -1e-5, f"with a sample paired with itself too, the distance is at least 0; got {value}"


@pytest.mark.parametrize("metric, least", [(energy_distance, 1), (mmd_rbf_biased, 1), (mmd_rbf_unbiased, 2)])
def test_sets_that_are_too_small_are_refused(metric, least):
    enough, too_few = randn(least, 2), randn(least - 1, 2)
    with pytest.raises(ValueError, match=r"\bx\b"):
        measure(metric, too_few, enough)
    with pytest.raises(ValueError, match=r"\by\b"):
        measure(metric, enough, too_few)
    assert measure(metric, enough, enough + 1).isfinite(), f"{least} rows are enough"


@pytest.mark.parametrize("metric", [mmd_rbf_biased, mmd_rbf_unbiased])
@pytest.mark.parametrize("bad", [0, -1.5])
def test_a_bandwidth_that_is_not_positive_is_refused(metric, bad):
    with pytest.raises(ValueError, match="bandwidth"):
        metric(randn(2, 2), randn(3, 2), bandwidth=bad)


# --- Fréchet distance ---------------------------------------------------------------------------------------


def gaussian(dim, seed, rank=None):
    """A mean, and a covariance of the given rank (full, and far from singular, if none is given)."""
    factor = randn(dim, rank or dim, seed=seed)
    covariance = factor @ factor.T + (0.0 if rank else 0.5) * torch.eye(dim, dtype=torch.float64)
    return randn(dim, seed=seed + 1), covariance


@settings(max_examples=20)
@given(tensors(2, 3, low=-5, high=5), tensors(2, 3, low=0.0625, high=9), seeds())
def test_along_common_axes_it_compares_means_and_standard_deviations(means, variances, seed):
    axes = orthogonal(3, seed)
    first, second = ((mean, axes @ v.diag() @ axes.T) for mean, v in zip(means, variances, strict=True))
    expected = sum(
        (a - b) ** 2 + (math.sqrt(v) - math.sqrt(w)) ** 2
        for a, b, v, w in zip(*means.tolist(), *variances.tolist(), strict=True)
    )
    expect_close(frechet_distance(*first, *second), number(expected), "|m1 - m2|² + Σ (sd1 - sd2)²")


@settings(max_examples=20)
@given(seeds(), seeds())
def test_in_the_plane_it_agrees_with_the_closed_form(seed1, seed2):
    (m1, c1), (m2, c2) = gaussian(2, seed1), gaussian(2, seed2)
    # the root of a 2 × 2 matrix has the trace √(trace + 2 √determinant)
    root = math.sqrt(float((c1 @ c2).trace()) + 2 * math.sqrt(float(c1.det() * c2.det())))
    expected = float(((m1 - m2) ** 2).sum() + c1.trace() + c2.trace()) - 2 * root
    expect_close(frechet_distance(m1, c1, m2, c2), number(expected), "covariances that do not commute")


@pytest.mark.parametrize("seed", range(5))
def test_it_agrees_with_the_matrix_root_of_scipy(seed):
    (m1, c1), (m2, c2) = gaussian(4, seed), gaussian(4, seed + 100)
    root = np.trace(scipy.linalg.sqrtm((c1 @ c2).numpy())).real
    expected = float(((m1 - m2) ** 2).sum() + c1.trace() + c2.trace()) - 2 * root
    expect_close(frechet_distance(m1, c1, m2, c2), number(expected), "the root of the product of matrices")


@settings(max_examples=20)
@given(seeds(), seeds(), st.sampled_from([0.1, 3]))
def test_laws_of_the_frechet_distance(seed1, seed2, scale):
    (m1, c1), (m2, c2) = gaussian(4, seed1), gaussian(4, seed2)
    expected, turn = frechet_distance(m1, c1, m2, c2), orthogonal(4, seed1)
    expect_close(frechet_distance(m2, c2, m1, c1), expected, "it is symmetric")
    got = frechet_distance(turn @ m1, turn @ c1 @ turn.T, turn @ m2, turn @ c2 @ turn.T)
    expect_close(got, expected, "turning both Gaussians changes nothing")
    got = frechet_distance(scale * m1, scale**2 * c1, scale * m2, scale**2 * c2)
    expect_close(got, scale**2 * expected, "it is in units of length squared")
    expect_close(frechet_distance(m1, c1, m1, c1), 0.0, "equal Gaussians", atol=1e-6, rtol=0)


# √(2e-16) for each of 5 dimensions, times variances up to 12
SQUARE_ROOT_OF_ROUNDING = {"atol": 1e-6, "rtol": 0}


@pytest.mark.parametrize("seed", range(5))
def test_covariances_may_be_singular(seed):
    mean, (_, flat), (_, full) = randn(5, seed=9), gaussian(5, seed, rank=1), gaussian(5, seed)
    got = frechet_distance(mean, flat, mean, flat)
    expect_close(got, 0.0, "equal covariances of rank 1", **SQUARE_ROOT_OF_ROUNDING)
    got = frechet_distance(mean, flat, mean, 4 * flat)
    expect_close(got, flat.trace(), "twice the standard deviation along one line", **SQUARE_ROOT_OF_ROUNDING)
    along = torch.linalg.eigh(flat).eigenvectors[:, -1]
    expected = flat.trace() + full.trace() - 2 * (flat.trace() * (along @ full @ along)).sqrt()
    got = frechet_distance(mean, flat, mean, full)
    expect_close(got, expected, "one covariance of rank 1 and one of full rank", **SQUARE_ROOT_OF_ROUNDING)


def test_a_point_has_a_covariance_of_0():
    (m1, c1), m2, c2 = gaussian(3, 1), randn(3, seed=5), torch.zeros(3, 3, dtype=torch.float64)
    expected = ((m1 - m2) ** 2).sum() + c1.trace()
    expect_close(frechet_distance(m1, c1, m2, c2), expected, "the mean squared distance to the point")


@pytest.mark.parametrize("seed", range(5))
def test_singular_covariances_give_a_number_in_float32_too(seed):
    mean, (_, flat) = torch.zeros(5), gaussian(5, seed, rank=2)
    got = frechet_distance(mean, flat.float(), mean, 4 * flat.float())
    # √(1e-7) for each of 5 dimensions: 2e-3 of the variance
    expect_close(got, flat.trace().float(), "twice the standard deviation", atol=0.0, rtol=1e-2)


# --- everywhere ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("law", STANDING_LAWS[:5])
def test_standing_laws(law):
    for metric in METRICS:
        law(measure, metric, randn(3, 2), randn(5, 2, seed=1))
    law(frechet_distance, *gaussian(3, 1), *gaussian(3, 2))


def test_tiny_variances_count():
    first, second = (torch.diag(torch.tensor([1.0, v], dtype=torch.float64)) for v in (1e-8, 4e-8))
    mean = torch.zeros(2, dtype=torch.float64)
    got = frechet_distance(mean, first, mean, second)
    expect_close(got, 1e-8, "(1e-4 - 2e-4)²: no direction is dropped for being narrow", rtol=1e-3, atol=0)


@pytest.mark.parametrize("n, m, dim", [(300, 1200, 2), (40, 60, 100)])
def test_every_pair_and_every_column_counts_in_large_sets_too(n, m, dim):
    x, y = randn(n, dim), randn(m, dim, seed=1)
    distances = [
        torch.from_numpy(scipy.spatial.distance.cdist(a.numpy(), b.numpy())) for a, b in ((x, x), (y, y), (x, y))
    ]
    d_xx, d_yy, d_xy = (d.mean() for d in distances)
    expect_close(energy_distance(x, y), 2 * d_xy - d_xx - d_yy, "means over all pairs", **HALF_THE_DIGITS)
    width = dim**0.5
    k_xx, k_yy, k_xy = (torch.exp(-(d**2) / (2 * width**2)) for d in distances)
    biased = k_xx.mean() + k_yy.mean() - 2 * k_xy.mean()
    expect_close(mmd_rbf_biased(x, y, bandwidth=width), biased, "means over all pairs", rtol=1e-5, atol=1e-9)
    without = [(k.sum() - len(k)) / (len(k) * (len(k) - 1)) for k in (k_xx, k_yy)]
    unbiased = sum(without) - 2 * k_xy.mean()
    expect_close(mmd_rbf_unbiased(x, y, bandwidth=width), unbiased, "means over all pairs", rtol=1e-5, atol=1e-9)
