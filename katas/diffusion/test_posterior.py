"""posterior: the Gaussian of the step before, given the noisy sample and the clean one.

The oracle knows no formula for it: it follows the mean and the variance of the chain
x ← sqrt(1 - beta) x + sqrt(beta) noise, step by step, and conditions the joint Gaussian of two neighbours. Before
timestep 0 comes the clean sample. Out of scope: guessing the clean sample, sampling.
"""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from katas.diffusion.posterior import Posterior, posterior_variances, q_posterior_mean_variance
from katas.lab.expect import expect_close
from katas.lab.laws import STANDING_LAWS, gradients_are_right
from katas.lab.strategies import seeds

BETAS = [0.0001, 0.3, 0.05, 0.6, 0.00002, 0.95]  # the smallest variance is neither the first nor the last
# Variances are as small as 1e-5: the default tolerance of 1e-7 would pass an error of a hundredth.
TIGHT = {"rtol": 1e-9, "atol": 1e-14}

schedules = st.lists(st.floats(1e-4, 0.95), min_size=2, max_size=7)


def left_of(betas):
    left = [math.prod(1 - beta for beta in betas[: t + 1]) for t in range(len(betas))]
    return torch.tensor(left, dtype=torch.float64)


ALPHAS_CUMPROD = left_of(BETAS)


def condition(betas, t, x_start, x_t):
    """Mean and variance of x_(t-1), given x_t, by the joint Gaussian of both, given x_start."""
    mean, variance = x_start, 0.0
    for beta in betas[:t]:
        mean, variance = math.sqrt(1 - beta) * mean, (1 - beta) * variance + beta
    next_mean, next_variance = math.sqrt(1 - betas[t]) * mean, (1 - betas[t]) * variance + betas[t]
    covariance = math.sqrt(1 - betas[t]) * variance
    return mean + covariance / next_variance * (x_t - next_mean), variance - covariance**2 / next_variance


@st.composite
def cases(draw):
    """Clean and noisy samples of rank 1 to 5, a timestep each. All sizes are equal: no wrong broadcast raises."""
    size, rank = draw(st.integers(1, 3)), draw(st.integers(1, 5))
    t = draw(st.lists(st.integers(0, len(BETAS) - 1), min_size=size, max_size=size))
    generator = torch.Generator().manual_seed(draw(seeds()))
    x_start, x_t = 5 * torch.randn(2, *[size] * rank, generator=generator, dtype=torch.float64)
    return x_start, x_t, torch.tensor(t)


def posterior_by_definition(x_start, x_t, t):
    """Log-variances at t = 0 are those at t = 1."""
    means = []
    for clean, noisy, step in zip(x_start, x_t, t.tolist(), strict=True):
        pairs = zip(clean.flatten().tolist(), noisy.flatten().tolist(), strict=True)
        means.append([condition(BETAS, step, a, b)[0] for a, b in pairs])
    variances = torch.tensor([condition(BETAS, step, 0.0, 0.0)[1] for step in t.tolist()], dtype=torch.float64)
    logs = [math.log(condition(BETAS, max(step, 1), 0.0, 0.0)[1]) for step in t.tolist()]
    ones = (-1, *[1] * (x_t.dim() - 1))
    means = torch.tensor(means, dtype=torch.float64).reshape(x_t.shape)
    return means, variances.reshape(ones), torch.tensor(logs, dtype=torch.float64).reshape(ones)


# --- worked examples ------------------------------------------------------------------------------------------------


