"""posterior: the Gaussian q(x_(t-1) | x_t, x_start), for each sample at its own t.

Checked against Bayes' rule on two Gaussians: before the last noise, x_(t-1) is spread around what the clean sample becomes;
x_t then tells where it went. x_(-1) is the clean sample, so alphas_cumprod[-1] counts as 1. Out of scope: learnt variances, skipped
timesteps.
"""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from katas.diffusion.posterior import Posterior, posterior_variances, q_posterior_mean_variance
from katas.lab.laws import STANDING_LAWS, expect_close, gradients_are_right
from katas.lab.strategies import tensors

SCHEDULE = torch.tensor([0.97, 0.9, 0.74, 0.55, 0.31, 0.12, 0.02], dtype=torch.float64)
T = len(SCHEDULE)
levels = st.lists(st.integers(1, 999), min_size=2, max_size=8, unique=True).map(
    lambda numbers: torch.tensor(sorted(numbers, reverse=True), dtype=torch.float64) / 1000
)


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def by_bayes(x_start, x_t, t, abar):
    """Mean and variance by multiplying two Gaussians of x_(t-1): N(sqrt(before) x_start, 1 - before), and the one that
    x_t = sqrt(alpha) x_(t-1) + sqrt(1 - alpha) noise implies: N(x_t / sqrt(alpha), (1 - alpha) / alpha)."""
    if t == 0:
        return x_start, 0.0
    before, alpha = abar[t - 1], abar[t] / abar[t - 1]
    prior, likelihood = 1 / (1 - before), alpha / (1 - alpha)  # precisions
    variance = 1 / (prior + likelihood)
    return variance * (prior * math.sqrt(before) * x_start + likelihood * x_t / math.sqrt(alpha)), variance


# --- worked examples ------------------------------------------------------------------------------------------------


def test_variances_by_hand():
    # abar 0.8, 0.4, 0.1: betas 0.2, 0.5, 0.75.  0.5 * 0.2 / 0.6 = 1/6 and 0.75 * 0.6 / 0.9 = 1/2
    got = posterior_variances(torch.tensor([0.8, 0.4, 0.1], dtype=torch.float64))
    expect_close(got, [0, 1 / 6, 1 / 2], "beta_t * (1 - abar_(t-1)) / (1 - abar_t), and 0 at t = 0")


def test_the_mean_by_hand():
    # abar 0.64 then 0.16: beta = 0.75.  0.8 * 0.75 / 0.84 * x_start + 0.5 * 0.36 / 0.84 * x_t
    abar = torch.tensor([0.64, 0.16], dtype=torch.float64)
    x_start, x_t = torch.tensor([[2.0, 0.0]]).double(), torch.tensor([[0.0, 3.0]]).double()
    got = q_posterior_mean_variance(x_start, x_t, torch.tensor([1]), abar)
    expect_close(got.mean, [[2 * 0.6 / 0.84, 3 * 0.18 / 0.84]], "the clean sample and x_t, each with its share")


def test_at_t_0_it_is_the_clean_sample():
    x_start, x_t = normal(3, 2), normal(3, 2, seed=1)
    got = q_posterior_mean_variance(x_start, x_t, torch.zeros(3, dtype=torch.int64), SCHEDULE)
    expect_close(got.mean, x_start, "the step before timestep 0 is the clean sample, whatever x_t is")
    expect_close(got.variance, [[0.0]] * 3, "and known exactly")


def test_the_logarithm_at_t_0_is_that_at_t_1():
    x, t = normal(4, 2), torch.tensor([2, 0, 1, 6])
    got = q_posterior_mean_variance(x, x, t, SCHEDULE)
    logs = [math.log(by_bayes(0.0, 0.0, s, SCHEDULE.tolist())[1]) for s in (2, 1, 1, 6)]
    expect_close(
        got.log_variance, [[log] for log in logs], "log of the variance; at t = 0, where that is -inf, as at t = 1"
    )


# --- laws -----------------------------------------------------------------------------------------------------------


@given(levels)
def test_variances_agree_with_bayes(abar):
    expected = [by_bayes(0.0, 0.0, t, abar.tolist())[1] for t in range(len(abar))]
    expect_close(posterior_variances(abar), torch.tensor(expected, dtype=torch.float64), "two Gaussians multiplied")


