"""gae: the advantage of every step of a rollout.

The definition sums the TD residuals forward from every step, on Python floats. The laws are those of the paper: lambda
= 0 is one step of TD, lambda = 1 is Monte Carlo minus the value. Out of scope: off-policy corrections.
"""

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from katas.lab.expect import expect_close, expect_refused
from katas.lab.laws import STANDING_LAWS
from katas.lab.strategies import normal, rng, seeds
from katas.rl.gae import compute_gae

F64 = torch.float64
EXACT = {"rtol": 1e-11, "atol": 1e-11}  # float64 rewards must not pass through float32
NUMBERS = [0, 0.3, 0.9, 0.99, 1]


def flags(*steps):
    return torch.tensor(steps, dtype=torch.bool)


def drawn(seed, *shape, share=0.2):
    """Rewards, values, values of the next observations, and where episodes terminate and where they are truncated."""
    chances = torch.rand(2, *shape, generator=rng(seed + 1)) < share
    rewards, values, next_values = normal(3, *shape, seed=seed)
    return rewards, 5 + values, 7 + next_values, chances[0], chances[1]


# --- the definition ---------------------------------------------------------------------------------------------------


def advantages(rewards, values, next_values, terminated, truncated, gamma, gae_lambda):
    """Of one environment, as lists: from each step to the end of its episode."""
    columns = list(zip(rewards, values, next_values, terminated, truncated, strict=True))
    deltas = [r + (0 if end else gamma * v_next) - v for r, v, v_next, end, _ in columns]
    sums = []
    for start in range(len(deltas)):
        total, weight = 0.0, 1.0
        for t in range(start, len(deltas)):
            total += weight * deltas[t]
            weight *= gamma * gae_lambda
            if terminated[t] or truncated[t]:
                break
        sums.append(total)
    return sums


def by_environment(*tensors, **options):
    """Every environment for itself; axis 0 is time, all others are environments."""
    columns = [tensor.flatten(1).T.tolist() if tensor.dim() > 1 else [tensor.tolist()] for tensor in tensors]
    rows = [advantages(*column, **options) for column in zip(*columns, strict=True)]
    return torch.tensor(rows, dtype=F64).T.reshape(tensors[0].shape)


# --- worked examples --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("law, terminated, truncated, expected", [
    # rewards 1, 2, 8, values 4, 6, 2, next values 6, 20, 16, gamma 0.5: residuals 0, 6, 14. gamma · lambda is 0.25
    ("the residuals ahead, each a quarter of the one before", (0, 0, 0), (0, 0, 0), [2.375, 9.5, 14]),
    # at the second step without its next value: 2 - 6 = -4, and 0 - 4 / 4 before it
    ("termination: no value follows, and nothing of the next episode", (0, 1, 0), (0, 0, 0), [-1, -4, 14]),
    ("truncation: its last value follows, and nothing of the next episode", (0, 0, 0), (0, 1, 0), [1.5, 6, 14]),
    ("both at once: it has terminated", (0, 1, 0), (0, 1, 0), [-1, -4, 14]),
    ("at the end of the rollout", (0, 0, 1), (0, 0, 0), [1.875, 7.5, 6]),
])  # fmt: skip
def test_three_steps_by_hand(law, terminated, truncated, expected):
    values, next_values = torch.tensor([4, 6, 2], dtype=F64), torch.tensor([6, 20, 16], dtype=F64)
    ends = {"terminated": flags(*terminated), "truncated": flags(*truncated)}
    rewards = torch.tensor([1, 2, 8], dtype=F64)
    got = compute_gae(rewards=rewards, values=values, next_values=next_values, **ends, gamma=0.5, gae_lambda=0.5)
    expect_close(got.advantages, expected, law)
    expect_close(got.returns, [a + v for a, v in zip(expected, [4, 6, 2], strict=True)], "returns: plus the value")


def test_the_defaults_are_those_of_ppo():
    given_ = drawn(2, 9, 3)
    expected = by_environment(*given_, gamma=0.99, gae_lambda=0.95)
    expect_close(compute_gae(*given_).advantages, expected, "gamma is 0.99 and gae_lambda 0.95 unless told otherwise")


