"""parametrization: from any one of noise, clean sample and velocity to the other two, given x_t.

    x_t = a x_start + s noise,  v = a noise - s x_start,  a = sqrt(alphas_cumprod[t]),  s = sqrt(1 - alphas_cumprod[t])

The definition makes x_t and v of a known clean sample and known noise; each function has to find what was known. Four
of the six divide, by a or by s, and two do not. Out of scope: clipping, alphas_cumprod of exactly 0 or 1.
"""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

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
from katas.lab.strategies import normal, rng, seeds

# function: what it is given besides x_t, what it returns, and the factors of x_t and of the other in the result
CONVERSIONS = {
    x_start_from_noise: ("noise", "x_start", lambda a, s: (1 / a, -s / a)),
    noise_from_x_start: ("x_start", "noise", lambda a, s: (1 / s, -a / s)),
    v_from_noise: ("noise", "v", lambda a, s: (-s / a, 1 / a)),
    v_from_x_start: ("x_start", "v", lambda a, s: (a / s, -1 / s)),
    x_start_from_v: ("v", "x_start", lambda a, s: (a, -s)),
    noise_from_v: ("v", "noise", lambda a, s: (s, a)),
}
every_conversion = pytest.mark.parametrize("convert", CONVERSIONS)

LEVELS = [0.9999, 0.8, 0.36, 0.05, 4e-5, 2e-9]  # alphas_cumprod, from almost clean to almost pure noise
SCHEDULE = torch.tensor(LEVELS, dtype=torch.float64)
# Where all sizes are equal, a wrong broadcast raises no error.
SHAPES = [(1,), (3,), (3, 3), (1000, 2), (2, 2, 2), (2, 4, 1, 3), (3, 3, 3, 3), (2, 2, 2, 2, 2)]


# --- the definition ---------------------------------------------------------------------------------------------------


def known(x_start, noise, t):
    """All that there is to know about a batch of noisy samples, sample by sample."""
    rows = [
        (math.sqrt(LEVELS[i]), math.sqrt(1 - LEVELS[i]), x, eps) for i, x, eps in zip(t, x_start, noise, strict=True)
    ]
    x_t, v = (
        torch.stack([a * x + s * eps for a, s, x, eps in rows]),
        torch.stack([a * eps - s * x for a, s, x, eps in rows]),
    )
    return {"t": torch.tensor(t), "x_t": x_t, "x_start": x_start, "noise": noise, "v": v}


# --- worked examples --------------------------------------------------------------------------------------------------


@every_conversion
def test_by_hand(convert):
    # alphas_cumprod 0.64: a = 0.8, s = 0.6.  x_start 2, noise 1: x_t = 1.6 + 0.6 = 2.2, v = 0.8 - 1.2 = -0.4
    #                0.36: a = 0.6, s = 0.8.  x_start 1, noise 3: x_t = 0.6 + 2.4 = 3.0, v = 1.8 - 0.8 =  1.0
    number = {"x_t": [2.2, 3.0], "x_start": [2.0, 1.0], "noise": [1.0, 3.0], "v": [-0.4, 1.0]}
    given, wanted, _ = CONVERSIONS[convert]
    x_t, other, levels = (SCHEDULE.new_tensor(numbers) for numbers in (number["x_t"], number[given], [0.9, 0.36, 0.64]))
    got = convert(x_t=x_t, t=torch.tensor([2, 1]), alphas_cumprod=levels, **{given: other})
    expect_close(got, number[wanted], f"{wanted} from x_t and {given}")


# --- agreement with the definition ------------------------------------------------------------------------------------


@every_conversion
@settings(max_examples=40)
@given(shape=st.sampled_from(SHAPES), seed=seeds(), unit=st.sampled_from([1e-3, 1, 1e5]))
def test_what_was_known_is_found(convert, shape, seed, unit):
    t = torch.randint(len(LEVELS), shape[:1], generator=rng(seed))
    case, (given, wanted, _) = known(*unit * normal(2, *shape, seed=seed), t.tolist()), CONVERSIONS[convert]
    got = convert(case["x_t"], case["t"], case[given], SCHEDULE)
    expect_close(got / unit, case[wanted] / unit, f"{wanted} from x_t and {given}, each sample at its own timestep")


@pytest.mark.parametrize("dtype, levels, digits", [
    (torch.float32, [1 - 1e-9, 0.9999, 0.36, 4e-5, 2e-9, 1e-12], 2e-6),
    (torch.float64, [1 - 1e-9, 0.9999, 0.36, 4e-5, 2e-9, 1e-12], 1e-7),
    (torch.float16, [0.9999, 0.36, 1e-4], 4e-3),
    (torch.bfloat16, [0.9999, 0.36, 1e-4], 3e-2),
])  # fmt: skip
@every_conversion
def test_both_ends_keep_their_digits(convert, dtype, levels, digits):
    # 1 - 0.9999 has four digits in float32, and none in float16
    t, one, schedule = torch.arange(len(levels)), torch.ones(len(levels), dtype=dtype), SCHEDULE.new_tensor(levels)
    got = torch.stack([convert(one, t, 0 * one, schedule), convert(0 * one, t, one, schedule)], dim=1)
    factors = [CONVERSIONS[convert][2](math.sqrt(level), math.sqrt(1 - level)) for level in levels]
    law = "a and s in the dtype of the schedule; nothing divided from v: the factors of x_t and of the other"
    expect_close(got, torch.tensor(factors, dtype=torch.float64).to(dtype), law, rtol=digits, atol=0)


@every_conversion
def test_the_samples_keep_their_dtype(convert):
    x_t = torch.ones(2, 3, dtype=torch.float64)
    expected = CONVERSIONS[convert][2](0.5**0.5, 0.5**0.5)
    got = convert(x_t, torch.tensor([0, 0]), x_t, torch.tensor([0.5]))
    expect_close(got, torch.full_like(x_t, sum(expected)), "float64 samples, float32 schedule", rtol=1e-6, atol=1e-6)


# --- laws -------------------------------------------------------------------------------------------------------------


def test_noise_and_clean_sample_are_a_rotation_away():
    x_t, v = normal(2, 6, 4)
    x_start, noise = (convert(x_t, torch.arange(6), v, SCHEDULE) for convert in (x_start_from_v, noise_from_v))
    law = "a² + s² = 1: (x_start, noise) is (x_t, v), rotated"
    expect_close(x_start**2 + noise**2, x_t**2 + v**2, law)


@every_conversion
def test_gradients_reach_the_samples(convert):
    case = known(*normal(2, 3, 2), [3, 1, 2])
    other = case[CONVERSIONS[convert][0]]
    gradients_are_right(lambda x_t, other: convert(x_t, case["t"], other, SCHEDULE), case["x_t"], other)


# --- promises of all katas --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("law", STANDING_LAWS)
@every_conversion
def test_standing_laws(convert, law):
    x_t, other = normal(2, 3, 2, 4)
    law(convert, x_t, torch.tensor([4, 0, 2]), other, SCHEDULE)
