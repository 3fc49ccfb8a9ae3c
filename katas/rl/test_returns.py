"""returns: what follows each step of a rollout, as a sum of rewards, and with the value of a later observation.

The definition walks forward from every step, on Python floats. Out of scope: off-policy corrections.
"""

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from katas.lab.expect import expect_close, expect_refused
from katas.lab.laws import STANDING_LAWS
from katas.lab.strategies import normal, rng, seeds
from katas.rl.returns import discounted_returns, n_step_returns

GAMMAS = [0, 0.5, 0.9, 0.999, 1]
F64 = torch.float64
EXACT = {"rtol": 1e-11, "atol": 1e-11}  # float64 rewards must not pass through float32


def flags(*steps):
    return torch.tensor(steps, dtype=torch.bool)


def drawn(seed, *shape, share=0.2):
    """Rewards, values of the next observations, and where episodes terminate and where they are truncated."""
    chances = torch.rand(2, *shape, generator=rng(seed + 1)) < share
    return normal(*shape, seed=seed), 5 + normal(*shape, seed=seed + 2), chances[0], chances[1]


# --- the definition ---------------------------------------------------------------------------------------------------


def n_steps(rewards, next_values, terminated, truncated, gamma, n):
    """Of one environment, as lists. Without next_values: nothing follows the end."""
    returns = []
    for start in range(len(rewards)):
        total, t = 0.0, start
        while True:
            total += gamma ** (t - start) * rewards[t]
            if terminated[t] or truncated[t] or t + 1 == min(start + n, len(rewards)):
                break
            t += 1
        follows = 0.0 if terminated[t] else next_values[t]
        returns.append(total + gamma ** (t + 1 - start) * follows)
    return returns


def by_environment(*tensors, **options):
    """Every environment for itself; axis 0 is time, all others are environments."""
    columns = [tensor.flatten(1).T.tolist() if tensor.dim() > 1 else [tensor.tolist()] for tensor in tensors]
    rows = [n_steps(*column, **options) for column in zip(*columns, strict=True)]
    return torch.tensor(rows, dtype=F64).T.reshape(tensors[0].shape)


# --- worked examples --------------------------------------------------------------------------------------------------


def test_rewards_add_up_to_the_end_of_the_episode():
    # from behind: 4 | 8 + 0 | 2 + 0.5 · 8 = 6, 1 + 0.5 · 6 = 4: the second step of the episode is the last but one
    rewards, ends = torch.tensor([1, 2, 8, 4], dtype=F64), flags(0, 0, 1, 0)
    got = discounted_returns(rewards=rewards, episode_ends=ends, gamma=0.5)
    expect_close(got, [4, 6, 8, 4], "r_t + gamma · G_{t+1}; an episode ends with its own last reward")


@pytest.mark.parametrize("law, terminated, truncated, n, expected", [
    # rewards 1, 2, 8, 4, next values 16, 32, 64, 128, gamma 0.5
    ("n = 1: r + gamma · V of the next observation", (0, 0, 0, 0), (0, 0, 0, 0), 1, [9, 18, 40, 68]),
    # 1 + 0.5 · 2 + 0.25 · 32, 2 + 0.5 · 8 + 0.25 · 64, 8 + 0.5 · 4 + 0.25 · 128; the last has one step left
    ("n = 2; the end of the rollout bootstraps earlier", (0, 0, 0, 0), (0, 0, 0, 0), 2, [10, 22, 42, 68]),
    # 1 + 1 + 0 | 2
    ("where an episode has terminated, nothing follows", (0, 1, 0, 0), (0, 0, 0, 0), 3, [2, 2, 42, 68]),
    # 1 + 1 + 0.25 · 32 | 2 + 0.5 · 32
    ("where it was truncated, its own last value follows", (0, 0, 0, 0), (0, 1, 0, 0), 3, [10, 18, 42, 68]),
    ("both at once: it has terminated", (0, 1, 0, 0), (0, 1, 0, 0), 3, [2, 2, 42, 68]),
])  # fmt: skip
def test_n_steps_by_hand(law, terminated, truncated, n, expected):
    rewards, next_values = torch.tensor([1, 2, 8, 4], dtype=F64), torch.tensor([16, 32, 64, 128], dtype=F64)
    ends = {"terminated": flags(*terminated), "truncated": flags(*truncated)}
    expect_close(n_step_returns(rewards=rewards, next_values=next_values, **ends, gamma=0.5, n=n), expected, law)


# --- agreement with the definition ------------------------------------------------------------------------------------

SHAPES = [(1,), (7,), (5, 1), (6, 3), (4, 2, 3), (1, 4), (100, 2)]


