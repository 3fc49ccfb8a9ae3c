"""sample_metrics: energy distance, maximum mean discrepancy and Fréchet distance of two sets of samples.

Checked against means over all pairs in Python floats, scipy's pairwise distances and scipy's matrix root. Out of scope:
gradients, the choice of the bandwidth, sets too large for all pairs at once.
"""

import itertools
import math
import statistics
from functools import partial

import numpy as np
import pytest
import scipy.linalg
import scipy.spatial
import torch
from hypothesis import given
from hypothesis import strategies as st

from katas.diffusion.sample_metrics import energy_distance, frechet_distance, mmd_rbf_biased, mmd_rbf_unbiased
from katas.lab.expect import expect_close, expect_refused
from katas.lab.laws import STANDING_LAWS, empty_batches_give_empty_results
from katas.lab.strategies import normal, seeds

tensor = partial(torch.tensor, dtype=torch.float64)
HALF_THE_DIGITS = 1e-5  # through |x|² + |y|² - 2 x · y, which is right too, equal samples are 1e-8 · |x| apart
UNITS = st.sampled_from([1e-3, 1, 1e4])


# --- the definition ---------------------------------------------------------------------------------------------------


def mean(function, pairs):
    return statistics.fmean(function(a, b) for a, b in pairs)


def energy(xs, ys):
    between, *within = (mean(math.dist, itertools.product(a, b)) for a, b in ((xs, ys), (xs, xs), (ys, ys)))
    return 2 * between - sum(within)


def discrepancy(xs, ys, bandwidth, biased):
    k = partial(mean, lambda a, b: math.exp(-(math.dist(a, b) ** 2) / (2 * bandwidth**2)))
    within = (lambda s: itertools.product(s, s)) if biased else (lambda s: itertools.permutations(s, 2))
    return k(within(xs)) + k(within(ys)) - 2 * k(itertools.product(xs, ys))


def frechet(m1, c1, m2, c2):
    root = np.trace(scipy.linalg.sqrtm((c1 @ c2).numpy())).real
    return float((m1 - m2).square().sum() + c1.trace() + c2.trace()) - 2 * root


def two_sets(seed, dim, rows=(3, 5)):
    return normal(rows[0], dim, seed=seed), 2 * normal(rows[1], dim, seed=seed + 1) + 0.5


def gaussian(dim, seed, rank=None):
    """A mean, and a covariance of the given rank (without one: full, and far from singular)."""
    factor = normal(dim, rank or dim, seed=seed)
    return normal(dim, seed=seed + 1), factor @ factor.T + (0 if rank else 0.5) * torch.eye(dim).double()


def orthogonal(dim, seed):
    return torch.linalg.qr(normal(dim, dim, seed=seed)).Q


# --- worked examples --------------------------------------------------------------------------------------------------


E_HALF, E_2 = math.exp(-0.5), math.exp(-2)  # kernels of bandwidth 1 at the distances 1 and 2


@pytest.mark.parametrize("law, fn, x, y, bandwidth, expected", [
    # 2 · (3 + 2) / 2 - (0 + 1 + 1 + 0) / 4 - 0
    ("2 E|x - y| - E|x - x'| - E|y - y'| over all pairs", energy_distance, [[0], [1]], [[3]], None, 4.5),
    # 2 · (1 + 3 + 5) / 3 - 0 - (4 · 2 + 2 · 4) / 9: the wider second set counts, over 9 pairs
    ("the second set has a spread of its own", energy_distance, [[0]], [[1], [3], [5]], {}, 6 - 16 / 9),
    ("2 |x - y|, Euclidean: 5 from (0, 0) to (3, 4)", energy_distance, [[0, 0]], [[3, 4]], None, 10),
    ("1 + 1 - 2 k with k = exp(-|x - y|² / (2 bandwidth²))", mmd_rbf_biased, [[0, 0]], [[3, 4]], 5, 2 - 2 * E_HALF),
    # (1 + e^(-1/2)) / 2 + 1 - 2 · (e^(-2) + e^(-1/2)) / 2
    ("E k(x, x') counts x' = x", mmd_rbf_biased, [[0], [1]], [[2]], 1, 1.5 - E_HALF / 2 - E_2),
    # e^(-1/2) + e^(-2) - 2 · (1 + e^(-2) + 2 e^(-1/2)) / 4
    ("E k(x, x') leaves x' = x out", mmd_rbf_unbiased, [[0], [1]], [[0], [2]], 1, (E_2 - 1) / 2),
    ("two equal samples are two samples", mmd_rbf_unbiased, [[0], [0]], [[1], [1]], 1, 2 - 2 * E_HALF),
])  # fmt: skip
def test_two_sets_by_hand(law, fn, x, y, bandwidth, expected):
    got = fn(x=tensor(x), y=tensor(y), **({"bandwidth": bandwidth} if bandwidth else {}))
    expect_close(got, tensor(expected), law)


