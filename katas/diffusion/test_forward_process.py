"""forward_process: one number a sample, shaped to multiply it, and the noisy sample at any timestep in one step.

Every sample of the batch has its own timestep; samples have any rank, (B,) included. The schedule is usually float64
and the samples float32: the result has the dtype of the samples, and the factors keep their digits. Out of scope:
drawing the noise, timesteps outside 0 ... T - 1.
"""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from katas.diffusion.forward_process import extract, q_sample
from katas.lab.expect import expect_close, expect_equal
from katas.lab.laws import STANDING_LAWS, gradients_are_right
from katas.lab.strategies import seeds

BETAS = [0.0001, 0.3, 0.05, 0.6, 0.2, 0.9]
LEFT = [math.prod(1 - beta for beta in BETAS[: t + 1]) for t in range(len(BETAS))]
ALPHAS_CUMPROD = torch.tensor(LEFT, dtype=torch.float64)


@st.composite
def cases(draw):
    """Samples and noise of rank 1 to 5 and a timestep each. All sizes are equal: a wrong broadcast raises no error."""
    size, rank = draw(st.integers(1, 3)), draw(st.integers(1, 5))
    t = draw(st.lists(st.integers(0, len(LEFT) - 1), min_size=size, max_size=size))
    generator = torch.Generator().manual_seed(draw(seeds()))
    x_start, noise = torch.randn(2, *[size] * rank, generator=generator, dtype=torch.float64)
    return x_start, torch.tensor(t), noise


def q_sample_by_definition(x_start, t, noise):
    samples = []
    for clean, step, eps in zip(x_start, t.tolist(), noise, strict=True):
        pairs = zip(clean.flatten().tolist(), eps.flatten().tolist(), strict=True)
        numbers = [math.sqrt(LEFT[step]) * x + math.sqrt(1 - LEFT[step]) * z for x, z in pairs]
        samples.append(torch.tensor(numbers, dtype=torch.float64).reshape(clean.shape))
    return torch.stack(samples)


# --- worked examples ------------------------------------------------------------------------------------------------


def test_every_sample_gets_its_own_number():
    values, images = torch.tensor([10.0, 20.0, 30.0, 40.0]), torch.zeros(3, 2, 5, 4)
    got = extract(values, torch.tensor([3, 0, 3]), images)
    expect_equal(got, torch.tensor([40.0, 10.0, 40.0]).reshape(3, 1, 1, 1), "values[t], shaped (B, 1, 1, 1)")


def test_signal_and_noise_by_hand():
    # alphas_cumprod 0.64: 0.8 of the sample and 0.6 of the noise.  0.36: the other way round.
    left = torch.tensor([0.99, 0.64, 0.36], dtype=torch.float64)
    x_start = torch.tensor([[1.0, 2.0], [1.0, 2.0]], dtype=torch.float64)
    noise = torch.tensor([[10.0, -10.0], [10.0, -10.0]], dtype=torch.float64)
    expected = [[0.8 + 6, 1.6 - 6], [0.6 + 8, 1.2 - 8]]
    expect_close(q_sample(x_start, torch.tensor([1, 2]), noise, left), expected, "every sample at its own timestep")


def test_a_batch_as_large_as_the_sample():
    # three samples of three numbers: the factor belongs to the row, not to the column
    left = torch.tensor([0.64, 0.36, 0.0], dtype=torch.float64)
    x_start, noise = torch.ones(3, 3, dtype=torch.float64), torch.zeros(3, 3, dtype=torch.float64)
    expected = [[0.6, 0.6, 0.6], [0.8, 0.8, 0.8], [0, 0, 0]]
    expect_close(q_sample(x_start, torch.tensor([1, 0, 2]), noise, left), expected, "one timestep a row")


# --- laws -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("t", range(len(BETAS)))
def test_one_step_is_the_whole_chain(t):
    generator = torch.Generator().manual_seed(t)
    x_start, *noises = torch.randn(t + 2, 2, 3, generator=generator, dtype=torch.float64)
    x, from_nothing = x_start, torch.zeros_like(x_start)
    for beta, noise in zip(BETAS, noises, strict=False):
        x = math.sqrt(1 - beta) * x + math.sqrt(beta) * noise
        from_nothing = math.sqrt(1 - beta) * from_nothing + math.sqrt(beta) * noise
    # what the noises of all steps amount to has the variance 1 - alphas_cumprod[t]
    got = q_sample(x_start, torch.tensor([t, t]), from_nothing / math.sqrt(1 - LEFT[t]), ALPHAS_CUMPROD)
    expect_close(got, x, f"x ← sqrt(1 - beta) x + sqrt(beta) noise, for timesteps 0 to {t}")


