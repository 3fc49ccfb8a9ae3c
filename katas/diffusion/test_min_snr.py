"""min_snr: the weight of each timestep, for each of the three things that a network may predict.

The definition is a case distinction on Python floats: the signal-to-noise ratio (SNR) is cut at gamma, then divided by
the factor between the squared error of this prediction and that of the clean sample. Pure noise (an SNR of 0) and no
noise at all (an infinite one) have weights as well. Out of scope: computing the SNR, other weightings.
"""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from katas.diffusion.min_snr import min_snr_noise_weight, min_snr_v_weight, min_snr_x_start_weight
from katas.lab.expect import expect_close, expect_refused
from katas.lab.laws import STANDING_LAWS
from katas.lab.strategies import tensors

NOISE, X_START, V = min_snr_noise_weight, min_snr_x_start_weight, min_snr_v_weight
every_weight = pytest.mark.parametrize("weight", [NOISE, X_START, V])
GAMMAS = [5, 1, 0.5, 2.25, 20, 1e-3, 1e6]
gammas = st.sampled_from(GAMMAS)


# --- the definition ---------------------------------------------------------------------------------------------------


def weight_of(weight, snr, gamma):
    cut = snr if snr < gamma else gamma
    return {NOISE: cut / snr, X_START: cut, V: cut / (snr + 1)}[weight]


# --- worked examples --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("weight, expected", [
    (NOISE, [1, 1, 1 / 2, 1 / 20]),  # 0.25 / 0.25, 4 / 4, 5 / 10, 5 / 100
    (X_START, [0.25, 4, 5, 5]),
    (V, [0.25 / 1.25, 4 / 5, 5 / 11, 5 / 101]),
])  # fmt: skip
def test_the_ratio_is_cut_at_5_by_default(weight, expected):
    snr = torch.tensor([0.25, 4, 10, 100], dtype=torch.float64)
    expect_close(weight(snr=snr), expected, "min(snr, 5), over snr for the noise, over snr + 1 for the velocity")


@pytest.mark.parametrize("weight, expected", [(NOISE, [1, 0.5]), (X_START, [1, 2]), (V, [1 / 2, 2 / 5])])
def test_another_gamma_cuts_elsewhere(weight, expected):
    snr = torch.tensor([1, 4], dtype=torch.float64)
    expect_close(weight(snr, gamma=2), expected, "gamma = 2 leaves 1 and cuts 4")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("weight, expected", [(NOISE, [1, 0]), (X_START, [0, 5]), (V, [0, 0])])
def test_both_ends_have_a_weight(weight, expected, dtype):
    # An alphas_cumprod that is rounded to 1 has an infinite SNR: min is gamma, and gamma / inf is 0.
    got = weight(torch.tensor([0, math.inf], dtype=dtype))
    law = "SNR 0 lies below gamma, SNR inf above: no 0 / 0, no inf / inf"
    expect_close(got, torch.tensor(expected, dtype=dtype), law)


# --- agreement with the definition ------------------------------------------------------------------------------------


@every_weight
@given(tensors(st.integers(1, 6), low=1 / 1024, high=12))
def test_weights_agree_with_the_definition(weight, snr):
    snr = torch.cat([1e-6 * snr, snr, 1e6 * snr])
    for gamma in GAMMAS:
        expected = [weight_of(weight, ratio, gamma) for ratio in snr.tolist()]
        law = f"gamma = {gamma}: min(snr, gamma), over snr for the noise, over snr + 1 for the velocity, at any size"
        # 1 - 1 / (snr + 1) is a way to the signal's share, and has seven digits at an SNR of 1e-9
        expect_close(weight(snr, gamma=gamma), expected, law, rtol=1e-6, atol=0)


@every_weight
@given(gammas)
def test_at_gamma_itself_both_sides_meet(weight, gamma):
    got = weight(torch.tensor([float(gamma)], dtype=torch.float64), gamma=gamma)
    expect_close(got, [weight_of(weight, gamma, gamma)], "cut or not, the weight is the same there")


# --- laws -------------------------------------------------------------------------------------------------------------


@given(tensors(st.integers(1, 6), low=1 / 1024, high=1023 / 1024), st.floats(0.1, 3), gammas)
def test_all_three_are_the_same_objective(left, error, gamma):
    # what an error of the clean sample makes of the noise and of the velocity, for the same x_t
    signal, sigma, snr = left.sqrt(), (1 - left).sqrt(), left / (1 - left)
    noise_error = signal * error / sigma
    v_error = signal * noise_error + sigma * error
    got = NOISE(snr, gamma=gamma) * noise_error**2, V(snr, gamma=gamma) * v_error**2
    expected = torch.tensor([min(ratio, gamma) for ratio in snr.tolist()], dtype=torch.float64) * error**2
    expect_close(got, (expected, expected), "the same network costs the same, whatever it is asked for")


@given(tensors(st.integers(1, 6), low=1 / 1024, high=12))
def test_with_a_huge_gamma_nothing_is_cut(snr):
    got = tuple(weight(snr, gamma=1e9) for weight in (NOISE, X_START, V))
    expected = (torch.ones_like(snr), snr, snr / (1 + snr))
    expect_close(got, expected, "1 for the noise, the SNR for the clean sample, the signal's share for the velocity")


# --- promises of all katas --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("gamma", [0, 0.0, -1])
@every_weight
def test_a_gamma_that_is_not_positive_is_refused(weight, gamma):
    expect_refused("gamma", lambda: weight(torch.ones(2), gamma=gamma))


@pytest.mark.parametrize("law", STANDING_LAWS)
@every_weight
def test_standing_laws(weight, law):
    law(weight, torch.tensor([0.1, 3, 40, 1200], dtype=torch.float64), gamma=2.5)
