"""time_embedding: a vector of cosines and sines for every timestep.

The definition is computed in Python floats. First all cosines, then all sines, each from the fastest wave to the
slowest, then a column of zeros for an odd dim. The frequencies are max_period ** (-i / half), so the slowest is above
1 / max_period. Out of scope: the layers that a network puts behind it.
"""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from katas.diffusion.time_embedding import timestep_embedding
from katas.lab.expect import expect_close, expect_refused
from katas.lab.laws import STANDING_LAWS, default_dtype
from katas.lab.strategies import tensors

timesteps = tensors(st.integers(1, 5), low=0, high=4000)
dims = st.integers(2, 9) | st.sampled_from([129, 512])
periods = st.sampled_from([10_000, 100, 7.5])


# --- the definition ---------------------------------------------------------------------------------------------------


def embedding(t, dim, max_period=10_000):
    half = dim // 2
    angles = [[step * max_period ** (-i / half) for i in range(half)] for step in t.tolist()]
    rows = [[*map(math.cos, row), *map(math.sin, row), *[0.0] * (dim % 2)] for row in angles]
    return torch.tensor(rows, dtype=torch.float64)


# --- worked examples --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("t, dim, max_period, expected, law", [
    (0, 6, 7, [1, 1, 1, 0, 0, 0], "cosines first: cos 0 is 1, sin 0 is 0"),
    (3, 2, 7, [math.cos(3), math.sin(3)], "the fastest wave has frequency 1, in radians"),
    # half = 2: frequencies 1 and 100^(-1/2) = 0.1
    (2, 4, 100, [math.cos(2), math.cos(0.2), math.sin(2), math.sin(0.2)], "max_period ** (-i / half), fast first"),
    # half = 3: frequencies 1, 1000^(-1/3) = 0.1, 1000^(-2/3) = 0.01
    (2, 6, 1000, [*map(math.cos, (2, 0.2, 0.02)), *map(math.sin, (2, 0.2, 0.02))], "a constant factor between waves"),
    (2, 5, 100, [math.cos(2), math.cos(0.2), math.sin(2), math.sin(0.2), 0], "an odd dim ends in a zero"),
    (50.5, 2, 100, [math.cos(50.5), math.sin(50.5)], "a timestep may be fractional"),
])  # fmt: skip
def test_an_embedding_by_hand(t, dim, max_period, expected, law):
    got = timestep_embedding(t=torch.tensor([t], dtype=torch.float64), dim=dim, max_period=max_period)
    expect_close(got, [expected], law)


def test_max_period_is_10000_by_default():
    got = timestep_embedding(torch.tensor([7.0], dtype=torch.float64), 4)  # frequencies 1 and 10000^(-1/2) = 0.01
    expect_close(got, [[math.cos(7), math.cos(0.07), math.sin(7), math.sin(0.07)]], "max_period = 10000")


# --- agreement with the definition ------------------------------------------------------------------------------------


@given(timesteps, dims, periods)
def test_the_embedding_agrees_with_the_definition(t, dim, max_period):
    got = timestep_embedding(t, dim, max_period=max_period)
    expect_close(got, embedding(t, dim, max_period), "float64 timesteps: in float64 throughout, row by row")


@pytest.mark.parametrize("dim", [2, 7, 32])
@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.float32])
def test_thousands_of_timesteps_agree_in_float32(dtype, dim):
    t = torch.arange(0, 5000, 7).to(dtype)
    expected = embedding(t, dim).float()
    # A frequency in float32 is off in the seventh digit, and an angle of 5000 in the third place.
    expect_close(timestep_embedding(t, dim), expected, f"timesteps 0 to 5000 in {dtype}", rtol=0, atol=5e-3)


@pytest.mark.parametrize("dtype, digits", [(torch.float16, 1e-3), (torch.bfloat16, 8e-3)])
def test_half_precision_is_computed_in_float32(dtype, digits):
    t = torch.tensor([3, 17.5, 1000], dtype=dtype)  # exact in both
    got = timestep_embedding(t, 32)
    expect_close(got, embedding(t, 32).to(dtype), "computed in float32, cast last", rtol=0, atol=digits)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32, torch.int64])
@pytest.mark.parametrize("default", [torch.float32, torch.float64])
def test_integers_give_float32_whatever_the_default(dtype, default):
    with default_dtype(default):
        got = timestep_embedding(torch.tensor([3, 200]).to(dtype), 4).dtype
    assert got == torch.float32, f"{dtype} timesteps give float32, not {got}, also if the default is {default}"


# --- laws -------------------------------------------------------------------------------------------------------------


@given(tensors(2, low=0, high=500), st.floats(0, 500), dims, periods)
def test_only_the_distance_in_time_counts(pair, shift, dim, max_period):
    now, later = (timestep_embedding(pair + by, dim, max_period=max_period) for by in (0, shift))
    expected = sum(math.cos(float(pair[0] - pair[1]) * max_period ** (-i / (dim // 2))) for i in range(dim // 2))
    law = "the inner product of two embeddings is the sum of cos(frequency * distance)"
    expect_close(torch.stack([now[0] @ now[1], later[0] @ later[1]]), [expected, expected], law)


# --- promises of all katas --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dim", [1, 0, -2])
def test_a_dim_without_room_for_waves_is_refused(dim):
    expect_refused("dim", lambda: timestep_embedding(torch.tensor([1.0]), dim))


@pytest.mark.parametrize("law", STANDING_LAWS)
def test_standing_laws(law):
    law(timestep_embedding, torch.tensor([0, 17.5, 999], dtype=torch.float64), 7)
    law(lambda steps: timestep_embedding(steps.long(), 7).to(steps), torch.tensor([0.0, 17, 999], dtype=torch.float64))
