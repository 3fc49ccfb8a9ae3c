"""reward_shaping: rewards with a potential, and the optimal values of a known process.

The definition of optimal values evaluates every deterministic policy exactly, by a linear system, and takes the best.
A potential must shift Q* and change no policy. Out of scope: potentials that depend on the action or on time.
"""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from katas.lab.expect import expect_close, expect_equal, expect_refused
from katas.lab.laws import STANDING_LAWS, empty_batches_give_empty_results
from katas.lab.strategies import normal, rng, seeds
from katas.rl.reward_shaping import potential_shaping, value_iteration

F64, NAN = torch.float64, float("nan")
EXACT = {"rtol": 1e-9, "atol": 2e-10}


def process(seed, states, actions, share_terminal=0.2):
    """Transition probabilities, rewards, and which states are terminal. Rows of terminal states make no sense."""
    generator = rng(seed)
    chances = torch.rand(states, actions, states, generator=generator, dtype=F64) ** 4
    terminal = torch.rand(states, generator=generator) < share_terminal
    probs = chances / chances.sum(dim=2, keepdim=True)
    rewards = torch.randn(states, actions, generator=generator, dtype=F64)
    probs[terminal], rewards[terminal] = -7, NAN
    return probs, rewards, terminal


# --- the definition ---------------------------------------------------------------------------------------------------


def optimal(probs, rewards, terminal, gamma):
    """V* and Q*: the best of all deterministic policies, V = r + gamma P V solved for each."""
    live = ~terminal.numpy()
    probs, rewards = probs.double().numpy() * live[:, None, None], np.where(live[:, None], rewards.double(), 0)
    states, actions = rewards.shape
    best = np.full(states, -np.inf)
    for policy in itertools.product(range(actions), repeat=states):
        chosen = np.arange(states), np.array(policy)
        best = np.maximum(best, np.linalg.solve(np.eye(states) - gamma * probs[chosen], rewards[chosen]))
    return torch.tensor(best), torch.tensor(rewards + gamma * probs @ best)


def shaped(reward, potential, next_potential, terminated, gamma):
    return reward + (0 if terminated else gamma * next_potential) - potential


# --- worked examples --------------------------------------------------------------------------------------------------


def test_four_steps_by_hand():
    rewards, here, there = torch.tensor([[[1, 0], [1, 0]], [[2, 6], [2, -1]], [[6, 2], [6, 8]]], dtype=F64)
    ends = torch.tensor([[0, 0], [1, 1]]).bool()
    got = potential_shaping(rewards=rewards, potentials=here, next_potentials=there, terminated=ends, gamma=0.5)
    # 1 + 3 - 2 and 0 + 1 - 6; where the step terminated 1 + 0 - 2 and 0 + 0 + 1
    expect_close(got, [[2, -5], [-1, 1]], "r + gamma · Phi(s') - Phi(s), and Phi of a terminal state is 0")


def test_a_small_process_by_hand():
    # state 0: stay, reward 1, or try, reward 0, to state 1 half the time; state 1: out, reward 8, or back, reward 2
    probs = torch.tensor([[[1, 0, 0], [0.5, 0.5, 0]], [[0, 0, 1], [1, 0, 0]], [[0, 0, 1], [0, 0, 1]]], dtype=F64)
    rewards, terminal = torch.tensor([[1, 0], [8, 2], [9, 9]], dtype=F64), torch.tensor([False, False, True])
    got = value_iteration(transition_probs=probs, rewards=rewards, terminal=terminal, gamma=0.5)
    # V(1) = 8; V(0) = 0.25 V(0) + 2 = 8 / 3 by trying; to stay once is worth 1 + 4 / 3
    expect_close(got.values, [8 / 3, 8, 0], "the return of the best policy; 0 in a terminal state", **EXACT)
    expected = [[1 + 4 / 3, 8 / 3], [8, 2 + 4 / 3], [0, 0]]
    expect_close(got.q_values, expected, "an action, and the best policy after it", **EXACT)


