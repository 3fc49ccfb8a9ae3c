"""forward_process: one number per sample, shaped to multiply it, and the noisy sample at any timestep in one step.

The definition is computed in Python floats, element by element. Every sample of the batch has its own timestep. Samples
have any rank, (B,) included. Out of scope: drawing the noise, timesteps outside 0 ... T - 1.
"""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from katas.diffusion.forward_process import extract, q_sample
from katas.lab.expect import expect_close, expect_equal
from katas.lab.laws import STANDING_LAWS, gradients_are_right
from katas.lab.strategies import normal, rng, seeds

BETAS = [0.0001, 0.3, 0.05, 0.6, 0.2, 0.9]
LEVELS = [math.prod(1 - beta for beta in BETAS[: t + 1]) for t in range(len(BETAS))]
SCHEDULE = torch.tensor(LEVELS, dtype=torch.float64)
# Where all sizes are equal, a wrong broadcast raises no error.
SHAPES = [(1,), (3,), (3, 3), (1000, 2), (2, 2, 2), (2, 4, 1, 3), (3, 3, 3, 3), (2, 2, 2, 2, 2)]
DIGITS = {torch.float16: 2e-3, torch.bfloat16: 2e-2, torch.float32: 1e-6, torch.float64: 1e-12}

shapes = st.sampled_from(SHAPES)


# --- the definition ---------------------------------------------------------------------------------------------------


def noisy(x_start, t, noise):
    rows = []
    for clean, step, eps in zip(x_start, t.tolist(), noise, strict=True):
        pairs = zip(clean.flatten().tolist(), eps.flatten().tolist(), strict=True)
        rows.append([math.sqrt(LEVELS[step]) * x + math.sqrt(1 - LEVELS[step]) * z for x, z in pairs])
    return torch.tensor(rows, dtype=torch.float64).reshape(x_start.shape)


def timesteps(count, seed):
    return torch.randint(len(LEVELS), (count,), generator=rng(seed))


# --- worked examples --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape, ones", [((3,), ()), ((3, 3), (1,)), ((3, 2, 5, 4), (1, 1, 1))])
def test_extract_gives_each_sample_its_own_number(shape, ones):
    values = torch.tensor([10.0, 20.0, 30.0, 40.0])
    got = extract(values=values, t=torch.tensor([3, 0, 2]), x=torch.zeros(shape))
    expect_equal(got, torch.tensor([40.0, 10.0, 30.0]).reshape(3, *ones), "values[t], shaped (B, 1, ..., 1)")


@pytest.mark.parametrize("x_start, noise, expected, law", [
    # alphas_cumprod 0.64: 0.8 of the sample and 0.6 of the noise.  0.36: 0.6 and 0.8.
    ([[1.0, 2], [3, 4]], [[0.0, 0], [0, 0]], [[0.8, 1.6], [1.8, 2.4]], "sqrt(alphas_cumprod) times the sample"),
    ([[0.0, 0], [0, 0]], [[10.0, -20], [30, 40]], [[6, -12], [24, 32]], "sqrt(1 - alphas_cumprod) times the noise"),
    ([[1.0, 2], [3, 4]], [[10.0, -20], [30, 40]], [[6.8, -10.4], [25.8, 34.4]], "signal plus noise"),
])  # fmt: skip
def test_signal_and_noise_by_hand(x_start, noise, expected, law):
    x_start, noise, levels = (SCHEDULE.new_tensor(numbers) for numbers in (x_start, noise, [0.99, 0.64, 0.36]))
    got = q_sample(x_start=x_start, t=torch.tensor([1, 2]), noise=noise, alphas_cumprod=levels)
    expect_close(got, expected, f"{law}, each row at its own timestep")


# --- agreement with the definition ------------------------------------------------------------------------------------


