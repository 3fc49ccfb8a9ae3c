"""schedules: three ways to choose the betas, the share of the signal that remains, and the signal-to-noise ratio.

The definition is computed in Python floats, one timestep at a time. Timesteps run from 0 to T - 1, and timestep 0
carries noise. A schedule is float64 from its first operation on. Out of scope: schedules rescaled to end in pure noise,
continuous time.
"""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from katas.diffusion.schedules import (
    alphas_cumprod,
    cosine_beta_schedule,
    linear_beta_schedule,
    sigmoid_beta_schedule,
    snr,
)
from katas.lab.expect import expect_close, expect_refused
from katas.lab.laws import STANDING_LAWS
from katas.lab.strategies import tensors

# Betas may be tiny. Any order of the float64 operations agrees to 9 digits; one float32 operation costs all but 7.
IN_FLOAT64 = {"rtol": 1e-9, "atol": 1e-12}
STRICT = {"rtol": 1e-9, "atol": 0}

lengths = st.integers(1, 60) | st.sampled_from([250, 1000, 4000])
max_betas = st.sampled_from([0.999, 0.5, 0.9999, 1])
curves = st.sampled_from([(-3, 3), (-1.5, 1), (0, 3), (1, 2)])  # start and end of the sigmoid


# --- the definition ---------------------------------------------------------------------------------------------------


def linear(T, *, beta_start=1e-4, beta_end=0.02, max_beta=0.999):
    steps = [t / (T - 1) if T > 1 else 0 for t in range(T)]
    return [min(1000 / T * (beta_start + r * (beta_end - beta_start)), max_beta) for r in steps]


def betas_of(f, T, max_beta):
    return [min(1 - f((t + 1) / T) / f(t / T), max_beta) for t in range(T)]


def cosine(T, *, s=0.008, max_beta=0.999):
    return betas_of(lambda u: math.cos((u + s) / (1 + s) * math.pi / 2) ** 2, T, max_beta)


def sigmoid(T, *, start=-3, end=3, tau=1, max_beta=0.999):
    def g(u):
        return 1 / (1 + math.exp(-(start + u * (end - start)) / tau))

    return betas_of(lambda u: (g(1) - g(u)) / (g(1) - g(0)), T, max_beta)


DEFINITION = {linear_beta_schedule: linear, cosine_beta_schedule: cosine, sigmoid_beta_schedule: sigmoid}


# --- worked examples --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("T, ends", [(1000, [0.0001, 0.02]), (4000, [0.000025, 0.005]), (100, [0.001, 0.2])])
def test_linear_ends_are_scaled_by_1000_over_T(T, ends):
    expect_close(linear_beta_schedule(T)[[0, -1]], ends, f"T = {T}: 0.0001 and 0.02, times 1000 / T", **IN_FLOAT64)


def test_linear_betas_are_evenly_spaced():
    # T = 4: 1000 / 4 = 250 times 0.001 and 0.0025 is 0.25 and 0.625, three steps of 0.125 apart
    got = linear_beta_schedule(num_timesteps=4, beta_start=0.001, beta_end=0.0025)
    expect_close(got, [0.25, 0.375, 0.5, 0.625], "T betas have T - 1 steps between them", **IN_FLOAT64)


@pytest.mark.parametrize("s, expected", [
    (0, [1 / 4, 2 / 3, 0.999]),  # f is cos² of 0°, 30°, 60°, 90°: 1, 3/4, 1/4, 0. The last beta, 1, is cut
    (1, [1 / 2, math.sqrt(3) - 1, 0.999]),  # s = 1: cos² of 45°, 60°, 75°, 90°: 1/2, 1/4, (2 - √3)/4, 0
])  # fmt: skip
def test_cosine_betas_by_hand(s, expected):
    expect_close(cosine_beta_schedule(num_timesteps=3, s=s), expected, "1 - f(next) / f(now), in float64", **IN_FLOAT64)


def test_sigmoid_betas_by_hand():
    # g is the sigmoid of 0, log 3, log 9: 1/2, 3/4, 9/10.  f(1/2) = (9/10 - 3/4) / (9/10 - 1/2) = 3/8
    got = sigmoid_beta_schedule(num_timesteps=2, start=0, end=4 * math.log(3), tau=2)
    expect_close(got, [5 / 8, 0.999], "1 - f(next) / f(now), the last cut to max_beta", **IN_FLOAT64)


@pytest.mark.parametrize("schedule", DEFINITION)
@pytest.mark.parametrize("max_beta", [0.999, 0.3])
def test_each_beta_is_at_most_max_beta(schedule, max_beta):
    expected = [min(beta, max_beta) for beta in DEFINITION[schedule](10, max_beta=2)]  # linear: from 0.01 to 2
    got = schedule(10, max_beta=max_beta)
    expect_close(got, expected, f"each beta above max_beta = {max_beta} is cut, the others stay", **IN_FLOAT64)


