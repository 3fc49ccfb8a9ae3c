"""dqn: targets, loss and target network of deep Q-learning.

Checked against loops on Python floats, and against the exact values of a small task. Out of scope: replay, the loop.
"""

import copy
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from katas.lab.expect import expect_close, expect_equal, expect_refused
from katas.lab.laws import STANDING_LAWS, gradients_are_right
from katas.lab.strategies import normal, rng, seeds
from katas.rl.dqn import double_dqn_target, dqn_loss, epsilon_at, polyak_update, td_target

F64 = torch.float64
SIZES = st.sampled_from([(1, 1), (1, 3), (4, 2), (7, 5), (1000, 3)])


def drawn(seed, batch, actions, scale=1.0):
    """Rewards, online and target values of the next observations, and where the episode has terminated."""
    numbers = scale * normal(batch, 2 * actions + 1, seed=seed)
    return numbers[:, 0], numbers[:, 1 : 1 + actions], numbers[:, 1 + actions :], normal(batch, seed=seed + 1) < -0.5


# --- the definitions --------------------------------------------------------------------------------------------------


def targets(rewards, chooses, values, terminated, gamma):
    """`chooses` picks the action, `values` says what it is worth."""
    rows = zip(rewards.tolist(), chooses.tolist(), values.tolist(), terminated.tolist(), strict=True)
    return [r + (0 if end else gamma * worth[own.index(max(own))]) for r, own, worth, end in rows]


def huber(q, actions, wanted):
    errors = [abs(row[a] - y) for row, a, y in zip(q.tolist(), actions.tolist(), wanted.tolist(), strict=True)]
    return sum(e * e / 2 if e <= 1 else e - 0.5 for e in errors) / len(errors)


# --- worked examples --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step, options, expected", [
    (0, {"decay_steps": 10}, 1.0), (10, {"decay_steps": 10}, 0.05), (11, {"decay_steps": 10}, 0.05),
    (5, {"decay_steps": 10}, 0.525), (1, {"decay_steps": 1}, 0.05), (10**9, {"decay_steps": 7}, 0.05),
    (3, {"start": 0.8, "end": 0.2, "decay_steps": 4}, 0.35), (3, {"start": 0.2, "end": 0.8, "decay_steps": 4}, 0.65),
    (7, {"start": 0, "end": 0, "decay_steps": 4}, 0.0),
])  # fmt: skip
def test_exploration_by_hand(step, options, expected):
    expect_close(float(epsilon_at(step=step, **options)), expected, "a straight line from start to end, then end")


REWARDS, ENDS = torch.tensor([1, -2, 3], dtype=F64), torch.tensor([False, False, True])
ONLINE = torch.tensor([[5, 2, 5], [-7, -3, -4], [1, 9, 2]], dtype=F64)  # two best actions, worth the same
TARGET = torch.tensor([[4, 8, 4], [-2, -6, -9], [7, 7, 50]], dtype=F64)


def test_targets_by_hand():
    # the largest are 8 and -2, halved: 1 + 4, -2 - 1; nothing follows the third
    got = td_target(rewards=REWARDS, next_q=TARGET, terminated=ENDS, gamma=0.5)
    expect_close(got, [5, -3, 3], "td_target: the reward, and half of the largest value unless terminated")
    got = td_target(REWARDS.float(), TARGET, ENDS, gamma=0.5)
    expect_close(got, [5, -3, 3], "float32 rewards and float64 values: the rewards decide", dtype=torch.float32)
    # the online network chooses the first or the third, and the second: 4 and -6
    both = {"next_q_online": ONLINE, "next_q_target": TARGET}
    got = double_dqn_target(rewards=REWARDS, **both, terminated=ENDS, gamma=0.5)
    expect_close(got, [3, -5, 3], "double_dqn_target: online chooses, target says what it is worth")
    got = double_dqn_target(REWARDS.float(), ONLINE, TARGET, ENDS, gamma=0.5)
    expect_close(got, [3, -5, 3], "float32 rewards and float64 values: the rewards decide", dtype=torch.float32)


def test_the_loss_by_hand():
    # errors of the actions taken: 0.5, -3 and 1: 0.125 + 2.5 + 0.5
    q = torch.tensor([[2, 9], [4, -7], [-1, 3]], dtype=F64, requires_grad=True)
    got = dqn_loss(q=q, actions=torch.tensor([0, 1, 1]), targets=torch.tensor([1.5, -4, 2], dtype=F64))
    expect_close(got, 3.125 / 3, "half the square up to an error of 1, beyond it the error minus 1/2; the mean")
    got.backward()
    expect_close(3 * q.grad, [[0.5, 0], [0, -1], [0, 1]], "the slope is the error, cut to 1, of the action taken alone")
    got = dqn_loss(q.float(), torch.tensor([0, 1, 1]), torch.tensor([1.5, -4, 2], dtype=F64))
    expect_close(got, 3.125 / 3, "float32 values and float64 targets: the values decide", dtype=torch.float32)
    nothing = dqn_loss(q[:0], torch.tensor([]).long(), torch.tensor([], dtype=F64))
    expect_close(nothing, 0.0, "an empty batch: 0 and not NaN")


# --- agreement with the definitions, and laws -------------------------------------------------------------------------


@given(seeds(), SIZES, st.sampled_from([1e-3, 1, 1e4]), st.sampled_from([0, 0.9, 1]))
def test_targets_agree_with_the_definition(seed, size, scale, gamma):
    rewards, online, target, terminated = drawn(seed, *size, scale)
    expected = targets(rewards, target, target, terminated, gamma)
    expect_close(td_target(rewards, target, terminated, gamma=gamma), expected, "r + gamma · max Q_target")
    expected = targets(rewards, online, target, terminated, gamma)
    got = double_dqn_target(rewards, online, target, terminated, gamma=gamma)
    expect_close(got, expected, "r + gamma · Q_target at the argmax of Q_online")