def test_a_posterior_by_hand():
    # abar 0.64, then 0.16: alpha = 0.16 / 0.64 = 0.25, beta = 0.75.
    # 0.8 * 0.75 / 0.84 = 5/7 of x_start, 0.5 * 0.36 / 0.84 = 3/14 of x_t, variance 0.75 * 0.36 / 0.84 = 9/28
    left = torch.tensor([0.64, 0.16], dtype=torch.float64)
    x_start, x_t = torch.tensor([[1.4, 0.0]]).double(), torch.tensor([[2.8, 14.0]]).double()
    got = q_posterior_mean_variance(x_start, x_t, torch.tensor([1]), left)
    assert isinstance(got, Posterior), f"a Posterior with mean, variance and log_variance, not a {type(got).__name__}"
    expect_close(got.mean, [[1 + 0.6, 3]], "5/7 of the clean sample and 3/14 of the noisy one")
    expect_close((got.variance, got.log_variance), ([[9 / 28]], [[math.log(9 / 28)]]), "9/28 and its logarithm")


def test_variances_by_hand():
    # abar 1, 0.64, 0.16, 0.04: 0.36 * 0 / 0.36, 0.75 * 0.36 / 0.84, 0.75 * 0.84 / 0.96
    left = torch.tensor([0.64, 0.16, 0.04], dtype=torch.float64)
    expect_close(posterior_variances(left), [0, 9 / 28, 21 / 32], "beta_t (1 - abar_(t-1)) / (1 - abar_t)", **TIGHT)


def test_before_timestep_0_comes_the_clean_sample():
    x_start, x_t = torch.tensor([1.5, -2.0]).double(), torch.tensor([70.0, 80.0]).double()
    got = q_posterior_mean_variance(x_start, x_t, torch.tensor([0, 0]), ALPHAS_CUMPROD)
    expect_close((got.mean, got.variance), (x_start, [0, 0]), "at t = 0 it is known exactly, whatever x_t is", **TIGHT)


def test_the_logarithm_at_0_is_that_at_1():
    zeros = torch.zeros(3, dtype=torch.float64)
    got = q_posterior_mean_variance(zeros, zeros, torch.tensor([0, 1, 2]), ALPHAS_CUMPROD).log_variance
    expected = [math.log(condition(BETAS, t, 0.0, 0.0)[1]) for t in (1, 1, 2)]
    expect_close(got, expected, "the variance at t = 0 is 0: its logarithm is taken from t = 1")


# --- laws -----------------------------------------------------------------------------------------------------------


@given(schedules, st.floats(-3, 3))
def test_a_sample_that_met_no_noise_had_met_none_before(betas, x):
    left, clean = left_of(betas), torch.full((len(betas),), x, dtype=torch.float64)
    before = torch.cat([torch.ones(1).double(), left[:-1]]).sqrt() * clean
    got = q_posterior_mean_variance(clean, left.sqrt() * clean, torch.arange(len(betas)), left).mean
    expect_close(got, before, "from sqrt(abar_t) x_start back to sqrt(abar_(t-1)) x_start")


@given(schedules)
def test_the_noise_before_is_the_known_part_and_the_unknown_part(betas):
    left = left_of(betas)
    zeros, ones = torch.zeros(len(betas)).double(), torch.ones(len(betas)).double()
    factor, variance, _ = q_posterior_mean_variance(zeros, ones, torch.arange(len(betas)), left)
    before = torch.cat([zeros[:1], 1 - left[:-1]])
    law = "(factor of x_t)² (1 - abar_t) + variance is 1 - abar_(t-1)"
    expect_close(factor**2 * (1 - left) + variance, before, law, rtol=1e-9, atol=1e-12)


# --- agreement ------------------------------------------------------------------------------------------------------


@settings(max_examples=40)
@given(cases())
def test_the_posterior_agrees_with_conditioning(case):
    got = q_posterior_mean_variance(*case, ALPHAS_CUMPROD)
    law = "the Gaussian of x_(t-1), given x_t and x_start, every sample at its own timestep"
    expect_close(tuple(got), posterior_by_definition(*case), law, rtol=1e-9, atol=1e-11)


