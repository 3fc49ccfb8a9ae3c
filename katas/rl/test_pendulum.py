"""pendulum: the physics of Pendulum-v1, and thousands of environments that step and reset together.

The definition is gymnasium: `PendulumEnv` for a step, its `SyncVectorEnv` for episodes. It draws its fresh states
itself, so after a reset it goes on from those that were drawn here.
"""

import math

import numpy as np
import pytest
import torch
from gymnasium.envs.classic_control.pendulum import PendulumEnv
from gymnasium.vector import SyncVectorEnv
from gymnasium.wrappers import TimeLimit
from hypothesis import given
from hypothesis import strategies as st

from katas.lab import laws
from katas.lab.expect import expect_close, expect_equal, expect_fresh_noise, expect_refused
from katas.lab.strategies import normal, rng, seeds
from katas.rl.given.waiting import NothingWaits
from katas.rl.pendulum import VectorPendulum, pendulum_step

F64 = torch.float64
EXACT = {"rtol": 1e-11, "atol": 1e-11}  # float64 must not pass through float32
QUARTER = math.pi / 2


def made(num_envs, seed=0, dtype=F64, **options):
    return VectorPendulum(num_envs=num_envs, generator=rng(seed), dtype=dtype, **options)


def torques(*shape, seed=0):
    return 2 * normal(*shape, 1, seed=seed)


def played(actions, num_envs=None, **options):
    """The first observations, and of all steps: observations, rewards, terminated, truncated."""
    envs = made(num_envs or actions.shape[1], **options)
    return envs.reset(), *(torch.stack(part) for part in zip(*[envs.step(row) for row in actions], strict=True))


# --- the definition ---------------------------------------------------------------------------------------------------


def gymnasium_step(state, action):
    env = PendulumEnv()
    env.state = np.array(state)
    _, reward, *_ = env.step(np.array(action))
    return *env.state.tolist(), float(reward)


class Gymnasium:
    def __init__(self, observations, max_steps):
        self.envs = SyncVectorEnv([lambda: TimeLimit(PendulumEnv(), max_steps)] * len(observations))
        self.envs.reset()
        self.go_on_from(observations)

    def go_on_from(self, observations):
        for env, (cos, sin, speed) in zip(self.envs.envs, observations.tolist(), strict=True):
            env.unwrapped.state = np.array([math.atan2(sin, cos), speed])

    def step(self, actions):
        _, rewards, *flags, _ = self.envs.step(actions.numpy())
        angles, speeds = np.array([env.unwrapped.state for env in self.envs.envs]).T  # the observations are float32
        observations = np.stack([np.cos(angles), np.sin(angles), speeds], axis=1)
        return [torch.from_numpy(part.copy()) for part in (observations, rewards, *flags)]


# --- worked examples --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("law, state, action, next_state, cost", [
    # acceleration 15 sin(theta) + 3 u, times 0.05
    ("the angle moves with the new speed", [QUARTER, 1], 0.5, [QUARTER + 0.09125, 1.825], QUARTER**2 + 0.1 + 0.00025),
    ("a torque of 5 acts and costs as 2", [0, 0], 5, [0.015, 0.3], 0.004),
    ("a torque of -5 acts and costs as -2", [0, 0], -5, [-0.015, -0.3], 0.004),
    ("the speed is cut to 8", [QUARTER, 7.9], 2, [QUARTER + 0.4, 8], QUARTER**2 + 6.241 + 0.004),
    ("the speed is cut to -8", [-QUARTER, -7.9], -2, [-QUARTER - 0.4, -8], QUARTER**2 + 6.241 + 0.004),
    ("3/2 pi costs as -1/2 pi", [3 * QUARTER, 0], -1, [3 * QUARTER - 0.045, -0.9], QUARTER**2 + 0.001),
    ("-7/2 pi costs as 1/2 pi", [-7 * QUARTER, 0], 1, [-7 * QUARTER + 0.045, 0.9], QUARTER**2 + 0.001),
])  # fmt: skip
def test_one_step_by_hand(law, state, action, next_state, cost):
    got = pendulum_step(states=torch.tensor([state], dtype=F64), actions=torch.tensor([[action]], dtype=F64))
    expect_close(got, [[next_state], [-cost]], law, **EXACT)


def test_rewards_and_flags_by_hand():
    _, _, rewards, terminated, truncated = played(torques(6, 3), max_steps=2)
    expect_equal(rewards.T < 0, [[1, 1, 0, 1, 1, 0]] * 3, "each of two steps costs something, the reset nothing")
    expect_equal(truncated.T, [[0, 1, 0, 0, 1, 0]] * 3, "after two steps; the step that resets does not count")
    expect_equal(terminated, torch.zeros_like(truncated), "a pendulum never terminates")
    *_, truncated = played(torques(202, 1))
    expect_equal(truncated[:, 0].nonzero(), [[199]], "by default after 200 steps")


# --- agreement with gymnasium -----------------------------------------------------------------------------------------