# --- agreement with the definition, and laws --------------------------------------------------------------------------

SHAPES = [(1,), (2,), (7,), (5, 1), (8, 3), (9, 2), (4, 2, 3), (100, 2)]


@example(seed=0, shape=(1000,), gamma=0.999, gae_lambda=1, share=0.0)
@given(
    seeds(), st.sampled_from(SHAPES), st.sampled_from(NUMBERS), st.sampled_from(NUMBERS), st.sampled_from([0, 0.2, 0.9])
)
def test_advantages_agree_with_the_definition(seed, shape, gamma, gae_lambda, share):
    given_ = drawn(seed, *shape, share=share)
    got = compute_gae(*given_, gamma=gamma, gae_lambda=gae_lambda)
    expected = by_environment(*given_, gamma=gamma, gae_lambda=gae_lambda)
    expect_close(got.advantages, expected, "the sum of (gamma · lambda)^k times the k-th residual ahead", **EXACT)
    expect_close(got.returns, expected + given_[1], "returns: advantages + values", **EXACT)


def test_a_perfect_value_function_leaves_no_advantage():
    # a reward of 1 a step for ever is worth 1 / (1 - gamma) = 4; one more step before the end is worth 1 + 0.75 · …
    rewards, truncated = torch.ones(6, 2, dtype=F64), torch.arange(6)[:, None].expand(6, 2) == 3
    values, never = torch.full((6, 2), 4, dtype=F64), torch.zeros(6, 2, dtype=torch.bool)
    got = compute_gae(rewards, values, values, never, truncated, gamma=0.75, gae_lambda=0.9)
    expect_close(got.advantages, 0 * rewards, "a time limit is no surprise to a value function that does not see it")


def test_the_step_that_resets_is_seen_by_nobody():
    # gymnasium's vector environments reset on the step after an end: its numbers belong to no episode
    rewards, values, next_values, *_ = drawn(3, 6, 1)
    terminated, truncated = torch.tensor([[[0, 1, 0, 0, 0, 0]], [[0, 0, 0, 0, 1, 0]]]).bool().transpose(1, 2)
    resets = torch.tensor([2, 5])
    before = compute_gae(rewards, values, next_values, terminated, truncated).advantages
    for numbers in (rewards, values, next_values):
        numbers[resets] = 1e6
    after = compute_gae(rewards, values, next_values, terminated, truncated).advantages
    kept = torch.tensor([0, 1, 3, 4])
    expect_close(after[kept], before[kept], "what stands in the step that resets reaches no other step")


def test_targets_carry_no_gradient():
    *numbers, terminated, truncated = drawn(1, 6, 2)
    for one in range(3):
        followed = [part.clone().requires_grad_(n == one) for n, part in enumerate(numbers)]
        got = compute_gae(*followed, terminated, truncated)
        assert not got.advantages.requires_grad, "the policy would learn to change what it is judged by: detach"
        assert not got.returns.requires_grad, "a target that follows what is trained is no target: detach"


def test_the_rewards_decide_the_dtype():
    rewards, *rest = drawn(1, 6, 2)
    got = compute_gae(rewards.float(), *rest)
    assert {part.dtype for part in got} == {torch.float32}, f"float32 rewards, float64 values: {got.returns.dtype}"


# --- refusals and standing laws ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name, options", [
    ("gamma", {"gamma": 1.01}), ("gamma", {"gamma": -0.01}), ("gae_lambda", {"gae_lambda": 1.01}),
    ("gae_lambda", {"gae_lambda": -0.01}), ("gamma", {"gamma": float("nan")}),
])  # fmt: skip
def test_what_is_out_of_range_is_refused(name, options):
    expect_refused(name, lambda: compute_gae(*drawn(0, 3), **options))


@pytest.mark.parametrize("law", STANDING_LAWS)
def test_standing_laws(law):
    law(compute_gae, *drawn(3, 5, 2), gamma=0.9, gae_lambda=0.8)
