"""time_embedding: a vector of cosines and sines for every timestep.

First all cosines, then all sines, each from the fastest wave to the slowest; for an odd dim a column of zeros at the
end. The frequencies are max_period ** (-i / half), so the slowest is not quite 1 / max_period. Timesteps are integers
(float32 comes out) or fractions (their dtype comes out). Out of scope: the layers that a network puts behind it.
"""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from katas.diffusion.time_embedding import timestep_embedding
from katas.lab.expect import expect_close, expect_equal
from katas.lab.laws import STANDING_LAWS
from katas.lab.strategies import tensors

timesteps = tensors(st.integers(1, 5), low=0, high=4000)
dims = st.integers(2, 9)
periods = st.sampled_from([10_000, 100, 7.5])
# A float32 angle near 1000 is known to 1e-4, its frequency to a few units in the seventh digit.
IN_FLOAT32 = {"rtol": 0, "atol": 2e-3}


def embedding_by_definition(t, dim, max_period=10_000):
    half = dim // 2
    angles = [[step * max_period ** (-i / half) for i in range(half)] for step in t.tolist()]
    rows = [[*map(math.cos, row), *map(math.sin, row), *[0.0] * (dim % 2)] for row in angles]
    return torch.tensor(rows, dtype=torch.float64)


# --- worked examples ------------------------------------------------------------------------------------------------


def test_cosines_come_first_and_fast_waves_before_slow_ones():
    # half = 3: frequencies 1000^0, 1000^(-1/3), 1000^(-2/3), which is 1, 0.1, 0.01
    cosines, sines = [math.cos(2), math.cos(0.2), math.cos(0.02)], [math.sin(2), math.sin(0.2), math.sin(0.02)]
    got = timestep_embedding(torch.tensor([2.0], dtype=torch.float64), 6, max_period=1000)
    expect_close(got, [cosines + sines], "cosines, then sines, from the fastest to the slowest")


def test_the_first_timestep_is_ones_and_zeros():
    got = timestep_embedding(torch.tensor([0.0], dtype=torch.float64), 8)
    expect_equal(got, [[1, 1, 1, 1, 0, 0, 0, 0]], "cos 0 is 1 and sin 0 is 0")


def test_an_odd_dim_ends_in_a_zero():
    # half = 2: frequencies 1 and 1 / sqrt(10000) = 0.01
    expected = [[math.cos(t), math.cos(t / 100), math.sin(t), math.sin(t / 100), 0] for t in (1, 50.5)]
    got = timestep_embedding(torch.tensor([1, 50.5], dtype=torch.float64), 5)
    expect_close(got, expected, "two cosines, two sines, one zero; max_period is 10000 unless told otherwise")


def test_a_single_wave_of_each_kind():
    got = timestep_embedding(torch.tensor([3.0], dtype=torch.float64), 2)
    expect_close(got, [[math.cos(3), math.sin(3)]], "dim = 2 has the fastest wave alone")


# --- laws -----------------------------------------------------------------------------------------------------------


@given(tensors(2, low=0, high=500), st.floats(0, 500), dims, periods)
def test_only_the_distance_in_time_counts(pair, shift, dim, max_period):
    now = timestep_embedding(pair, dim, max_period=max_period)
    later = timestep_embedding(pair + shift, dim, max_period=max_period)
    expected = sum(math.cos(float(pair[0] - pair[1]) * max_period ** (-i / (dim // 2))) for i in range(dim // 2))
    law = "the inner product of two embeddings is the sum of cos(frequency * distance)"
    expect_close(torch.stack([now[0] @ now[1], later[0] @ later[1]]), [expected, expected], law)


@given(timesteps, dims)
def test_timesteps_do_not_depend_on_their_batch(t, dim):
    alone = torch.cat([timestep_embedding(step[None], dim) for step in t])
    expect_close(timestep_embedding(t, dim), alone, "a row is the embedding of its timestep alone")


# --- agreement ------------------------------------------------------------------------------------------------------


@given(timesteps, dims, periods)
def test_the_embedding_agrees_with_the_definition(t, dim, max_period):
    got = timestep_embedding(t, dim, max_period=max_period)
    expect_close(got, embedding_by_definition(t, dim, max_period), "in float64 throughout for timesteps in float64")


@pytest.mark.parametrize("dim", [2, 7, 32])
@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.float32])
def test_every_timestep_agrees_in_float32(dtype, dim):
    t = torch.arange(1000, dtype=dtype)
    expected = embedding_by_definition(t, dim).float()
    expect_close(timestep_embedding(t, dim), expected, f"timesteps 0 to 999 in {dtype}", **IN_FLOAT32)


# --- edges ----------------------------------------------------------------------------------------------------------


def test_integers_become_float32_whatever_the_default():
    torch.set_default_dtype(torch.float64)
    try:
        got = timestep_embedding(torch.tensor([3, 700]), 4)
    finally:
        torch.set_default_dtype(torch.float32)
    assert got.dtype == torch.float32, f"integer timesteps give float32, not {got.dtype}"


@pytest.mark.parametrize("dim", [1, 0, -2])
def test_a_dim_without_room_for_a_wave_is_refused(dim):
    with pytest.raises(ValueError, match="dim"):
        timestep_embedding(torch.tensor([1.0]), dim)


@pytest.mark.parametrize("law", STANDING_LAWS[:5])
def test_standing_laws(law):
    law(timestep_embedding, torch.tensor([0, 17.5, 999], dtype=torch.float64), 7)


@pytest.mark.parametrize("dim", [129, 512])
def test_a_wide_embedding_is_made_like_a_narrow_one(dim):
    t = torch.tensor([70.0], dtype=torch.float64)
    law = f"{dim // 2} frequencies{', and a column of 0' * (dim % 2)}"
    expect_close(timestep_embedding(t, dim), embedding_by_definition(t, dim), law)


def test_late_timesteps_keep_their_digits():
    got = timestep_embedding(torch.tensor([3999, 40_001]), 2)
    expected = [[math.cos(t), math.sin(t)] for t in (3999, 40_001)]
    expect_close(got, expected, "integers are computed in float32, which float16 is not", rtol=0, atol=1e-2)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_stays_half_precision(dtype):
    got = timestep_embedding(torch.tensor([3.0], dtype=dtype), 4).dtype
    assert got == dtype, f"the result has the dtype of t, {dtype}, not {got}"


def test_a_call_in_float32_does_not_spoil_one_in_float64():
    t = torch.tensor([1.0, 700.0])
    timestep_embedding(t, 46, max_period=777)
    expected = embedding_by_definition(t, 46, 777)
    got = timestep_embedding(t.double(), 46, max_period=777)
    expect_close(got, expected, "frequencies that are kept must be kept by dtype", rtol=0, atol=1e-9)
