"""parametrization: from any one of noise, clean sample and velocity to the other two, given x_t.

    x_t = a x_start + s noise,  v = a noise - s x_start,  a = sqrt(alphas_cumprod[t]),  s = sqrt(1 - alphas_cumprod[t])

Every sample has its own timestep. Four of the six divide, and have to be finite from the first timestep to the last.
Out of scope: clipping, alphas_cumprod of exactly 0 or 1.
"""

import math
from typing import NamedTuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from katas.diffusion.parametrization import (
    noise_from_v,
    noise_from_x_start,
    v_from_noise,
    v_from_x_start,
    x_start_from_noise,
    x_start_from_v,
)
from katas.lab.expect import expect_close
from katas.lab.laws import STANDING_LAWS, gradients_are_right
from katas.lab.strategies import seeds

# function: what it is given besides x_t, what it returns
CONVERSIONS = {
    x_start_from_noise: ("noise", "x_start"),
    noise_from_x_start: ("x_start", "noise"),
    v_from_noise: ("noise", "v"),
    v_from_x_start: ("x_start", "v"),
    x_start_from_v: ("v", "x_start"),
    noise_from_v: ("v", "noise"),
}
BACK = {CONVERSIONS[function]: function for function in CONVERSIONS}
every_conversion = pytest.mark.parametrize("convert", CONVERSIONS)

LEFT = [0.9999, 0.8, 0.36, 0.05, 4e-5, 2e-9]  # almost clean to almost pure noise
ALPHAS_CUMPROD = torch.tensor(LEFT, dtype=torch.float64)


class Known(NamedTuple):
    """Everything there is to know about a batch of noisy samples."""

    t: Tensor
    x_t: Tensor
    x_start: Tensor
    noise: Tensor
    v: Tensor


def known(x_start, noise, t, left=LEFT):
    """By definition, sample by sample."""
    factors = [(math.sqrt(left[step]), math.sqrt(1 - left[step])) for step in t]
    x_t = [a * clean + s * eps for (a, s), clean, eps in zip(factors, x_start, noise, strict=True)]
    v = [a * eps - s * clean for (a, s), clean, eps in zip(factors, x_start, noise, strict=True)]
    return Known(torch.tensor(t), torch.stack(x_t), x_start, noise, torch.stack(v))


@st.composite
def cases(draw):
    """Samples of rank 1 to 5 at a timestep each. All sizes are equal: a wrong broadcast raises no error."""
    size, rank = draw(st.integers(1, 3)), draw(st.integers(1, 5))
    t = draw(st.lists(st.integers(0, len(LEFT) - 1), min_size=size, max_size=size))
    generator, scale = torch.Generator().manual_seed(draw(seeds())), draw(st.sampled_from([1, 30]))
    return known(*scale * torch.randn(2, *[size] * rank, generator=generator, dtype=torch.float64), t)


def linear_schedule(T=1000):
    return torch.cumprod(1 - torch.linspace(0.1 / T, 20 / T, T, dtype=torch.float64), 0)


def cosine_schedule(T=1000):
    left = torch.cos((torch.linspace(0, 1, T + 1, dtype=torch.float64) + 0.008) / 1.008 * math.pi / 2) ** 2
    return torch.cumprod((left[1:] / left[:-1]).clamp(min=0.001), 0)


def sigmoid_schedule(T=1000):
    left = math.tanh(1.5) - torch.tanh(torch.linspace(-1.5, 1.5, T + 1, dtype=torch.float64))
    return torch.cumprod((left[1:] / left[:-1]).clamp(min=0.001), 0)


# --- worked examples ------------------------------------------------------------------------------------------------


@every_conversion
def test_by_hand(convert):
    # alphas_cumprod 0.64: a = 0.8, s = 0.6.  x_start 2, noise 1: x_t = 1.6 + 0.6 = 2.2, v = 0.8 - 1.2 = -0.4
    #                0.36: a = 0.6, s = 0.8.  x_start 1, noise 3: x_t = 0.6 + 2.4 = 3.0, v = 1.8 - 0.8 =  1.0
    number = {"x_t": [2.2, 3.0], "x_start": [2.0, 1.0], "noise": [1.0, 3.0], "v": [-0.4, 1.0]}
    given, wanted = CONVERSIONS[convert]
    x_t, known_one = (torch.tensor(number[name], dtype=torch.float64) for name in ("x_t", given))
    left = torch.tensor([0.9, 0.36, 0.64], dtype=torch.float64)
    expect_close(convert(x_t, torch.tensor([2, 1]), known_one, left), number[wanted], f"{wanted} from x_t and {given}")