# --- agreement with the definitions -----------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [1, 1e-3, 1e5])
@given(seeds(), st.sampled_from([(), (1,), (5,), (2, 3), (3, 1, 2)]), st.sampled_from([0, 0.3, 0.99, 1]))
def test_shaped_rewards_agree_with_the_definition(scale, seed, shape, gamma):
    numbers, terminated = scale * normal(3, *shape, seed=seed), torch.rand(shape, generator=rng(seed)) < 0.3
    columns = zip(*(part.flatten().tolist() for part in (*numbers, terminated)), strict=True)
    expected = torch.tensor([shaped(*column, gamma) for column in columns], dtype=F64).reshape(shape)
    expect_close(potential_shaping(*numbers, terminated, gamma=gamma), expected, "step by step", rtol=1e-11, atol=1e-14)


@pytest.mark.parametrize("scale", [1, 1e-3, 1e5])
@example(seed=0, states=3, actions=2, gamma=0.99, share=0)
@example(seed=0, states=3, actions=2, gamma=0.9, share=1)
@given(seeds(), st.integers(1, 4), st.integers(1, 3), st.sampled_from([0, 0.4, 0.9]), st.sampled_from([0, 0.3]))
def test_optimal_values_agree_with_the_best_policy(scale, seed, states, actions, gamma, share):
    probs, rewards, terminal = process(seed, states, actions, share)
    values, q_values = optimal(probs, scale * rewards, terminal, gamma)
    got = value_iteration(probs, scale * rewards, terminal, gamma=gamma)
    expect_close(got.values, values, "V*: the best of all policies", **EXACT)
    expect_close(got.q_values, q_values, "Q*: r + gamma · P V*", **EXACT)


@pytest.mark.parametrize("tolerance", [1, 1e-2, 1e-6])
@pytest.mark.parametrize("gamma", [0.3, 0.9, 0.99])
def test_the_error_is_at_most_the_tolerance(gamma, tolerance):
    # every state returns to itself, one with reward 3: V* = 3 / (1 - gamma), and each round is closer by exactly gamma
    loops, rewards = torch.eye(5, dtype=F64)[:, None, :], torch.tensor([[0], [0], [3], [0], [0]], dtype=F64)
    got = value_iteration(loops, rewards, torch.zeros(5).bool(), gamma=gamma, tolerance=tolerance)
    for name, number in (("V", got.values[2]), ("Q", got.q_values[2])):
        error = abs(3 / (1 - gamma) - float(number))
        assert error <= tolerance * (1 + 1e-6), f"{name} is off by {error:.3g}: changes still to come add up"


def test_the_first_tensor_decides_the_dtype():
    probs, rewards, terminal = process(3, 4, 3)
    expected = [part.float() for part in optimal(probs.float(), 1000 * rewards, terminal, 0.99)]
    got = value_iteration(probs.float(), 1000 * rewards, terminal, gamma=0.99)
    expect_close(list(got), expected, "in the dtype of the probabilities, computed in float64", rtol=2e-7, atol=0)
    rewards, here, there = normal(3, 5).float()[0], *(normal(2, 5, seed=1) + 1e6)
    got = potential_shaping(rewards, here, there, torch.zeros(5).bool(), gamma=1)
    expect_close(got, (rewards + (there - here)).float(), "the rewards decide the dtype, and only the result is cast")


# --- what a potential does, and what another bonus does ---------------------------------------------------------------


