"""posterior: the Gaussian of the step before, given the noisy sample and the clean one.

The definition knows no formula for it. It follows the mean and the variance of the chain
x ← sqrt(1 - beta) x + sqrt(beta) noise, step by step, and conditions the joint Gaussian of two neighbours. Before
timestep 0 comes the clean sample. Out of scope: guessing the clean sample, sampling.
"""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from katas.diffusion.posterior import Posterior, posterior_variances, q_posterior_mean_variance
from katas.lab.expect import expect_close, expect_refused
from katas.lab.laws import STANDING_LAWS, empty_batches_give_empty_results, gradients_are_right
from katas.lab.strategies import normal, rng, seeds

BETAS = [0.0001, 0.3, 0.05, 0.6, 0.00002, 0.95]  # the smallest variance is neither the first nor the last
# Variances are as small as 1e-5: the default tolerance of 1e-7 would pass an error of a hundredth.
TIGHT = {"rtol": 1e-9, "atol": 1e-14}
DIGITS = {torch.float16: 3e-3, torch.bfloat16: 2e-2, torch.float32: 2e-6, torch.float64: 1e-6}

betas_of_a_schedule = st.lists(st.floats(1e-4, 0.95), min_size=2, max_size=7)
# Where all sizes are equal, a wrong broadcast raises no error.
sizes = st.sampled_from([((1,), 1), ((3,), 1e-3), ((3, 3), 1), ((1000, 2), 1e5), ((2, 4, 3, 2), 1), ((3, 3, 3, 3), 1)])


# --- the definition ---------------------------------------------------------------------------------------------------


def levels_of(betas):
    levels = [math.prod(1 - beta for beta in betas[: t + 1]) for t in range(len(betas))]
    return torch.tensor(levels, dtype=torch.float64)


def condition(betas, t, x_start=0.0, x_t=0.0):
    """Mean and variance of x_(t-1), given x_t, by the joint Gaussian of both, given x_start."""
    mean, variance = x_start, 0.0
    for beta in betas[:t]:
        mean, variance = math.sqrt(1 - beta) * mean, (1 - beta) * variance + beta
    next_mean, next_variance = math.sqrt(1 - betas[t]) * mean, (1 - betas[t]) * variance + betas[t]
    covariance = math.sqrt(1 - betas[t]) * variance
    return mean + covariance / next_variance * (x_t - next_mean), variance - covariance**2 / next_variance


SCHEDULE = levels_of(BETAS)


# --- worked examples --------------------------------------------------------------------------------------------------


def test_variances_by_hand():
    # abar 1, 0.64, 0.16, 0.04: 0.36 * 0 / 0.36, 0.75 * 0.36 / 0.84, 0.75 * 0.84 / 0.96
    got = posterior_variances(alphas_cumprod=SCHEDULE.new_tensor([0.64, 0.16, 0.04]))
    expect_close(got, [0, 9 / 28, 21 / 32], "beta_t (1 - abar_(t-1)) / (1 - abar_t)", **TIGHT)


@pytest.mark.parametrize("x_start, x_t, expected, law", [
    # abar 0.64, then 0.16: alpha = 0.16 / 0.64 = 0.25, beta = 0.75
    ([1.4, 0], [0, 0], [1, 0], "sqrt(0.64) * 0.75 / 0.84 = 5/7 of the clean sample"),
    ([0, 0], [2.8, 14], [0.6, 3], "sqrt(0.25) * 0.36 / 0.84 = 3/14 of the noisy sample"),
])  # fmt: skip
def test_the_mean_by_hand(x_start, x_t, expected, law):
    x_start, x_t, levels = (SCHEDULE.new_tensor(numbers) for numbers in ([x_start], [x_t], [0.64, 0.16]))
    got = q_posterior_mean_variance(x_start=x_start, x_t=x_t, t=torch.tensor([1]), alphas_cumprod=levels)
    assert isinstance(got, Posterior), f"a Posterior with mean, variance and log_variance, not a {type(got).__name__}"
    expect_close(got.mean, [expected], law)
    expect_close((got.variance, got.log_variance), ([[9 / 28]], [[math.log(9 / 28)]]), "9/28 and its logarithm, (B, 1)")


def test_before_timestep_0_comes_the_clean_sample():
    x_start, x_t = SCHEDULE.new_tensor([1.5, -2.0]), SCHEDULE.new_tensor([70.0, 80.0])
    got = q_posterior_mean_variance(x_start, x_t, torch.tensor([0, 0]), SCHEDULE)
    expect_close((got.mean, got.variance), (x_start, [0, 0]), "at t = 0 it is known exactly, whatever x_t is", **TIGHT)


def test_the_logarithm_at_0_is_that_at_1():
    got = q_posterior_mean_variance(normal(3), normal(3), torch.tensor([0, 1, 4]), SCHEDULE).log_variance
    expected = [math.log(condition(BETAS, t)[1]) for t in (1, 1, 4)]
    expect_close(got, expected, "the variance at t = 0 is 0: its logarithm is that at t = 1, all others are their own")


# --- agreement with the definition ------------------------------------------------------------------------------------