@given(seeds(), SIZES, st.sampled_from([1e-3, 1, 1e4]))
def test_the_loss_agrees_with_the_definition(seed, size, scale):
    batch, actions = size
    q, wanted = scale * normal(batch, actions, seed=seed), scale * normal(batch, seed=seed + 1)
    taken = torch.randint(actions, (batch,), generator=rng(seed))
    expect_close(dqn_loss(q, taken, wanted), huber(q, taken, wanted), "the mean Huber loss", rtol=1e-9, atol=1e-12)


def test_targets_lead_to_the_optimal_values():
    # a corridor of five cells, left or right; the exit beyond the last one pays 1. Worth of a cell: 0.9 ** distance
    cells = torch.arange(5).repeat_interleave(2)
    steps = torch.tensor([-1, 1]).repeat(5)
    arrived = (cells + steps).clamp(min=0)
    rewards, terminated, q = (arrived == 5).to(F64), arrived == 5, torch.zeros(6, 2, dtype=F64)
    q[5] = 100.0  # whatever is written at the exit
    for _ in range(60):
        following = double_dqn_target(rewards, q[arrived], q[arrived], terminated, gamma=0.9)
        q = torch.cat([following.reshape(5, 2), q[5:]])
    expected = [[0.9 ** (6 - max(cell, 1)), 0.9 ** (4 - cell)] for cell in range(5)]
    expect_close(q[:5], expected, "Q-learning finds the exact values of the corridor", rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_what_lies_behind_the_end_has_no_influence(bad):
    behind = torch.where(ENDS[:, None], bad, TARGET)
    got = [td_target(REWARDS, behind, ENDS, gamma=0.5), double_dqn_target(REWARDS, ONLINE, behind, ENDS, gamma=0.5)]
    expect_close(got, [[5, -3, 3], [3, -5, 3]], f"{bad} as the value of a terminal state changes nothing")


def test_gradients_reach_the_taken_actions_alone():
    given_ = (normal(3, 3), REWARDS, ONLINE, TARGET, normal(3))
    q, rewards, online, target, wanted = (part.clone().requires_grad_() for part in given_)
    one, two = td_target(rewards, target, ENDS, gamma=0.5), double_dqn_target(rewards, online, target, ENDS, gamma=0.5)
    assert not one.requires_grad and not two.requires_grad, "a target that follows the network is chased: detach"
    dqn_loss(q, actions := torch.tensor([2, 0, 1]), wanted).backward()
    assert wanted.grad is None, "targets get no gradient"
    gradients_are_right(lambda q: dqn_loss(q, actions, 3 * normal(3, seed=1)), 2 * normal(3, 3))


# --- the target network -----------------------------------------------------------------------------------------------


class Network(nn.Module):
    def __init__(self, seed):
        super().__init__()
        torch.manual_seed(seed)
        self.scale = nn.Parameter(torch.randn(3).double())
        self.body = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2)).double()
        self.register_buffer("offset", torch.randn(2), persistent=False)  # in no state_dict
        for _ in range(seed):  # the counter of the BatchNorm1d
            self.body(normal(5, 3, seed=seed))

    def parts(self):
        return dict(self.named_parameters()), dict(self.named_buffers())


@pytest.mark.parametrize("frozen", [True, False])
@pytest.mark.parametrize("tau", [0, 0.005, 0.5, 1])
def test_the_target_network_follows(tau, frozen):
    target, online = Network(1).requires_grad_(not frozen), Network(2)
    (slow, _), (fast, buffers) = copy.deepcopy((target.parts(), online.parts()))
    places = [(part.data_ptr(), part.requires_grad) for part in target.parameters()]
    polyak_update(target=target, online=online, tau=tau)
    blended = {name: (1 - tau) * slow[name] + tau * fast[name] for name in slow}
    expect_close(target.parts(), (blended, buffers), "(1 - tau) · target + tau · online; buffers are copied")
    expect_equal(online.parts(), (fast, buffers), "the online network stays as it is")
    assert [(part.data_ptr(), part.requires_grad) for part in target.parameters()] == places, (
        "in place: the same memory as before, trained or frozen as before"
    )
    with torch.no_grad():
        [part.add_(1) for part in (*online.parameters(), *online.buffers())]
    expect_close(target.parts(), (blended, buffers), "a later step of the online network does not move the target")


# --- refusals and standing laws ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name, call", [
    *[("decay_steps", lambda n=n: epsilon_at(1, decay_steps=n)) for n in (0, -3)],
    *[(n, lambda n=n, x=x: epsilon_at(1, **{n: x}, decay_steps=2)) for n in ("start", "end") for x in (1.1, -0.1)],
    *[("gamma", lambda x=x: td_target(REWARDS, TARGET, ENDS, gamma=x)) for x in (1.1, -0.1)],
    *[("gamma", lambda x=x: double_dqn_target(REWARDS, ONLINE, TARGET, ENDS, gamma=x)) for x in (1.1, -0.1)],
    *[("tau", lambda x=x: polyak_update(Network(1), Network(2), tau=x)) for x in (1.5, -0.1)],
])  # fmt: skip
def test_what_is_out_of_range_is_refused(name, call):
    expect_refused(name, call)


@pytest.mark.parametrize("law", STANDING_LAWS)
def test_standing_laws(law):
    rewards, online, target, terminated = drawn(3, 5, 2)
    law(td_target, rewards, target, terminated, gamma=0.9)
    law(double_dqn_target, rewards, online, target, terminated, gamma=0.9)
    law(dqn_loss, online, torch.tensor([1, 0, 0, 1, 1]), rewards)