@pytest.mark.parametrize("law, means, covariances, expected", [
    ("(1 - 4)² + (2 - 3)² of standard deviations 2 and 3", ([1], [4]), ([[4]], [[9]]), 10),
    ("a sum over the dimensions", ([1, 0], [4, 2]), ([[4, 0], [0, 1]], [[9, 0], [0, 25]]), 9 + 4 + 1 + 16),
    # C1 C2 has trace 19 and determinant 9, so its root has the trace √(19 + 2 · 3) = 5
    ("the root of a matrix", ([0, 0], [0, 0]), ([[1, 0], [0, 9]], [[1, 1], [1, 2]]), 13 - 2 * 5),
    ("to a point: the mean squared distance", ([1, 0], [4, 0]), ([[2, 1], [1, 3]], [[0, 0], [0, 0]]), 9 + 5),
    ("(1e-4 - 2e-4)²: narrow directions count", ([0, 0], [0, 0]), ([[1, 0], [0, 1e-8]], [[1, 0], [0, 4e-8]]), 1e-8),
])  # fmt: skip
def test_two_gaussians_by_hand(law, means, covariances, expected):
    (m1, m2), (c1, c2) = map(tensor, means), map(tensor, covariances)
    got = frechet_distance(mean1=m1, covariance1=c1, mean2=m2, covariance2=c2)
    expect_close(got, tensor(expected), law, rtol=1e-3 if expected < 1e-3 else 1e-7, atol=0)


# --- agreement with the definition ------------------------------------------------------------------------------------


@given(seeds(), st.integers(1, 5), st.integers(1, 5), st.integers(1, 4), UNITS)
def test_energy_distances_agree_with_the_definition(seed, n, m, dim, unit):
    x, y = two_sets(seed, dim, (n, m))
    expected = energy(x.tolist(), y.tolist()) * unit
    expect_close(energy_distance(unit * x, unit * y), tensor(expected), "over all pairs", atol=1e-6 * unit, rtol=1e-6)


@given(seeds(), st.integers(2, 5), st.integers(2, 5), st.integers(1, 4), UNITS, st.sampled_from([0.3, 1, 4]))
def test_discrepancies_agree_with_the_definition(seed, n, m, dim, unit, bandwidth):
    x, y = two_sets(seed, dim, (n, m))
    for metric, biased in ((mmd_rbf_biased, True), (mmd_rbf_unbiased, False)):
        expected = tensor(discrepancy(x.tolist(), y.tolist(), bandwidth, biased))
        got = metric(unit * x, unit * y, bandwidth=unit * bandwidth)
        expect_close(got, expected, f"{'all pairs' if biased else 'pairs of two samples'} within a set")


@pytest.mark.parametrize("n, m, dim", [(60, 240, 2), (40, 60, 100)])
def test_large_sets_count_whole(n, m, dim):
    x, y = two_sets(0, dim, (n, m))
    distances = [torch.from_numpy(scipy.spatial.distance.cdist(a, b)) for a, b in ((x, y), (x, x), (y, y))]
    between, *within = (d.mean() for d in distances)
    expect_close(energy_distance(x, y), 2 * between - sum(within), "every row and column", atol=1e-5, rtol=1e-5)
    between, *within = (torch.exp(-(d**2) / (2 * dim)).mean() for d in distances)
    got = mmd_rbf_biased(x, y, bandwidth=dim**0.5)
    expect_close(got, sum(within) - 2 * between, "every row and column", atol=1e-8, rtol=1e-5)