@given(seeds(), st.integers(2, 4), st.integers(2, 3), st.sampled_from([0, 0.5, 0.95]), st.sampled_from([1, 100]))
def test_a_potential_shifts_q_and_keeps_the_policy(seed, states, actions, gamma, size):
    probs, rewards, terminal = process(seed, states, actions, 0.3)
    start, potentials = rewards[:, :, None].expand(probs.shape), size * normal(states, seed=seed)
    here, there = potentials[:, None, None].expand(probs.shape), potentials.expand(probs.shape)
    each = potential_shaping(start, here, there, terminal.expand(probs.shape), gamma=gamma)
    _, got = optimal(probs, (probs * each).sum(dim=2), terminal, gamma)
    _, q_values = optimal(probs, rewards, terminal, gamma)
    expected = (q_values - potentials[:, None])[~terminal]
    expect_close(got[~terminal], expected, "Q* - Phi(s): the same for all actions", rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("truncated", [True, False])
@given(seeds(), st.integers(1, 30), st.sampled_from([0.3, 0.97, 1]))
def test_over_an_episode_potentials_cancel(truncated, seed, steps, gamma):
    rewards, potentials = normal(steps, seed=seed), 5 + normal(steps + 1, seed=seed + 1)
    terminated = torch.arange(1, steps + 1) == (0 if truncated else steps)
    discounts = gamma ** torch.arange(steps, dtype=F64)
    got = potential_shaping(rewards, potentials[:-1], potentials[1:], terminated, gamma=gamma)
    expected = (discounts * rewards).sum() - potentials[0] + truncated * gamma**steps * potentials[-1]
    expect_close((discounts * got).sum(), expected, "the return - Phi(s_0); + gamma^T · Phi(s_T) after a time limit")


@pytest.mark.parametrize("law, rewards, values, actions", [
    # from state 0, action 0 leads to 1; from 1 it leads out, with reward 1; action 1 leads to 0
    ("plain rewards: out", [[0, 0], [1, 0], [0, 0]], [0.9, 1, 0], [0, 0]),
    # going round: V(0) = 0.5 + 0.9 · 0.9 V(0) = 0.5 / 0.19, more than going out once
    ("a bonus of 0.5 at 1: round for ever", [[0.5, 0], [1, 0], [0, 0]], [0.5 / 0.19, 0.45 / 0.19, 0], [0, 1]),
    # Phi(1) = 0.5: going to 1 gives 0.9 · 0.5, and both ways out of it take 0.5 away
    ("a potential of 0.5 at 1: out", [[0.45, 0], [0.5, -0.5], [0, 0]], [0.9, 0.5, 0], [0, 0]),
])  # fmt: skip
def test_a_bonus_is_hacked_and_a_potential_is_not(law, rewards, values, actions):
    corridor = torch.tensor([[[0, 1, 0], [1, 0, 0]], [[0, 0, 1], [1, 0, 0]], [[0, 0, 1], [0, 0, 1]]], dtype=F64)
    got = value_iteration(corridor, torch.tensor(rewards, dtype=F64), torch.tensor([False, False, True]), gamma=0.9)
    expect_close(got.values, values, law, **EXACT)
    expect_equal(got.q_values.argmax(dim=1)[:2], actions, law)


# --- gradients, dtypes, refusals, standing laws -----------------------------------------------------------------------


def test_rewards_and_values_carry_no_gradient():
    probs, rewards, terminal = process(0, 3, 2)
    got = value_iteration(probs.requires_grad_(), rewards.requires_grad_(), terminal, gamma=0.9)
    solved([8e-6, 0, 0])  # sums to 1 within 1e-5
    assert not got.values.requires_grad and not got.q_values.requires_grad, "values are targets: detach"
    for one in range(3):
        numbers = [part.requires_grad_(n == one) for n, part in enumerate(normal(3, 5).unbind())]
        got = potential_shaping(*numbers, torch.arange(5) == 2, gamma=0.9)
        assert not got.requires_grad, "a learnt potential is not trained through the rewards: detach"


def solved(change=(0, 0, 0), more_reward=0, **options):
    probs, rewards, terminal = process(0, 3, 2, share_terminal=0)
    probs[2, 1] += torch.tensor(change)
    rewards[2, 1] += more_reward
    return value_iteration(probs, rewards, terminal, **{"gamma": 0.9} | options)


@pytest.mark.parametrize("name, call", [
    *[("gamma", lambda gamma=gamma: solved(gamma=gamma)) for gamma in (1, -0.01, NAN)],
    *[("gamma", lambda g=g: potential_shaping(*normal(3, 2), normal(2) > 0, gamma=g)) for g in (1.01, -0.01)],
    *[("tolerance", lambda number=number: solved(tolerance=number)) for number in (0, -1e-3, NAN)],
    *[("transition_probs", lambda p=p: solved(p)) for p in ([2e-5, 0, 0], [-2e-5, 0, 0], [-2, 2, 0], [NAN] * 3)],
    *[("rewards", lambda number=number: solved(more_reward=number)) for number in (NAN, torch.inf, -torch.inf)],
])  # fmt: skip
def test_what_is_out_of_range_is_refused(name, call):
    expect_refused(name, call)


@pytest.mark.parametrize("law", STANDING_LAWS)
def test_standing_laws(law):
    law(potential_shaping, *normal(3, 5, 2), torch.arange(10).reshape(5, 2) % 3 == 0, gamma=0.9)
    if law is not empty_batches_give_empty_results:  # a process is no batch
        law(value_iteration, *process(5, 4, 3), gamma=0.9)