@given(shapes, seeds(), st.sampled_from([1e-3, 1, 1e6]))
def test_noisy_samples_agree_with_the_definition(shape, seed, unit):
    x_start, noise = unit * normal(2, *shape, seed=seed)
    t = timesteps(len(x_start), seed)
    got, expected = q_sample(x_start, t, noise, SCHEDULE), noisy(x_start, t, noise)
    expect_close(got / unit, expected / unit, "sqrt(abar) x_start + sqrt(1 - abar) noise, sample by sample")


@given(shapes, seeds())
def test_extracted_numbers_agree_with_the_definition(shape, seed):
    t = timesteps(shape[0], seed)
    expected = SCHEDULE.new_tensor([LEVELS[step] for step in t.tolist()]).reshape(-1, *[1] * (len(shape) - 1))
    expect_equal(extract(SCHEDULE, t, normal(*shape)), expected, "as many dimensions as the samples, (B, 1, ..., 1)")


@pytest.mark.parametrize("level", [0.9999, 1 - 1e-7, 0.3, 1e-6])
@pytest.mark.parametrize("schedule_dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("dtype", DIGITS)
def test_factors_keep_their_digits(dtype, schedule_dtype, level):
    # 1 - 0.9999 has four digits in float32, and none in float16
    levels, level = torch.tensor([0.5, level], dtype=schedule_dtype), float(torch.tensor(level, dtype=schedule_dtype))
    x_start, noise = torch.tensor([[[1, 0]], [[0, 1]]], dtype=dtype)
    got = q_sample(x_start, torch.tensor([1]), noise, levels)
    expected = torch.tensor([[math.sqrt(level), math.sqrt(1 - level)]], dtype=torch.float64).to(dtype)
    digits = max(DIGITS[dtype], DIGITS[schedule_dtype])
    expect_close(
        got, expected, "computed in the dtype of the schedule, then cast to that of x_start", rtol=digits, atol=0
    )


@pytest.mark.parametrize("dtype", DIGITS)
def test_extract_follows_the_dtype_of_x(dtype):
    got = extract(SCHEDULE.new_tensor([0.75, 0.25]), torch.tensor([1, 0]), torch.ones(2, 3, dtype=dtype))
    expect_equal(got, torch.tensor([[0.25], [0.75]], dtype=dtype), "the result has the dtype of x")


# --- laws -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("t", range(len(BETAS)))
def test_one_jump_is_the_whole_chain(t):
    x_start, *noises = normal(t + 2, 2, 3, seed=t)
    x, from_nothing = x_start, torch.zeros_like(x_start)
    for beta, noise in zip(BETAS[: t + 1], noises, strict=True):
        x = math.sqrt(1 - beta) * x + math.sqrt(beta) * noise
        from_nothing = math.sqrt(1 - beta) * from_nothing + math.sqrt(beta) * noise
    # the noises of all steps add up to one noise of variance 1 - alphas_cumprod[t]
    got = q_sample(x_start, torch.tensor([t, t]), from_nothing / math.sqrt(1 - LEVELS[t]), SCHEDULE)
    expect_close(got, x, f"x ← sqrt(1 - beta) x + sqrt(beta) noise, for timesteps 0 to {t}")


def test_variance_is_preserved():
    t, one, zero = torch.arange(6), SCHEDULE.new_ones(6), SCHEDULE.new_zeros(6)
    of_signal, of_noise = q_sample(one, t, zero, SCHEDULE), q_sample(zero, t, one, SCHEDULE)
    expect_close(of_signal**2 + of_noise**2, one, "the squares of both factors add up to 1")


def test_gradients_reach_sample_and_noise():
    x_start, noise = normal(2, 2, 3)
    gradients_are_right(lambda x_start, noise: q_sample(x_start, torch.tensor([4, 1]), noise, SCHEDULE), x_start, noise)


# --- promises of all katas --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("law", STANDING_LAWS)
def test_standing_laws(law):
    x_start, noise = normal(2, 3, 2, 4, 5)
    law(q_sample, x_start, torch.tensor([5, 0, 3]), noise, SCHEDULE)
    law(lambda x, t, values: extract(values, t, x), x_start, torch.tensor([5, 0, 3]), SCHEDULE)
