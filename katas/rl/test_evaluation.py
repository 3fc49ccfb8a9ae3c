"""evaluation: the return of every episode, with every environment asked for as many.

The environments follow a script, so every return is known. Out of scope: which policy, discounting.
"""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from katas.lab.expect import expect_close, expect_equal, expect_refused
from katas.lab.laws import device_is_followed, global_rng_is_untouched
from katas.rl.evaluation import evaluate_policy
from katas.rl.given.watched import TERMINATED, TRUNCATED, Scripted

BOTH = f"{TERMINATED} {TRUNCATED}"


def always(action):
    return lambda observations: torch.full((len(observations),), action, device="cpu")


# --- worked examples --------------------------------------------------------------------------------------------------


def test_two_environments_by_hand():
    short = [([1.0], TERMINATED), ([2.0], TRUNCATED)]
    long = [([1.0, 10.0, -0.5, 100.0], TRUNCATED), ([5.0, 5.0], TERMINATED)]
    short.append(([7.0], TERMINATED))  # there is time for a third one
    got = evaluate_policy(act=always(0), envs=Scripted(short, long), episodes=4)
    expect_equal(got, torch.tensor([1, 110.5, 2, 10]), "each plays two: (first, second) episode of both, in that order")


@pytest.mark.parametrize("ending", [TERMINATED, TRUNCATED, BOTH])
def test_an_episode_ends_either_way(ending):
    got = evaluate_policy(always(0), Scripted([([1.0, 2.0], ending), ([4.0], ending)]), episodes=2)
    expect_equal(got, torch.tensor([3.0, 4.0]), f"{ending}: the last reward counts, and the next episode is another")


def test_the_step_that_resets_counts_nowhere():
    script = [([1.0, 2.0], TERMINATED), ([4.0], TRUNCATED), ([8.0], TERMINATED)]
    got = evaluate_policy(always(0), Scripted(script, reset_reward=1000.0), episodes=3)
    expect_equal(got, torch.tensor([3.0, 4.0, 8.0]), "what stands in the step that resets belongs to no episode")


# --- the property -----------------------------------------------------------------------------------------------------

REWARDS = st.lists(st.integers(-90, 90).map(lambda n: n / 10), min_size=1, max_size=6)
EPISODES = st.lists(st.tuples(REWARDS, st.sampled_from([TERMINATED, TRUNCATED, BOTH])), min_size=1, max_size=3)


@given(st.lists(EPISODES, min_size=1, max_size=4), st.integers(1, 5), st.sampled_from([torch.float32, torch.float64]))
def test_every_return_is_the_sum_of_its_rewards(script, each, dtype):
    expected = [[sum(episodes[k % len(episodes)][0]) for episodes in script] for k in range(each)]
    got = evaluate_policy(always(0), Scripted(*script, dtype=dtype), episodes=each * len(script))
    expected = torch.tensor(expected, dtype=dtype).flatten()
    near = {"rtol": 1e-12, "atol": 1e-12} if dtype == torch.float64 else {}
    expect_close(got, expected, "the sum of rewards: not discounted, every environment plays as many episodes", **near)


# --- what the policy sees ---------------------------------------------------------------------------------------------


def test_the_policy_acts_on_what_it_sees():
    envs, seen = Scripted([([1.0, 1.0], TERMINATED)], [([1.0] * 5, TRUNCATED)]), []
    evaluate_policy(lambda x: seen.append(x.clone()) or 10 * x[:, 0] + x[:, 2] + 0.5, envs, episodes=2)
    expect_equal(seen[0], torch.tensor([[0.0, 0, 0], [1, 0, 0]]), "first what reset returned")
    assert len(seen) == 5, f"one look for each step until the last episode is over, not {len(seen)}"
    for before, actions in zip(seen, envs.actions, strict=True):
        expect_equal(actions, 10 * before[:, 0] + before[:, 2] + 0.5, "its actions go to the environments unchanged")
    expect_equal(seen[2][0], torch.tensor([0.0, 0, 2]), "the last observation is shown as well: that step resets")


def test_a_run_before_leaves_no_trace():
    envs = Scripted([([1.0, 2.0, 4.0], TERMINATED)])
    envs.reset()
    envs.step(torch.zeros(1))
    got = [evaluate_policy(always(0), envs, episodes=1) for _ in range(2)]
    expect_equal(got, [torch.tensor([7.0])] * 2, "evaluation has episodes of its own: it begins with reset()")
    assert envs.resets == 3, f"one reset for each evaluation, not {envs.resets - 1} for two"


def test_nothing_is_recorded_for_gradients():
    weights, modes = nn.Linear(3, 2), []

    def act(observations):
        modes.append(torch.is_grad_enabled())
        return weights(observations).argmax(dim=1)

    evaluate_policy(act, Scripted([([1.0], TERMINATED)]), episodes=2)
    assert not any(modes), "a policy is judged, not trained: under torch.no_grad()"
    assert torch.is_grad_enabled(), "and afterwards gradients are recorded again"


def test_a_long_evaluation_is_exact():
    got = evaluate_policy(always(0), Scripted(*[[([0.5] * 600, TRUNCATED)]] * 3), episodes=6)
    expect_equal(got, torch.full((6,), 300.0), "six hundred steps of 0.5")


# --- refusals and standing laws ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("episodes", [0, -2, 1, 3])
def test_episodes_that_cannot_be_shared_are_refused(episodes):
    envs = Scripted([([1.0], TERMINATED)], [([1.0], TERMINATED)])
    expect_refused("episodes", lambda: evaluate_policy(always(0), envs, episodes=episodes))
    assert envs.resets == 0, "before anything is done"


@pytest.mark.parametrize("law", [device_is_followed, global_rng_is_untouched])
def test_standing_laws(law):
    script = [([1.0], TERMINATED)], [([1.0, 2.0], TRUNCATED)]
    law(lambda: evaluate_policy(always(0), Scripted(*script), episodes=4))
