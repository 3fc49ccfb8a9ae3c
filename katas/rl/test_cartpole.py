"""cartpole: the physics of CartPole-v1, and thousands of environments that step and reset together.

The definition is gymnasium's vector environment in float64. It draws its fresh states itself, so after a reset it goes
on from those that were drawn here. Out of scope: actions other than 0 and 1.
"""

import math

import pytest
import torch
from gymnasium.envs.classic_control.cartpole import CartPoleVectorEnv
from hypothesis import given
from hypothesis import strategies as st

from katas.lab import laws
from katas.lab.expect import expect_close, expect_equal, expect_fresh_noise, expect_refused
from katas.lab.strategies import normal, rng, seeds
from katas.rl.cartpole import VectorCartPole, cartpole_step
from katas.rl.given.waiting import NothingWaits

F64 = torch.float64
EXACT = {"rtol": 1e-11, "atol": 1e-11}  # float64 must not pass through float32
LIMIT = 12 * 2 * math.pi / 360
RIGHT = torch.ones(30, 1, dtype=torch.int64)  # pushed to the right, it falls to the left


def made(num_envs, seed=0, dtype=F64, **options):
    return VectorCartPole(num_envs=num_envs, generator=rng(seed), dtype=dtype, **options)


def pushes(*shape, seed=0):
    return torch.randint(0, 2, shape, generator=rng(seed))


def played(actions, num_envs=None, **options):
    """The first observations, and of all steps: observations, rewards, terminated, truncated."""
    envs = made(num_envs or actions.shape[1], **options)
    return envs.reset(), *(torch.stack(part) for part in zip(*[envs.step(row) for row in actions], strict=True))


# --- the definition ---------------------------------------------------------------------------------------------------


class Gymnasium:
    def __init__(self, states, max_steps=500):
        self.envs = CartPoleVectorEnv(num_envs=len(states), max_episode_steps=max_steps)
        self.envs.reset()
        self.envs.state = states.T.numpy().copy()

    def step(self, actions, fresh):
        resets = self.envs.prev_done  # these go on from their rows of `fresh`
        _, rewards, *flags, _ = self.envs.step(actions.numpy())
        self.envs.state[:, resets] = fresh.T.numpy()[:, resets]
        return [torch.from_numpy(part.copy()) for part in (self.envs.state.T, rewards.astype(float), *flags)]


# --- worked examples --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state, action, expected, terminated", [
    # upright: push = ±100/11, and from it accelerations ±400/41 and ∓600/41
    ([0, 0, 0, 0], 1, [0, 8 / 41, 0, -12 / 41], False),
    ([1, 2, 0, 3], 0, [1.04, 2 - 8 / 41, 0.06, 3 + 12 / 41], False),  # positions move with the old velocities
    # flat: push = (10 + 0.05 · 9) / 1.1 = 9.5, accelerations 9.5 and 9.8 / (0.5 · 4/3) = 14.7
    ([0, 0, math.pi / 2, 3], 1, [0, 0.19, math.pi / 2 + 0.06, 3.294], True),
])  # fmt: skip
def test_one_step_by_hand(state, action, expected, terminated):
    got = cartpole_step(states=torch.tensor([state], dtype=F64), actions=torch.tensor([action]))
    expect_close(got.next_states, [expected], "position, velocity, angle, angular velocity after 0.02 seconds", **EXACT)
    expect_equal(got.terminated, [terminated], "it ends beyond 12 degrees")


@pytest.mark.parametrize("law, state, terminated", [
    ("2.4 itself is inside", [2.4, 0, 0, 0], False), ("beyond 2.4", [math.nextafter(2.4, 3), 0, 0, 0], True),
    ("12 degrees are inside", [0, 0, LIMIT, 0], False), ("beyond 12 degrees", [0, 0, LIMIT + 1e-12, 0], True),
    ("the state after the step counts: it moved out", [2.39, 1, 0, 0], True),
    ("the state after the step counts: it moved back in", [2.41, -1, 0, 0], False),
    ("the next angle counts", [0, 0, 0.2, 1], True), ("velocities have no limits", [0, 50, 0, -9], False),
])  # fmt: skip
def test_where_an_episode_terminates(law, state, terminated):
    states = torch.tensor([state, [-number for number in state]], dtype=F64)
    expect_equal(cartpole_step(states, torch.tensor([1, 0])).terminated, [terminated] * 2, f"{law}, on both sides")


def test_rewards_and_flags_by_hand():
    _, _, rewards, _, truncated = played(pushes(6, 3), max_steps=2)
    expect_equal(rewards.T, [[1, 1, 0, 1, 1, 0]] * 3, "1 for each of two steps, the last as well; 0 for the reset")
    expect_equal(truncated.T, [[0, 1, 0, 0, 1, 0]] * 3, "after two steps; the step that resets does not count")


def test_both_flags_when_it_falls_at_the_limit():
    end = 1 + int(played(RIGHT)[3].long().argmax())  # it falls in this step
    for limit, flags in ((end + 1, [True, False]), (end, [True, True]), (end - 1, [False, True])):
        _, _, rewards, *ends = played(RIGHT[: min(limit, end)], max_steps=limit)
        expect_equal([flag[-1, 0] for flag in ends], flags, f"terminated, truncated: falls in step {end} of {limit}")
        expect_equal(rewards, torch.ones_like(rewards), "each step up to the end has reward 1, the fall as well")


# --- agreement with gymnasium -----------------------------------------------------------------------------------------