@given(levels, tensors(5, 2), tensors(5, 2), st.data())
def test_mean_and_variance_agree_with_bayes(abar, x_start, x_t, data):
    t = data.draw(st.lists(st.integers(0, len(abar) - 1), min_size=5, max_size=5), label="t")
    got = q_posterior_mean_variance(x_start, x_t, torch.tensor(t), abar)
    means = [
        [by_bayes(x_start[i, j].item(), x_t[i, j].item(), t[i], abar.tolist())[0] for j in (0, 1)] for i in range(5)
    ]
    expect_close(got.mean, torch.tensor(means, dtype=torch.float64), "two Gaussians multiplied", rtol=1e-6, atol=1e-6)
    variances = [[by_bayes(0.0, 0.0, s, abar.tolist())[1]] for s in t]
    expect_close(got.variance, torch.tensor(variances, dtype=torch.float64), "each sample has the variance of its t")


@given(tensors(4, 3), st.integers(1, T - 1))
def test_it_is_the_middle_of_the_chain(x_start, t):
    # x_(t-1) = sqrt(before) x_start without noise goes to x_t = sqrt(abar) x_start: back there without any correction
    x_t = SCHEDULE[t].sqrt() * x_start
    got = q_posterior_mean_variance(x_start, x_t, torch.full((4,), t), SCHEDULE)
    expect_close(got.mean, SCHEDULE[t - 1].sqrt() * x_start, "on the noiseless path it stays on the noiseless path")


# --- shapes and dtypes ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(4,), (4, 4), (4, 1, 3), (4, 2, 3, 4)])
def test_samples_have_any_rank(shape):
    x_start, x_t, t = normal(*shape), normal(*shape, seed=1), torch.tensor([6, 0, 3, 1])
    got = q_posterior_mean_variance(x_start, x_t, t, SCHEDULE)
    assert isinstance(got, Posterior) and got.mean.shape == shape
    column = (4, *[1] * (len(shape) - 1))
    assert got.variance.shape == got.log_variance.shape == column, f"one variance a sample, shaped {column}"
    alone = [q_posterior_mean_variance(x_start[[i]], x_t[[i]], t[[i]], SCHEDULE).mean for i in range(4)]
    expect_close(got.mean, torch.cat(alone), "a batch is the same as one sample after another")


def test_float32_samples_keep_their_dtype_with_a_float64_schedule():
    x_start, x_t, t = normal(3, 2), normal(3, 2, seed=1), torch.tensor([1, 0, 2])
    # consecutive levels so close to 1 that 1 - abar has lost its digits in float32
    abar = 1 - torch.tensor([1e-6, 3e-6, 5e-6, 0.5], dtype=torch.float64)
    expected = q_posterior_mean_variance(x_start, x_t, t, abar)
    got = q_posterior_mean_variance(x_start.float(), x_t.float(), t, abar)
    for name, single, double in zip(Posterior._fields, got, expected):
        expect_close(
            single,
            double.float(),
            f"{name}: the schedule's arithmetic is done in its own dtype",
            rtol=1e-4,
            atol=1e-12,
        )


def test_a_single_timestep_and_no_samples():
    abar = torch.tensor([0.3], dtype=torch.float64)
    expect_close(posterior_variances(abar), [0.0], "a single timestep leads to the clean sample")
    x_start, t = normal(2, 3), torch.zeros(2, dtype=torch.int64)
    expect_close(q_posterior_mean_variance(x_start, normal(2, 3, seed=1), t, abar).mean, x_start, "T = 1")
    assert q_posterior_mean_variance(normal(0, 3), normal(0, 3), torch.zeros(0).long(), SCHEDULE).mean.shape == (0, 3)


def test_gradients_flow_through_the_mean():
    t = torch.tensor([6, 0, 3])

    def mean(x_start, x_t):
        return q_posterior_mean_variance(x_start, x_t, t, SCHEDULE).mean

    gradients_are_right(mean, normal(3, 2), normal(3, 2, seed=1))


@pytest.mark.parametrize("law", STANDING_LAWS)
def test_standing_laws(law):
    law(posterior_variances, SCHEDULE)
    law(q_posterior_mean_variance, normal(4, 2), normal(4, 2, seed=1), torch.tensor([6, 0, 3, 1]), SCHEDULE)