@given(betas_of_a_schedule, st.sampled_from([0, 1000]))
def test_variances_agree_with_conditioning(betas, more):
    betas, shown = betas + more * [0.004], [0, 1, -2, -1]
    expected = [condition(betas, t % len(betas))[1] for t in shown]
    # 1 - abar_0 is as small as 1e-4, and has 12 digits: the smallest variance has 8
    expect_close(posterior_variances(levels_of(betas))[shown], expected, "each timestep", rtol=1e-7, atol=1e-14)


@given(sizes, seeds())
def test_the_posterior_agrees_with_conditioning(sizes, seed):
    (shape, unit), t = sizes, torch.randint(6, sizes[0][:1], generator=rng(seed))
    x_start, x_t = unit * normal(2, *shape, seed=seed)
    ones, law = (-1, *[1] * (len(shape) - 1)), "the Gaussian of x_(t-1), each sample at its own timestep"
    mean, variance, log_variance = q_posterior_mean_variance(x_start, x_t, t, SCHEDULE)
    rows = [condition(BETAS, step, a, b)[0] for step, a, b in zip(t.tolist(), x_start, x_t, strict=True)]
    expect_close(mean / unit, torch.stack(rows) / unit, law)
    expected = [(condition(BETAS, step)[1], math.log(condition(BETAS, max(step, 1))[1])) for step in t.tolist()]
    expected = [SCHEDULE.new_tensor(column).reshape(ones) for column in zip(*expected, strict=True)]
    expect_close((variance, log_variance), tuple(expected), law, **TIGHT)


@pytest.mark.parametrize("levels", [[0.9999, 0.9998], [1 - 1e-9, 1 - 2e-9], [0.9999, 1e-8]])
@pytest.mark.parametrize("dtype", DIGITS)
def test_the_dtype_is_kept_with_all_digits(dtype, levels):
    # 1 - 0.9998 has four digits in float32, none in float16; in float16 a variance of 5e-10 is 0, its logarithm -21.4
    betas, (x_start, x_t) = [1 - levels[0], 1 - levels[1] / levels[0]], torch.tensor([[[1, 0]], [[0, 1]]], dtype=dtype)
    got = q_posterior_mean_variance(x_start, x_t, torch.tensor([1]), SCHEDULE.new_tensor(levels))
    variance, mean = condition(betas, 1)[1], [condition(betas, 1, 1.0, 0.0)[0], condition(betas, 1, 0.0, 1.0)[0]]
    expected = [torch.tensor([numbers]).double().to(dtype) for numbers in (mean, [variance], [math.log(variance)])]
    law = "everything in the dtype of the schedule, the logarithm included, cast afterwards"
    expect_close(tuple(got), tuple(expected), law, rtol=DIGITS[dtype], atol=0)


def test_a_float32_schedule_leaves_float64_samples():
    x, levels = torch.ones(1, 1, dtype=torch.float64), torch.tensor([0.64, 0.16])
    expected = (torch.full_like(x, 5 / 7 + 3 / 14), torch.full_like(x, 9 / 28), torch.full_like(x, math.log(9 / 28)))
    got = tuple(q_posterior_mean_variance(x, x, torch.tensor([1]), levels))
    expect_close(got, expected, "the dtype of x_t", rtol=1e-6, atol=0)


# --- laws -------------------------------------------------------------------------------------------------------------


@given(betas_of_a_schedule, st.floats(-3, 3))
def test_a_sample_without_noise_had_none_before(betas, x):
    levels, clean = levels_of(betas), torch.full((len(betas),), x, dtype=torch.float64)
    before = torch.cat([torch.ones(1).double(), levels[:-1]]).sqrt() * clean
    got = q_posterior_mean_variance(clean, levels.sqrt() * clean, torch.arange(len(betas)), levels).mean
    expect_close(got, before, "from sqrt(abar_t) x_start back to sqrt(abar_(t-1)) x_start")


@given(betas_of_a_schedule)
def test_known_and_unknown_noise_add_up(betas):
    levels = levels_of(betas)
    zeros, ones = torch.zeros_like(levels), torch.ones_like(levels)
    factor, variance, _ = q_posterior_mean_variance(zeros, ones, torch.arange(len(betas)), levels)
    law = "(factor of x_t)² (1 - abar_t) + variance is 1 - abar_(t-1)"
    before = torch.cat([zeros[:1], 1 - levels[:-1]])
    expect_close(factor**2 * (1 - levels) + variance, before, law, rtol=1e-9, atol=1e-12)


def test_gradients_reach_both_samples():
    t, (x_start, x_t) = torch.tensor([3, 1, 2]), normal(2, 3, 2)
    gradients_are_right(lambda x_start, x_t: q_posterior_mean_variance(x_start, x_t, t, SCHEDULE).mean, x_start, x_t)


# --- promises of all katas --------------------------------------------------------------------------------------------


def test_a_schedule_of_one_timestep_is_refused():
    one = torch.ones(1, dtype=torch.float64)
    expect_refused("alphas_cumprod", lambda: q_posterior_mean_variance(one, one, torch.tensor([0]), 0.5 * one))


@pytest.mark.parametrize("law", STANDING_LAWS)
def test_standing_laws(law):
    x_start, x_t = normal(2, 3, 2, 4)
    law(q_posterior_mean_variance, x_start, x_t, torch.tensor([4, 0, 2]), SCHEDULE)
    if law is not empty_batches_give_empty_results:  # a schedule is no batch
        law(posterior_variances, SCHEDULE)
