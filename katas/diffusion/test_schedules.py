"""schedules: three ways to choose the betas, what is left of the signal, and the signal-to-noise ratio.

Timesteps run from 0 to T - 1, and timestep 0 carries noise. Schedules are computed in float64 from the first operation
on: 1 - beta is close to 1, and a schedule rounded to float32 on the way has lost half of its digits. Out of scope:
schedules rescaled to end in pure noise, continuous time.
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
from katas.lab.expect import expect_close, expect_equal
from katas.lab.laws import STANDING_LAWS
from katas.lab.strategies import tensors

SCHEDULES = [linear_beta_schedule, cosine_beta_schedule, sigmoid_beta_schedule]
# Any order of the float64 operations agrees to 11 digits; one float32 operation on the way costs all beyond the 7th.
IN_FLOAT64 = {"rtol": 1e-9, "atol": 1e-12}

lengths = st.integers(1, 60) | st.sampled_from([250, 1000, 1600])
max_betas = st.sampled_from([0.999, 0.5, 0.9999, 1])
shares = tensors(st.integers(1, 8), low=1 / 128, high=127 / 128)  # betas, or alphas_cumprod: strictly between 0 and 1


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def linear_by_definition(T, beta_start=1e-4, beta_end=0.02, max_beta=0.999):
    steps = [t / (T - 1) if T > 1 else 0 for t in range(T)]
    betas = [min(1000 / T * (beta_start + r * (beta_end - beta_start)), max_beta) for r in steps]
    return torch.tensor(betas, dtype=torch.float64)


def betas_by_definition(f, T, max_beta):
    return torch.tensor([min(1 - f((t + 1) / T) / f(t / T), max_beta) for t in range(T)], dtype=torch.float64)


def cosine_by_definition(T, s=0.008, max_beta=0.999):
    return betas_by_definition(lambda u: math.cos((u + s) / (1 + s) * math.pi / 2) ** 2, T, max_beta)


def sigmoid_by_definition(T, start=-3, end=3, tau=1, max_beta=0.999):
    first, last = sigmoid(start / tau), sigmoid(end / tau)
    return betas_by_definition(
        lambda u: (last - sigmoid((start + u * (end - start)) / tau)) / (last - first), T, max_beta
    )


# --- worked examples ------------------------------------------------------------------------------------------------


def test_the_linear_schedule_of_the_paper():
    # 999 equal steps from 0.0001 to 0.02, for T = 1000 exactly as they are
    betas = linear_beta_schedule(1000)
    expect_close(len(betas), 1000, "one beta for every timestep")
    expected = [0.0001, 0.0001 + 0.0199 / 999, 0.02 - 0.0199 / 999, 0.02]
    expect_close(betas[[0, 1, -2, -1]], expected, "from 0.0001 to 0.02 in even steps", **IN_FLOAT64)


def test_fewer_timesteps_take_larger_steps():
    # T = 4: 1000 / 4 = 250 times the betas 0.001 and 0.0025, so 0.25 to 0.625 in three steps of 0.125
    got = linear_beta_schedule(4, beta_start=0.001, beta_end=0.0025)
    expect_close(got, [0.25, 0.375, 0.5, 0.625], "both ends times 1000 / T", **IN_FLOAT64)


def test_more_timesteps_take_smaller_steps():
    # T = 4000: a quarter of the published ends
    expected = [0.000025, 0.005]
    expect_close(linear_beta_schedule(4000)[[0, -1]], expected, "both ends times 1000 / T", **IN_FLOAT64)


def test_a_beta_that_grew_too_large_is_cut():
    # T = 10: 0.01 to 2 in nine steps of 1.99 / 9 = 0.2211...; a beta of 1 or more leaves no signal at all
    growing = [0.01 + 1.99 / 9 * t for t in range(5)]
    expect_close(linear_beta_schedule(10), growing + [0.999] * 5, "never above max_beta", **IN_FLOAT64)
    expect_close(linear_beta_schedule(10, max_beta=0.3), growing[:2] + [0.3] * 8, "nor above 0.3", **IN_FLOAT64)


def test_the_cosine_schedule_by_hand():
    # s = 0: cos² of 0°, 30°, 60°, 90° is 1, 3/4, 1/4, 0: a quarter is lost, then two thirds, then all, cut to 0.999
    expect_close(cosine_beta_schedule(3, s=0), [1 / 4, 2 / 3, 0.999], "1 - f(next) / f(now)", **IN_FLOAT64)
    # s = 1: cos² of 45°, 60°, 75°, 90° is 1/2, 1/4, (2 - √3)/4, 0
    expect_close(cosine_beta_schedule(3, s=1), [1 / 2, math.sqrt(3) - 1, 0.999], "(u + s) / (1 + s)", **IN_FLOAT64)


def test_the_sigmoid_schedule_by_hand():
    # g is the sigmoid of 0, log 3, log 9: 1/2, 3/4, 9/10.  f(1/2) = (9/10 - 3/4) / (9/10 - 1/2) = 3/8
    got = sigmoid_beta_schedule(2, start=0, end=4 * math.log(3), tau=2)
    expect_close(got, [5 / 8, 0.999], "1 - f(next) / f(now), the last cut to max_beta", **IN_FLOAT64)


@pytest.mark.parametrize("schedule, beta", [(linear_beta_schedule, 0.1), (cosine_beta_schedule, 0.999)])
def test_a_single_timestep_has_the_first_beta(schedule, beta):
    # linear: 1000 * 0.0001.  cosine: from all of the signal to none, cut
    expect_close(schedule(1), [beta], "T = 1", **IN_FLOAT64)


def test_what_is_left_is_what_every_step_left():
    # 1 - 0.5, then a fifth of that is lost, then a tenth
    betas = torch.tensor([0.5, 0.2, 0.1], dtype=torch.float64)
    expect_close(alphas_cumprod(betas), [0.5, 0.4, 0.36], "the product of 1 - beta up to t, t included", **IN_FLOAT64)


def test_the_linear_schedule_ends_in_almost_pure_noise():
    # the published schedule leaves 4.04e-5 of the signal's variance after the last of its 1000 timesteps
    got = alphas_cumprod(linear_by_definition(1000))
    expect_close(got[[0, -1]], [0.9999, 4.0358e-5], "0.9999 at first, 4.04e-5 at last", rtol=1e-5, atol=0)


def test_signal_to_noise_by_hand():
    left = torch.tensor([0.8, 0.5, 0.2], dtype=torch.float64)  # of the noise there is 0.2, 0.5, 0.8
    expect_close(snr(left), [4, 1, 1 / 4], "signal over noise, as variances", **IN_FLOAT64)


# --- laws -----------------------------------------------------------------------------------------------------------


@given(lengths.filter(lambda T: T > 1))
def test_a_linear_schedule_adds_as_much_noise_in_any_number_of_timesteps(T):
    total = linear_beta_schedule(T, max_beta=1e9).sum()
    expect_close(total, 10.05, "without the cut the betas sum to 1000 * (0.0001 + 0.02) / 2, for every T", **IN_FLOAT64)


@pytest.mark.parametrize("schedule", [cosine_beta_schedule, sigmoid_beta_schedule])
@given(T=st.integers(1, 50))
def test_twice_as_many_timesteps_follow_the_same_curve(schedule, T):
    coarse, fine = 1 - schedule(T, max_beta=1), 1 - schedule(2 * T, max_beta=1)
    expect_close(fine[::2] * fine[1::2], coarse, "two half steps leave as much signal as one whole step", **IN_FLOAT64)


@pytest.mark.parametrize("T", [1, 2, 7, 40])
def test_with_a_large_tau_the_signal_falls_in_a_straight_line(T):
    expected = [min(1 / (T - t), 0.999) for t in range(T)]  # f(u) = 1 - u
    got = sigmoid_beta_schedule(T, tau=1e4)
    expect_close(got, expected, "for a huge tau beta_t is 1 / (T - t)", rtol=1e-6, atol=0)  # off by 1 / tau²


@given(shares)
def test_the_ratio_tells_what_is_left(left):
    ratio = snr(left)
    expect_close(ratio / (1 + ratio), left, "snr / (1 + snr) is alphas_cumprod again", **IN_FLOAT64)


# --- agreement ------------------------------------------------------------------------------------------------------


@given(lengths, st.sampled_from([1e-4, 0.003]), st.sampled_from([0.02, 0.004, 0.05]), max_betas)
def test_the_linear_schedule_agrees_with_the_definition(T, beta_start, beta_end, max_beta):
    got = linear_beta_schedule(T, beta_start=beta_start, beta_end=beta_end, max_beta=max_beta)
    expect_close(got, linear_by_definition(T, beta_start, beta_end, max_beta), "in float64 throughout", **IN_FLOAT64)


@given(lengths, st.sampled_from([0, 0.008, 0.1, 2]), max_betas)
def test_the_cosine_schedule_agrees_with_the_definition(T, s, max_beta):
    got = cosine_beta_schedule(T, s=s, max_beta=max_beta)
    expect_close(got, cosine_by_definition(T, s, max_beta), "in float64 throughout", **IN_FLOAT64)


@given(lengths, st.sampled_from([-3, -1.5, 0]), st.sampled_from([3, 1]), st.sampled_from([0.5, 1, 1.7]), max_betas)
def test_the_sigmoid_schedule_agrees_with_the_definition(T, start, end, tau, max_beta):
    got = sigmoid_beta_schedule(T, start=start, end=end, tau=tau, max_beta=max_beta)
    expected = sigmoid_by_definition(T, start, end, tau, max_beta)
    expect_close(got, expected, "in float64 throughout", **IN_FLOAT64)


@pytest.mark.parametrize("T", [1, 10, 1000])
def test_the_defaults_are_the_published_ones(T):
    expect_close(linear_beta_schedule(T), linear_by_definition(T), "0.0001 to 0.02, at most 0.999", **IN_FLOAT64)
    expect_close(cosine_beta_schedule(T), cosine_by_definition(T), "s 0.008, at most 0.999", **IN_FLOAT64)
    expect_close(sigmoid_beta_schedule(T), sigmoid_by_definition(T), "-3 to 3, tau 1, at most 0.999", **IN_FLOAT64)


@given(shares)
def test_what_is_left_agrees_with_the_definition(betas):
    expected = [math.prod(1 - beta for beta in betas.tolist()[: t + 1]) for t in range(len(betas))]
    expect_close(alphas_cumprod(betas), expected, "the product of 1 - beta over 0 ... t", **IN_FLOAT64)


# --- edges ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("T", [0, -3])
def test_a_schedule_without_timesteps_is_refused(schedule, T):
    with pytest.raises(ValueError, match="num_timesteps"):
        schedule(T)


@pytest.mark.parametrize("function", [alphas_cumprod, snr])
@pytest.mark.parametrize("law", STANDING_LAWS[:5])
def test_standing_laws(law, function):
    law(function, torch.tensor([0.1, 0.35, 0.2, 0.6], dtype=torch.float64))


def test_no_value_is_cut_where_no_cut_is_promised():
    levels = torch.tensor([0.9999, 1 - 1e-9, 3e-9], dtype=torch.float64)
    expected = [level / (1 - level) for level in levels.tolist()]
    # 1 - (1 - 1e-9) has seven digits left in float64, and another way to the same ratio has other ones
    expect_close(snr(levels), expected, "the ratio, however large or small", rtol=1e-6, atol=0)
    got = alphas_cumprod(torch.full((5,), 0.999, dtype=torch.float64))
    expect_close(got, [1e-3, 1e-6, 1e-9, 1e-12, 1e-15], "the product, however small", rtol=1e-9, atol=0)
    got = linear_beta_schedule(3, beta_start=1e-9, beta_end=3e-9)
    expect_close(got, [1e-6 / 3, 2e-6 / 3, 1e-6], "betas, however small", rtol=1e-9, atol=0)


def test_where_all_is_lost_nothing_is_left():
    betas = torch.tensor([0.5, 1.0, 0.5], dtype=torch.float64)
    expect_close(alphas_cumprod(betas), [0.5, 0, 0], "a beta of 1 leaves nothing, and nothing comes back")
    expect_close(snr(torch.tensor([0.0, 0.5], dtype=torch.float64)), [0, 1], "no signal, a ratio of 0", rtol=0, atol=0)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_every_call_gives_betas_of_its_own(schedule):
    first = schedule(12)
    kept = first.clone()
    first *= 0.5
    expect_equal(schedule(12), kept, "whoever changes the betas of one call does not change those of the next")


def test_the_first_betas_of_a_steep_sigmoid_are_tiny():
    got = sigmoid_beta_schedule(10, tau=0.2)[:2]
    expect_close(got, sigmoid_by_definition(10, -3, 3, 0.2)[:2], "no floor under the betas", rtol=1e-6, atol=0)


def test_a_sigmoid_may_start_above_0():
    got = sigmoid_beta_schedule(5, start=1, end=4)
    expect_close(got, sigmoid_by_definition(5, 1, 4), "from start to end, both above 0", rtol=1e-9, atol=1e-12)