@given(st.lists(st.floats(1e-4, 0.95), min_size=1, max_size=7))
def test_variances_agree_with_conditioning(betas):
    expected = [condition(betas, t, 0.0, 0.0)[1] for t in range(len(betas))]
    # 1 - abar_0 is as small as 1e-4, and has 12 digits: the smallest variance has 8
    expect_close(posterior_variances(left_of(betas)), expected, "for every timestep", rtol=1e-7, atol=1e-14)


# --- dtype and edges ------------------------------------------------------------------------------------------------


def test_early_timesteps_keep_their_digits():
    # abar 0.9999 and 0.9998: differences from 1 of 1e-4 and 2e-4, which float32 knows to 3e-8: 4 digits
    left, t = torch.tensor([0.9999, 0.9998], dtype=torch.float64), torch.tensor([1])
    betas = [1 - 0.9999, 1 - 0.9998 / 0.9999]
    expected = [condition(betas, 1, 1.0, 0.0)[0], condition(betas, 1, 0.0, 1.0)[0], condition(betas, 1, 0.0, 0.0)[1]]
    of_x_start = q_posterior_mean_variance(torch.ones(1), torch.zeros(1), t, left)
    of_x_t = q_posterior_mean_variance(torch.zeros(1), torch.ones(1), t, left)
    got = torch.cat([of_x_start.mean, of_x_t.mean, of_x_t.variance])
    expect_close(got, expected, "factors and variance in float64, then float32", rtol=1e-6, atol=0)
    expect_close(of_x_t.log_variance, [math.log(expected[2])], "its logarithm, too", rtol=1e-6, atol=0)


def test_the_dtype_is_that_of_the_samples():
    pairs = (torch.bfloat16, torch.float64), (torch.float32, torch.float64), (torch.float64, torch.float32)
    for dtype, other in pairs:
        x = torch.ones(2, 3, dtype=dtype)
        got = q_posterior_mean_variance(x, x, torch.tensor([2, 0]), ALPHAS_CUMPROD.to(other))
        dtypes = [part.dtype for part in got]
        assert dtypes == [dtype] * 3, f"samples in {dtype}, schedule in {other}, but {dtypes} came out"


def test_gradients_reach_both_samples():
    x_start, x_t = torch.randn(2, 3, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    def mean_of_the_posterior(x_start, x_t):
        return q_posterior_mean_variance(x_start, x_t, torch.tensor([3, 1, 2]), ALPHAS_CUMPROD).mean

    gradients_are_right(mean_of_the_posterior, x_start, x_t)


def test_a_schedule_of_one_timestep_is_refused():
    one = torch.ones(1, dtype=torch.float64)
    with pytest.raises(ValueError, match="alphas_cumprod"):
        q_posterior_mean_variance(one, one, torch.tensor([0]), 0.5 * one)


@pytest.mark.parametrize("law", STANDING_LAWS[:5])
def test_standing_laws(law):
    x_start, x_t = torch.randn(2, 3, 2, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    law(q_posterior_mean_variance, x_start, x_t, torch.tensor([4, 0, 2]), ALPHAS_CUMPROD)
    law(posterior_variances, ALPHAS_CUMPROD)


def test_extreme_betas_are_not_cut():
    betas = [1e-8, 2e-8, 0.9999, 0.5]
    levels, t = left_of(betas), torch.tensor([1, 2, 3])
    zeros, ones = torch.zeros(3, dtype=torch.float64), torch.ones(3, dtype=torch.float64)
    for x_start, x_t in ((zeros, ones), (ones, zeros)):
        got = q_posterior_mean_variance(x_start, x_t, t, levels)
        exact = [condition(betas, step, float(x_start[0]), float(x_t[0])) for step in (1, 2, 3)]
        expect_close(got.mean, [mean for mean, _ in exact], "the mean by conditioning", rtol=1e-5, atol=0)
    variances = [variance for _, variance in exact]
    expect_close(got.variance, variances, "the variance by conditioning", rtol=1e-5, atol=0)
    expect_close(got.log_variance, [math.log(v) for v in variances], "its logarithm", rtol=1e-6, atol=0)