def test_variance_is_preserved():
    t, one, zero = torch.arange(6), torch.ones(6, dtype=torch.float64), torch.zeros(6, dtype=torch.float64)
    of_signal, of_noise = q_sample(one, t, zero, ALPHAS_CUMPROD), q_sample(zero, t, one, ALPHAS_CUMPROD)
    expect_close(of_signal**2 + of_noise**2, one, "the squares of both factors add up to 1")


@given(cases(), st.data())
def test_samples_do_not_depend_on_their_batch(case, data):
    x_start, t, noise = case
    order = data.draw(st.permutations(range(len(t))), label="order")
    got = q_sample(x_start[order], t[order], noise[order], ALPHAS_CUMPROD)
    expect_close(got, q_sample(*case, ALPHAS_CUMPROD)[order], "another order of the samples only changes the order")


# --- agreement ------------------------------------------------------------------------------------------------------


@given(cases())
def test_noisy_samples_agree_with_the_definition(case):
    got = q_sample(*case, ALPHAS_CUMPROD)
    expect_close(got, q_sample_by_definition(*case), "sqrt(abar) x_start + sqrt(1 - abar) noise, element by element")


@given(cases())
def test_extracted_numbers_agree_with_the_definition(case):
    x, t, _ = case
    expected = torch.tensor([LEFT[step] for step in t.tolist()], dtype=torch.float64)
    expected = expected.reshape(-1, *[1] * (x.dim() - 1))
    expect_equal(extract(ALPHAS_CUMPROD, t, x), expected, "as many dimensions as the samples, (B, 1, ..., 1)")


# --- float32 samples, float64 schedule ------------------------------------------------------------------------------


@pytest.mark.parametrize("of_samples", [torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("of_schedule", [torch.float32, torch.float64])
def test_the_dtype_is_that_of_the_samples(of_samples, of_schedule):
    x, t = torch.ones(2, 3, dtype=of_samples), torch.tensor([1, 0])
    values = torch.tensor([0.75, 0.25], dtype=of_schedule)
    law = f"samples in {of_samples}, schedule in {of_schedule}"
    expect_equal(extract(values, t, x), torch.tensor([[0.25], [0.75]], dtype=of_samples), law)
    half, other = 0.5, math.sqrt(0.75)  # the roots of 0.25 and 0.75
    expected = torch.tensor([[half + other] * 3, [other + half] * 3], dtype=of_samples)
    tolerance = 2e-2 if of_samples == torch.bfloat16 else 1e-6  # bfloat16 has 8 bits; a root in float32 is off by 1e-7
    expect_close(q_sample(x, t, x, values), expected, law, rtol=tolerance, atol=0)


def test_the_first_timesteps_keep_their_digits():
    # 1 - 0.9999 is 1e-4, and its root 0.01.  In float32 0.9999 is off by 2e-8, and the root by 1e-4 of itself.
    x_start, noise = torch.zeros(1, 2), torch.tensor([[1.0, -3.0]])
    got = q_sample(x_start, torch.tensor([0]), noise, ALPHAS_CUMPROD)
    expect_close(got, [[0.01, -0.03]], "1 - alphas_cumprod in float64, then float32", rtol=1e-6, atol=0)


# --- edges ----------------------------------------------------------------------------------------------------------


def test_gradients_reach_sample_and_noise():
    x_start, noise = torch.randn(2, 2, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    def noisy_sample(x_start, noise):
        return q_sample(x_start, torch.tensor([4, 1]), noise, ALPHAS_CUMPROD)

    gradients_are_right(noisy_sample, x_start, noise)


@pytest.mark.parametrize("law", STANDING_LAWS[:5])
def test_standing_laws(law):
    x_start, noise = torch.randn(2, 3, 2, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    law(q_sample, x_start, torch.tensor([5, 0, 3]), noise, ALPHAS_CUMPROD)
    law(extract, ALPHAS_CUMPROD, torch.tensor([5, 0, 3]), x_start)


def test_tiny_noise_is_not_lost():
    levels = torch.tensor([1 - 1e-8], dtype=torch.float64)
    got = q_sample(torch.zeros(1, 2), torch.tensor([0]), torch.ones(1, 2), levels)
    expect_close(got, [[1e-4, 1e-4]], "sqrt(1e-8) of the noise: no floor under it", rtol=1e-6, atol=0)
