"""min_snr: the weight of every timestep, for each of the three things that a network may predict.

The signal-to-noise ratio is cut at gamma, and divided by what the squared error of this kind of prediction is more than
that of the clean sample. Pure noise (an SNR of 0) has a weight, too. Out of scope: computing the SNR, other weightings.
"""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from katas.diffusion.min_snr import min_snr_noise_weight, min_snr_v_weight, min_snr_x_start_weight
from katas.lab.expect import expect_close
from katas.lab.laws import STANDING_LAWS
from katas.lab.strategies import tensors

WEIGHTS = [min_snr_noise_weight, min_snr_x_start_weight, min_snr_v_weight]

ratios = tensors(st.integers(0, 6), low=1 / 1024, high=12)
gammas = st.sampled_from([5, 1, 0.5, 2.25, 20])


def weights_by_definition(snr, gamma):
    """(noise, clean sample, velocity) of one timestep."""
    cut = snr if snr < gamma else gamma
    return cut / snr, cut, cut / (snr + 1)


# --- worked examples ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "weight, expected",
    [
        (min_snr_noise_weight, [1, 1, 1 / 2, 1 / 20]),  # as they are; 5 / 10, 5 / 100
        (min_snr_x_start_weight, [0.25, 4, 5, 5]),
        (min_snr_v_weight, [0.25 / 1.25, 4 / 5, 5 / 11, 5 / 101]),
    ],
)
def test_the_ratio_is_cut_at_5(weight, expected):
    snr = torch.tensor([0.25, 4, 10, 100], dtype=torch.float64)
    expect_close(weight(snr), expected, "gamma is 5 unless told otherwise")


@pytest.mark.parametrize(
    "weight, expected",
    [(min_snr_noise_weight, [1, 0.5]), (min_snr_x_start_weight, [1, 2]), (min_snr_v_weight, [1 / 2, 2 / 5])],
)
def test_another_gamma_cuts_elsewhere(weight, expected):
    expect_close(weight(torch.tensor([1.0, 4.0]).double(), gamma=2), expected, "gamma = 2 leaves 1 and cuts 4")


# --- laws -----------------------------------------------------------------------------------------------------------


@given(tensors(st.integers(1, 6), low=1 / 1024, high=1023 / 1024), st.floats(0.1, 3), gammas)
def test_all_three_are_the_same_objective(left, error, gamma):
    # What an error of the clean sample makes of the noise and of the velocity, for the same x_t
    signal, sigma = left.sqrt(), (1 - left).sqrt()
    noise_error = signal * error / sigma
    v_error = signal * noise_error + sigma * error
    snr = left / (1 - left)
    expected = min_snr_x_start_weight(snr, gamma=gamma) * error**2
    of_noise = min_snr_noise_weight(snr, gamma=gamma) * noise_error**2
    of_v = min_snr_v_weight(snr, gamma=gamma) * v_error**2
    expect_close((of_noise, of_v), (expected, expected), "the same network costs the same, whatever it is asked for")


@given(ratios)
def test_with_a_huge_gamma_nothing_is_cut(snr):
    got = tuple(weight(snr, gamma=1e6) for weight in WEIGHTS)
    expected = (torch.ones_like(snr), snr, snr / (1 + snr))
    expect_close(got, expected, "1 for the noise, the SNR for the clean sample, the signal's share for the velocity")


# --- agreement ------------------------------------------------------------------------------------------------------


@given(ratios, gammas)
def test_weights_agree_with_the_definition(snr, gamma):
    rows = [weights_by_definition(ratio, gamma) for ratio in snr.tolist()]
    expected = tuple(torch.tensor([row[i] for row in rows], dtype=torch.float64) for i in range(3))
    got = tuple(weight(snr, gamma=gamma) for weight in WEIGHTS)
    expect_close(got, expected, "min(snr, gamma), over snr for the noise and over snr + 1 for the velocity")


@given(gammas)
def test_at_gamma_itself_both_sides_meet(gamma):
    got = tuple(weight(torch.tensor([float(gamma)], dtype=torch.float64), gamma=gamma) for weight in WEIGHTS)
    expect_close(got, ([1], [gamma], [gamma / (gamma + 1)]), "cut or not, it is the same there")


# --- edges ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_pure_noise_has_a_weight(dtype):
    got = tuple(weight(torch.zeros(2, dtype=dtype)) for weight in WEIGHTS)
    expect_close(got, ([1, 1], [0, 0], [0, 0]), "an SNR of 0 lies below gamma, and 0 / 0 must not come out")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_no_noise_at_all_has_a_weight(dtype):
    # alphas_cumprod rounded to 1, as float32 does it, has an infinite SNR: min is gamma, and gamma / inf is 0
    got = tuple(weight(torch.tensor([math.inf], dtype=dtype)) for weight in WEIGHTS)
    expect_close(got, ([0], [5], [0]), "an infinite SNR is cut at gamma, and inf / inf must not come out")


@pytest.mark.parametrize("weight", WEIGHTS)
@pytest.mark.parametrize("gamma", [0, 0.0, -1])
def test_a_gamma_that_is_not_positive_is_refused(weight, gamma):
    with pytest.raises(ValueError, match="gamma"):
        weight(torch.ones(2), gamma=gamma)


@pytest.mark.parametrize("weight", WEIGHTS)
@pytest.mark.parametrize("law", STANDING_LAWS[:5])
def test_standing_laws(law, weight):
    law(weight, torch.tensor([0.1, 3, 40, 1200], dtype=torch.float64), gamma=2.5)


@pytest.mark.parametrize("gamma", [0.01, 5, 1000])
def test_neither_ratio_nor_gamma_is_cut_elsewhere(gamma):
    snr = torch.tensor([1e-9, 0.02, 5000.0, 1e6], dtype=torch.float64)
    least = [min(ratio, gamma) for ratio in snr.tolist()]
    expected = {
        min_snr_noise_weight: [least[i] / ratio for i, ratio in enumerate(snr.tolist())],
        min_snr_x_start_weight: least,
        min_snr_v_weight: [least[i] / (ratio + 1) for i, ratio in enumerate(snr.tolist())],
    }
    for weight, wanted in expected.items():
        expect_close(weight(snr, gamma=gamma), wanted, f"{weight.__name__}: min(SNR, gamma) alone", rtol=1e-6, atol=0)