@given(seeds(), st.integers(1, 6), st.sampled_from([2**-10, 0.25, 1, 32]))
def test_a_step_agrees_with_gymnasium(seed, count, scale):
    states, actions = scale * normal(count, 4, seed=seed, dtype=torch.float32).double(), pushes(count, seed=seed)
    got = cartpole_step(states, actions)
    next_states, _, terminated, _ = Gymnasium(states).step(actions, states)
    expect_close(got, [next_states, terminated], "the next states and the ends of gymnasium", **EXACT)
    single = cartpole_step(states.float(), actions)[0]
    expect_close(single, next_states.float(), "in float32, up to its rounding", rtol=1e-4, atol=1e-6 * scale)


@pytest.mark.parametrize("num_envs, max_steps, steps", [(5, 1, 9), (1, 500, 90), (3, 12, 150), (2000, 25, 60)])
def test_whole_episodes_agree_with_gymnasium(num_envs, max_steps, steps):
    envs = made(num_envs=num_envs, max_steps=max_steps)
    theirs = Gymnasium(envs.reset(), max_steps)
    for actions in pushes(steps, num_envs, seed=1):
        got = envs.step(actions=actions)
        assert (got.observations[theirs.envs.prev_done].abs() <= 0.05).all(), "after an end comes a fresh state"
        expect_close(got, theirs.step(actions, got.observations), "gymnasium's vector environment", **EXACT)


def test_balanced_for_500_steps_by_default():
    envs = VectorCartPole(2, generator=rng())
    observations, rewards = envs.reset(), 0
    for number in range(1, 502):
        actions = (observations @ torch.tensor([0.1, 0.3, 1.0, 0.5]) > 0).long()  # pushed to where it falls
        observations, reward, terminated, truncated = envs.step(actions)
        expect_equal(truncated, [number == 500] * 2, f"the limit is 500 steps, this is step {number}")
        rewards += reward
    expect_equal(rewards, torch.full((2,), 500.0), "a reward of 1 for each of 500 steps, and 0 for the reset")


def test_fresh_states_are_uniform_and_new():
    generator, drawn = rng(), []
    for _ in range(4):  # of one generator; the limit is one step, so every second step resets
        envs = VectorCartPole(500, generator=generator, max_steps=1, dtype=F64)
        drawn += [envs.reset(), envs.reset(), *[envs.step(pushes(500)).observations for _ in range(6)][1::2]]
    assert (states := torch.stack(drawn)).abs().max() <= 0.05, f"in [-0.05, 0.05], got {states.abs().max():.4f}"
    as_normal = torch.special.ndtri(states / 0.1 + 0.5)
    expect_fresh_noise(as_normal, "uniform, new for every environment, number and reset; the generator goes on")


def test_a_reset_in_the_middle_starts_all_over():
    envs = made(2, max_steps=5)
    for before in (0, 3, 0):  # at the start, in the middle, and right after the fifth step, where a reset is due
        [envs.step(pushes(2)) for _ in range(before)]
        envs.reset()
        steps = [envs.step(pushes(2)) for _ in range(5)]
        expect_equal([int(one.truncated.sum()) for one in steps], [0, 0, 0, 0, 2], "the count of steps starts again")
        expect_equal([float(one.rewards.sum()) for one in steps], [2] * 5, "and no reset is due any more")


def test_what_is_returned_is_the_callers():
    actions, envs = pushes(30, 3), made(3, max_steps=7)
    expected = list(played(actions, max_steps=7))  # kept until the last step
    got = [envs.reset()]
    expect_equal(got, expected[:1], "the same seed, the same states; later steps change nothing that was returned")
    for t, row in enumerate(actions):
        [part.fill_(1) for part in got]
        got = list(envs.step(row))
        expect_equal(got, [part[t] for part in expected[1:]], "changed by the caller, changed in the environments?")


@pytest.mark.parametrize("dtype, other", [(torch.float32, F64), (F64, torch.float32)])
def test_dtypes_follow_the_argument(dtype, other):
    with laws.default_dtype(other):
        envs = made(3, dtype=dtype)
        kinds = [part.dtype for part in (envs.reset(), *envs.step(pushes(3)))]
    assert kinds == [dtype, dtype, dtype, torch.bool, torch.bool], f"asked for {dtype}, got {kinds}"


def test_no_step_waits_for_the_gpu():
    with NothingWaits():
        played(pushes(9, 4), max_steps=3)


# --- refusals and standing laws ---------------------------------------------------------------------------------------


def test_before_the_first_reset():
    envs = made(num_envs=7)
    expect_equal([envs.num_envs, envs.num_actions, envs.observation_size], [7, 2, 4], "the sizes are attributes")
    with pytest.raises(RuntimeError, match="reset"):  # no step before it
        envs.step(pushes(7))


@pytest.mark.parametrize("name, call", [
    ("num_envs", lambda: made(0)), ("num_envs", lambda: made(-3)), ("max_steps", lambda: made(2, max_steps=0)),
    ("actions", lambda: played(pushes(1, 1), num_envs=3)), ("actions", lambda: played(pushes(1, 4), num_envs=3)),
])  # fmt: skip
def test_what_is_out_of_range_is_refused(name, call):
    expect_refused(name, call)


@pytest.mark.parametrize("law", [*laws.STANDING_LAWS, laws.gradients_are_right])
def test_standing_laws(law):
    actions = pushes(5)
    law(lambda states: cartpole_step(states, actions[: len(states)]), 0.1 * normal(5, 4))
    if law in (laws.inputs_are_not_changed, laws.device_is_followed, laws.global_rng_is_untouched):
        law(lambda actions: played(actions, max_steps=4), pushes(9, 3))