@given(seeds(), st.integers(1, 6), UNITS)
def test_frechet_distances_agree_with_scipys_root(seed, dim, unit):
    (m1, c1), (m2, c2) = gaussian(dim, seed), gaussian(dim, seed + 2)
    got = frechet_distance(unit * m1, unit**2 * c1, unit * m2, unit**2 * c2)
    expect_close(got, tensor(frechet(m1, c1, m2, c2) * unit**2), "trace of the root of C1 C2", rtol=1e-6, atol=0)


# --- laws -------------------------------------------------------------------------------------------------------------

METRICS = [energy_distance, partial(mmd_rbf_biased, bandwidth=1.5), partial(mmd_rbf_unbiased, bandwidth=1.5)]


@pytest.mark.parametrize("metric", METRICS, ids=["energy", "biased", "unbiased"])
def test_motions_and_exchange_change_nothing(metric):
    (x, y), turn = two_sets(7, 3), orthogonal(3, 1)
    expected = metric(x, y)
    for law, other_x, other_y in (
        ("the two sets exchanged", y, x),
        ("both sets moved", x + 20, y + 20),
        ("both sets turned", x @ turn, y @ turn),
        ("one set in another order", x.flip(0), y),
    ):
        expect_close(metric(other_x, other_y), expected, law, atol=HALF_THE_DIGITS, rtol=0)


@pytest.mark.parametrize("metric", METRICS[:2], ids=["energy", "biased"])
def test_equal_sets_are_0_apart(metric):
    x = normal(40, 3)
    for other in (x.clone(), torch.cat((x, x.flip(0)))):  # the second one holds every sample twice
        expect_close(metric(x, other), 0.0, "equal distributions", atol=1e-6, rtol=0)


@pytest.mark.parametrize("rank", [1, 3])
@pytest.mark.parametrize("dtype, tolerance", [(torch.float32, 3e-2), (torch.float64, 2e-6)])
def test_covariances_may_be_singular(rank, dtype, tolerance):
    # the root of the precision per dimension: 3e-4 and 1e-8, times variances up to 12
    expect = partial(expect_close, dtype=dtype, rtol=0, atol=tolerance)
    m, (_, flat), (_, full) = normal(5).to(dtype), gaussian(5, 4, rank), gaussian(5, 8)
    fn = lambda first, second: frechet_distance(m, first.to(dtype), m, second.to(dtype))  # noqa: E731
    expect(fn(flat, flat), 0.0, "equal covariances")
    expect(fn(flat, 4 * flat), flat.trace().to(dtype), "twice the standard deviation")
    root = torch.linalg.svdvals(torch.linalg.cholesky(full).T @ (normal(5, rank, seed=4))).sum()
    expect(fn(flat, full), (flat.trace() + full.trace() - 2 * root).to(dtype), "one singular covariance")


# --- refusals and standing laws ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name, call", [
    ("x", lambda: energy_distance(normal(0, 2), normal(3, 2))),
    ("y", lambda: mmd_rbf_biased(normal(3, 2), normal(0, 2), bandwidth=1)),
    ("x", lambda: mmd_rbf_unbiased(normal(1, 2), normal(3, 2), bandwidth=1)),
    ("y", lambda: mmd_rbf_unbiased(normal(3, 2), normal(1, 2), bandwidth=1)),
    ("bandwidth", lambda: mmd_rbf_biased(normal(3, 2), normal(4, 2), bandwidth=0)),
    ("bandwidth", lambda: mmd_rbf_unbiased(normal(3, 2), normal(4, 2), bandwidth=-1.5)),
])  # fmt: skip
def test_what_is_out_of_range_is_refused(name, call):
    expect_refused(name, call)


@pytest.mark.parametrize("law", [law for law in STANDING_LAWS if law is not empty_batches_give_empty_results])
def test_standing_laws(law):
    for metric in METRICS:
        law(lambda x, y, metric=metric: metric(x, y), *two_sets(1, 2))
    law(frechet_distance, *gaussian(3, 1), *gaussian(3, 2))