@example(seed=0, shape=(1000,), gamma=0.999, n=700, share=0.0)
@given(seeds(), st.sampled_from(SHAPES), st.sampled_from(GAMMAS), st.integers(1, 12), st.sampled_from([0, 0.2, 0.9]))
def test_n_step_returns_agree_with_the_definition(seed, shape, gamma, n, share):
    given_ = drawn(seed, *shape, share=share)
    got = n_step_returns(*given_, gamma=gamma, n=n)
    law = "the sum to step n, or to the end, then the value"
    expect_close(got, by_environment(*given_, gamma=gamma, n=n), law, **EXACT)


def test_a_target_carries_no_gradient():
    rewards, next_values, *ends = drawn(1, 6, 2)
    rewards.requires_grad_(), next_values.requires_grad_()
    for got in (
        n_step_returns(rewards.detach(), next_values, *ends, gamma=0.9, n=3),
        n_step_returns(rewards, next_values.detach(), *ends, gamma=0.9, n=3),
        discounted_returns(rewards, ends[0], gamma=0.9),
    ):
        assert not got.requires_grad, "a target that follows what is trained is no target: detach it"


def test_the_rewards_decide_the_dtype():
    rewards, next_values, *ends = drawn(1, 6, 2)
    got = n_step_returns(rewards.float(), next_values, *ends, gamma=0.9, n=3)
    assert got.dtype == torch.float32, f"float32 rewards, float64 values: {got.dtype} came out"


@example(seed=0, shape=(1100,), gamma=1, share=0.0)
@example(seed=0, shape=(1100,), gamma=0.5, share=0.0)  # 0.5 to the 1100 is 0
@given(seeds(), st.sampled_from(SHAPES), st.sampled_from(GAMMAS), st.sampled_from([0, 0.2, 0.9]))
def test_discounted_returns_agree_with_the_definition(seed, shape, gamma, share):
    rewards, _, ends, _ = drawn(seed, *shape, share=share)
    zeros = torch.zeros_like(rewards)
    expected = by_environment(rewards, zeros, ends, ends, gamma=gamma, n=len(rewards))
    law = "the rewards up to the end of the episode"
    expect_close(discounted_returns(rewards, ends, gamma=gamma), expected, law, **EXACT)


@pytest.mark.parametrize("n", [1, 4, 6])
def test_true_values_make_every_n_the_same(n):
    # a reward of 1 a step for ever is worth 1 / (1 - gamma) at every observation, so it is at truncation
    ones, gamma = torch.ones(6, 2, dtype=F64), 0.75
    never, at_4 = torch.zeros(6, 2, dtype=torch.bool), torch.arange(6)[:, None].expand(6, 2) == 4
    got = n_step_returns(ones, 4 * ones, never, at_4, gamma=gamma, n=n)
    expect_close(got, 4 * ones, "with true values a return is the value, wherever it bootstraps")


def test_float32_rewards_are_not_lost_in_a_long_episode():
    rewards = torch.full((1000, 2), 1e-3)
    got = discounted_returns(rewards, torch.zeros(1000, 2, dtype=torch.bool), gamma=1)
    expect_close(got[0], torch.ones(2), "a thousand rewards of 0.001", rtol=1e-4, atol=0)


# --- refusals and standing laws ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name, call", [
    ("gamma", lambda: discounted_returns(normal(3), flags(0, 0, 0), gamma=1.01)),
    ("gamma", lambda: discounted_returns(normal(3), flags(0, 0, 0), gamma=-0.01)),
    ("gamma", lambda: n_step_returns(normal(3), normal(3), flags(0, 0, 0), flags(0, 0, 0), gamma=1.01, n=2)),
    ("gamma", lambda: n_step_returns(normal(3), normal(3), flags(0, 0, 0), flags(0, 0, 0), gamma=-0.01, n=2)),
    ("gamma", lambda: discounted_returns(normal(3), flags(0, 0, 0), gamma=float("nan"))),
    ("n", lambda: n_step_returns(normal(3), normal(3), flags(0, 0, 0), flags(0, 0, 0), gamma=0.9, n=0)),
    ("n", lambda: n_step_returns(normal(3), normal(3), flags(0, 0, 0), flags(0, 0, 0), gamma=0.9, n=-3)),
])  # fmt: skip
def test_what_is_out_of_range_is_refused(name, call):
    expect_refused(name, call)


@pytest.mark.parametrize("law", STANDING_LAWS)
def test_standing_laws(law):
    rewards, next_values, terminated, truncated = drawn(3, 5, 2)
    law(discounted_returns, rewards, terminated, gamma=0.9)
    law(n_step_returns, rewards, next_values, terminated, truncated, gamma=0.9, n=3)