@given(seeds(), st.integers(1, 6), st.sampled_from([2**-10, 1, 16]))
def test_a_step_agrees_with_gymnasium(seed, count, scale):
    states = torch.tensor([scale, 4]) * normal(count, 2, seed=seed, dtype=torch.float32).double()  # exact in float32
    actions = torques(count, seed=seed + 1)
    got = pendulum_step(states, actions)
    expected = torch.tensor(list(map(gymnasium_step, states.tolist(), actions.tolist())), dtype=F64)
    expect_close(got, [expected[:, :2], expected[:, 2]], "the next states and the rewards of gymnasium", **EXACT)
    single = pendulum_step(states.float(), actions)  # float64 actions
    expect_close(single, [part.float() for part in got], "in float32, up to its rounding", rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("num_envs, max_steps, steps", [(5, 1, 9), (1, 30, 65), (3, 7, 60), (100, 4, 12)])
def test_whole_episodes_agree_with_gymnasium(num_envs, max_steps, steps):
    envs = made(num_envs, max_steps=max_steps)
    theirs = Gymnasium(envs.reset(), max_steps)
    for number, actions in enumerate(torques(steps, num_envs, seed=1), start=1):
        got, expected = envs.step(actions=actions), theirs.step(actions)
        if number % (max_steps + 1) == 0:
            theirs.go_on_from(got.observations)
            expect_equal(got[1:], expected[1:], "the step that resets: reward 0, no flag")
        else:
            expect_close(got, expected, "gymnasium's vector environment", **EXACT)


def test_fresh_states_are_uniform_and_new():
    generator, drawn = rng(), []
    for _ in range(4):  # of one generator; the limit is one step, so every second step resets
        envs = VectorPendulum(500, generator=generator, max_steps=1, dtype=F64)
        drawn += [envs.reset(), envs.reset(), *[envs.step(torques(500)).observations for _ in range(6)][1::2]]
    cos, sin, speeds = torch.stack(drawn).unbind(dim=-1)
    assert speeds.abs().max() <= 1, f"a speed in [-1, 1], got {speeds.abs().max():.4f}"
    shares = torch.stack([torch.atan2(sin, cos) / math.pi, speeds], dim=-1) / 2 + 0.5
    expect_fresh_noise(torch.special.ndtri(shares), "uniform, new for every environment and reset, for one generator")


def test_a_reset_in_the_middle_starts_all_over():
    envs = made(2, max_steps=5)
    for before in (0, 3, 0):  # at the start, in the middle, and right after the fifth step, where a reset is due
        [envs.step(torques(2)) for _ in range(before)]
        envs.reset()
        steps = [envs.step(torques(2)) for _ in range(5)]
        expect_equal([int(one.truncated.sum()) for one in steps], [0, 0, 0, 0, 2], "the count of steps starts again")
        expect_equal([bool((one.rewards < 0).all()) for one in steps], [1] * 5, "and no reset is due any more")


def test_what_is_returned_is_the_callers():
    actions, envs = torques(30, 3), made(3, max_steps=7)
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
        envs, actions = made(3, dtype=dtype, max_steps=1), torques(3).to(other)
        kinds = [part.dtype for part in (envs.reset(), *envs.step(actions), *envs.step(actions))]
    assert kinds == [dtype, *[dtype, dtype, torch.bool, torch.bool] * 2], f"asked for {dtype}, got {kinds}"
    assert VectorPendulum(3, generator=rng()).reset().dtype == torch.float32, "float32 by default"


def test_gradients_flow_through_a_step_only():
    actions = torch.tensor([[0.3]], dtype=F64, requires_grad=True)
    states, rewards = pendulum_step(torch.tensor([[0.5, 1]], dtype=F64), actions)
    slopes = [torch.autograd.grad(part, actions, retain_graph=True)[0] for part in (rewards[0], *states[0])]
    expect_close(torch.cat(slopes), [[-0.0006], [0.0075], [0.15]], "of reward, angle and speed by the torque")
    assert not any(part.requires_grad for part in played(actions.expand(3, 2, 1))), "environments record no gradient"


def test_no_step_waits_for_the_gpu():
    with NothingWaits():
        played(torques(9, 4), max_steps=3)


# --- refusals and standing laws ---------------------------------------------------------------------------------------


def test_before_the_first_reset():
    envs = made(num_envs=7)
    expect_equal([envs.num_envs, envs.action_size, envs.action_limit, envs.observation_size], [7, 1, 2, 3], "sizes")
    with pytest.raises(RuntimeError, match="reset"):  # no step before it
        envs.step(torques(7))


@pytest.mark.parametrize("name, call", [
    ("num_envs", lambda: made(0)), ("max_steps", lambda: made(2, max_steps=0)),
    ("actions", lambda: played(torques(1, 1), 3)), ("actions", lambda: played([torques(3), torques(4)], 3, max_steps=1))
])  # fmt: skip
def test_what_is_out_of_range_is_refused(name, call):
    expect_refused(name, call)


@pytest.mark.parametrize("law", [*laws.STANDING_LAWS, laws.gradients_are_right])
def test_standing_laws(law):
    law(pendulum_step, normal(5, 2), torques(5))
    if law in (laws.inputs_are_not_changed, laws.device_is_followed, laws.global_rng_is_untouched):
        law(lambda actions: played(actions, max_steps=4), torques(9, 3))