def test_alphas_cumprod_by_hand():
    # 1 - 0.5, then a fifth of that is lost, then a tenth, then all
    betas = torch.tensor([0.5, 0.2, 0.1, 1, 0.5], dtype=torch.float64)
    expect_close(alphas_cumprod(betas=betas), [0.5, 0.4, 0.36, 0, 0], "the product of 1 - beta up to t, t included")


def test_snr_by_hand():
    left = torch.tensor([0.8, 0.5, 0.2, 0], dtype=torch.float64)  # the variance of the noise is 0.2, 0.5, 0.8, 1
    expect_close(snr(alphas_cumprod=left), [4, 1, 1 / 4, 0], "variance of the signal over variance of the noise")


# --- agreement with the definition ------------------------------------------------------------------------------------


@pytest.mark.parametrize("T", [1, 10, 1000])
@pytest.mark.parametrize("schedule", DEFINITION)
def test_the_defaults_are_the_published_ones(schedule, T):
    expect_close(schedule(T), DEFINITION[schedule](T), f"the defaults, T = {T}, in float64 throughout", **IN_FLOAT64)


@given(lengths, st.sampled_from([1e-4, 1e-9, 0.003]), st.sampled_from([0.02, 0.004, 0.05]), max_betas)
def test_linear_agrees_with_the_definition(T, beta_start, beta_end, max_beta):
    options = {"beta_start": beta_start, "beta_end": beta_end, "max_beta": max_beta}
    expect_close(linear_beta_schedule(T, **options), linear(T, **options), "in float64 throughout", **IN_FLOAT64)


@given(lengths, st.sampled_from([0, 0.008, 0.1, 2]), max_betas)
def test_cosine_agrees_with_the_definition(T, s, max_beta):
    options = {"s": s, "max_beta": max_beta}
    expect_close(cosine_beta_schedule(T, **options), cosine(T, **options), "in float64 throughout", **IN_FLOAT64)


@given(lengths, curves, st.sampled_from([0.5, 1, 1.7]), max_betas)
def test_sigmoid_agrees_with_the_definition(T, start_and_end, tau, max_beta):
    options = {"start": start_and_end[0], "end": start_and_end[1], "tau": tau, "max_beta": max_beta}
    expect_close(sigmoid_beta_schedule(T, **options), sigmoid(T, **options), "in float64 throughout", **IN_FLOAT64)


@given(tensors(st.integers(1, 8), low=1 / 128, high=127 / 128), st.sampled_from([1, 1e-6]))
def test_alphas_cumprod_agrees_with_the_definition(betas, unit):
    betas = torch.cat([unit * betas, betas.new_full((1000,), 0.004)])
    expected = [math.prod(1 - beta for beta in betas.tolist()[: t + 1]) for t in range(0, len(betas), 97)]
    expect_close(alphas_cumprod(betas)[::97], expected, "the product of 1 - beta over 0 ... t", **STRICT)


@pytest.mark.parametrize("left", [3e-9, 0.3, 0.9999, 1 - 1e-9])
def test_snr_has_no_bounds(left):
    # 1 - (1 - 1e-9) has seven digits left in float64, and another way to the same ratio has other ones
    got = snr(torch.tensor([left, 0.5], dtype=torch.float64))
    expect_close(got, [left / (1 - left), 1], "the ratio, however large or small", rtol=1e-6, atol=0)


# --- laws -------------------------------------------------------------------------------------------------------------


@given(lengths.filter(lambda T: T > 1))
def test_linear_betas_add_up_to_one_total(T):
    total = linear_beta_schedule(T, max_beta=1e9).sum()
    expect_close(total, 10.05, "without the cut the betas sum to 1000 * (0.0001 + 0.02) / 2, for every T", **STRICT)


@pytest.mark.parametrize("schedule", [cosine_beta_schedule, sigmoid_beta_schedule])
@given(T=st.integers(1, 50))
def test_twice_as_many_timesteps_follow_one_curve(schedule, T):
    coarse, fine = 1 - schedule(T, max_beta=1), 1 - schedule(2 * T, max_beta=1)
    expect_close(fine[::2] * fine[1::2], coarse, "two half steps leave as much signal as one whole step", **IN_FLOAT64)


# --- promises of all katas --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("T", [0, -3])
@pytest.mark.parametrize("schedule", DEFINITION)
def test_fewer_than_one_timestep_is_refused(schedule, T):
    expect_refused("num_timesteps", lambda: schedule(T))


@pytest.mark.parametrize("function", [alphas_cumprod, snr])
@pytest.mark.parametrize("law", STANDING_LAWS)
def test_standing_laws(law, function):
    law(function, torch.tensor([0.1, 0.35, 0.2, 0.6], dtype=torch.float64))