# --- laws -----------------------------------------------------------------------------------------------------------


@every_conversion
@settings(max_examples=15)
@given(case=cases())
def test_there_and_back(convert, case):
    given, wanted = CONVERSIONS[convert]
    start, back = getattr(case, given), BACK[wanted, given]
    got = back(case.x_t, case.t, convert(case.x_t, case.t, start, ALPHAS_CUMPROD), ALPHAS_CUMPROD)
    expect_close(got, start, f"from {given} to {wanted} and back again")


# --- agreement ------------------------------------------------------------------------------------------------------


@every_conversion
@settings(max_examples=30)
@given(case=cases())
def test_conversions_agree_with_the_definition(convert, case):
    given, wanted = CONVERSIONS[convert]
    got = convert(case.x_t, case.t, getattr(case, given), ALPHAS_CUMPROD)
    expect_close(got, getattr(case, wanted), f"{wanted} from x_t and {given}, every sample at its own timestep")


# --- first and last timestep ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("schedule", [linear_schedule, cosine_schedule, sigmoid_schedule])
@every_conversion
def test_both_ends_of_every_schedule_are_finite(convert, schedule):
    for dtype in (torch.float32, torch.float64):
        x_t, other = torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(0), dtype=dtype)
        got = convert(x_t, torch.tensor([0, 999, 999, 0]), other, schedule())
        assert got.isfinite().all(), f"in {dtype} the timesteps 0, 999, 999 and 0 gave {got}"


@every_conversion
def test_the_first_timesteps_keep_their_digits(convert):
    # 1 - 0.9999 is 1e-4.  In float32 0.9999 is off by 2e-8, and s by 1e-4 of itself.
    a, s, t, one, zero = math.sqrt(0.9999), 0.01, torch.tensor([0]), torch.ones(1), torch.zeros(1)
    of_x_t, of_other = convert(one, t, zero, ALPHAS_CUMPROD), convert(zero, t, one, ALPHAS_CUMPROD)
    expected = {
        x_start_from_noise: (1 / a, -s / a), noise_from_x_start: (1 / s, -a / s), v_from_noise: (-s / a, 1 / a),
        v_from_x_start: (a / s, -1 / s), x_start_from_v: (a, -s), noise_from_v: (s, a),
    }[convert]  # fmt: skip
    got = torch.cat([of_x_t, of_other])
    expect_close(got, expected, "factors in float64, then float32: those of x_t and of the other", rtol=1e-6, atol=0)


# --- edges ----------------------------------------------------------------------------------------------------------


@every_conversion
def test_the_dtype_is_that_of_the_samples(convert):
    pairs = (torch.bfloat16, torch.float64), (torch.float32, torch.float64), (torch.float64, torch.float32)
    for dtype, other in pairs:
        x_t = torch.ones(2, 3, dtype=dtype)
        got = convert(x_t, torch.tensor([1, 2]), x_t, ALPHAS_CUMPROD.to(other)).dtype
        assert got == dtype, f"samples in {dtype}, schedule in {other}, but {got} came out"


@every_conversion
def test_gradients_reach_the_samples(convert):
    case = known(*torch.randn(2, 3, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64), [3, 1, 2])

    def converted(x_t, other):
        return convert(x_t, case.t, other, ALPHAS_CUMPROD)

    gradients_are_right(converted, case.x_t, getattr(case, CONVERSIONS[convert][0]))


@pytest.mark.parametrize("law", STANDING_LAWS[:5])
@every_conversion
def test_standing_laws(convert, law):
    x_t, other = torch.randn(2, 3, 2, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    law(convert, x_t, torch.tensor([4, 0, 2]), other, ALPHAS_CUMPROD)


@every_conversion
def test_nothing_is_cut_at_the_far_ends(convert):
    levels = [1 - 1e-9, 1e-12]
    samples = torch.randn(2, 2, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    case = known(*samples, [0, 1], levels)
    given, wanted = CONVERSIONS[convert]
    got = convert(case.x_t, case.t, getattr(case, given), torch.tensor(levels, dtype=torch.float64))
    law = "no floor under sqrt(alphas_cumprod) or sqrt(1 - alphas_cumprod)"
    expect_close(got, getattr(case, wanted), law, rtol=1e-5, atol=1e-5)
