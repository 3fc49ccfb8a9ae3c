"""dqn_training: every transition stored as it happened, and every step as promised.

The environments follow a script and remember what they showed, the buffer remembers what was sampled. The model has
two parameters, so every update is followed in Python numbers. Out of scope: the networks, real-valued actions.
"""

import copy
import math
import re
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from katas.lab.expect import expect_close, expect_equal, expect_refused
from katas.lab.laws import device_is_followed, global_rng_is_untouched
from katas.lab.strategies import rng
from katas.rl.dqn_training import train_dqn
from katas.rl.given.list_buffer import ListBuffer
from katas.rl.given.networks import mlp
from katas.rl.given.probes import PROBES, Probe
from katas.rl.given.watched import TERMINATED, TRUNCATED, Scripted
from katas.rl.replay_buffer import ReplayBuffer

F64 = torch.float64
CLIP = {"rtol": 1e-5, "atol": 1e-6}  # clip_grad_norm_ divides by the norm + 1e-6
SMALL = {"batch_size": 3, "learning_starts": 1}  # three environments: learns from the first step on
SCRIPT = (
    [([1.0, -2.0], TERMINATED), ([4.0, 0.5, 1.0, -3.0, 2.0], TRUNCATED)],
    [([8.0, -1.0, 0.0], TRUNCATED), ([3.0], TERMINATED)],
    [([0.5] * 7, f"{TERMINATED} {TRUNCATED}"), ([-6.0], TRUNCATED)],
)


def features(observation, scale=1.0):
    """x and y of `Values`, on Python floats."""
    e, k, t = observation
    return scale * (0.5 + 0.4 * e - 0.2 * t + 0.03 * k), scale * (1.4 - 0.9 * e - 0.01 * k + 0.25 * t)


class Values(nn.Module):
    """The values of three actions: slope · x, height · y and slope · y, with two features of the observation."""

    def __init__(self, slope=0.7, height=-0.4, scale=1.0):
        super().__init__()
        self.slope = nn.Parameter(torch.tensor(slope, dtype=F64))
        self.height = nn.Parameter(torch.tensor(height, dtype=F64))
        self.scale = scale

    def forward(self, observations):
        x, y = features(observations[..., 0].T, self.scale)  # (N, 3, 1)
        return torch.stack([self.slope * x, self.height * y, self.slope * y], dim=-1)

    def weights(self):
        return [float(self.slope), float(self.height)]


def scripted(script=SCRIPT, **options):
    return Scripted(*script, **{"dtype": F64, "num_actions": 3, "reset_reward": 1e6, "shape": (3, 1)} | options)


def trained(steps, *, online=None, target=None, envs=None, buffer=None, lr=0.1, **options):
    """A run. It has told after every step: (report, weights of online, weights of target)."""
    online, envs, told = online or Values(), envs or scripted(), []
    target, buffer = target or copy.deepcopy(online), ListBuffer() if buffer is None else buffer
    options.setdefault("optimizer", torch.optim.SGD([{"params": [one]} for one in online.parameters()], lr=lr))
    options.setdefault("generator", rng(1))
    options.setdefault("on_step", lambda report: told.append((report, online.weights(), target.weights())))
    train_dqn(online=online, target=target, envs=envs, buffer=buffer, steps=steps, **options)
    return SimpleNamespace(online=online, target=target, envs=envs, buffer=buffer, told=told)


# --- acting and storing -----------------------------------------------------------------------------------------------


def test_every_transition_is_stored_as_it_happened():
    run = trained(30, **SMALL)
    stored = {row.observation: row for row in run.buffer.rows}
    steps = [step for steps in run.envs.seen for step in steps]
    for step in steps:
        kept = (step.observation, step.action, step.reward, step.next_observation, step.terminated)
        expected, got = kept if step.valid else None, stored.get(step.observation)
        assert got == expected, (
            f"stored: {got}\nseen:   {step}\nThe next observation is what the step returned, at an end as well. A "
            "time limit (truncated) is no end. A step that resets (not valid) is not stored."
        )
    assert len(run.buffer) == sum(step.valid for step in steps), "every transition is stored once"
    assert run.envs.resets == 1, f"reset() once, at the start: {run.envs.resets} times"


class Constant(Values):
    def forward(self, observations):
        return observations.new_tensor([0.3, 2.0, 1.0]).expand(len(observations), 3)


def test_epsilon_is_the_share_of_random_actions():
    envs, schedule = Scripted(*[[([0.0] * 40, TERMINATED)]] * 1000, num_actions=3), (0.9, 0.3, 20)
    names = dict(zip(("epsilon_start", "epsilon_end", "epsilon_decay_steps"), schedule, strict=True))
    trained(30, online=Constant(), envs=envs, learning_starts=10**6, on_step=None, **names)
    actions = torch.stack(envs.actions)
    for step, row in enumerate(actions):
        epsilon = epsilon_of(step, *schedule)
        shares, expected = row.bincount(minlength=3) / 1000, [epsilon / 3, 1 - epsilon * 2 / 3, epsilon / 3]
        # a share of 1,000 has a standard deviation of at most 0.016: six of them, 90 shares, one run in five million
        assert (shares - torch.tensor(expected)).abs().max() < 0.095, (
            f"step {step}, epsilon {epsilon:.2f}: each environment by itself acts at random with this probability, all "
            f"three actions alike; shares {shares.tolist()}, expected {expected}"
        )
    assert len(actions.unique(dim=0)) == 30, "drawn anew in every step"


# --- the definition of a step -----------------------------------------------------------------------------------------


def epsilon_of(step, start, end, decay_steps):
    return start + (end - start) * min(1, step / decay_steps)


def values(weights, observation, scale):
    (slope, height), (x, y) = weights, features(observation, scale)
    return [slope * x, height * y, slope * y]


def error_of(row, online, target, gamma, double, scale):
    """(the value of the action taken, by how much it differs from its target)."""
    worth = values(target, row.next_observation, scale)
    judged = values(online, row.next_observation, scale) if double else worth
    ahead = 0 if row.terminated else gamma * worth[judged.index(max(judged))]
    q = values(online, row.observation, scale)[row.action]
    return q, q - (row.reward + ahead)


def updated(batch, online, target, *, gamma, double, scale, lr, max_grad_norm):
    """(loss, mean value) of a batch, and the weights after the step."""
    loss, mean_q, change = 0.0, 0.0, [0.0, 0.0]
    for row in batch:
        q, error = error_of(row, online, target, gamma, double, scale)
        x, y = features(row.observation, scale)
        loss += (error**2 / 2 if abs(error) <= 1 else abs(error) - 0.5) / len(batch)
        mean_q += q / len(batch)
        slope = max(-1, min(1, error)) / len(batch)
        change[row.action == 1] += slope * (x if row.action == 0 else y)
    rate = lr * min(1, max_grad_norm / math.hypot(*change))
    return (loss, mean_q), [weight - rate * one for weight, one in zip(online, change, strict=True)]


def follow(seen, sampled, online, target, *, first_step=0, batch_size=128, gamma=0.99, learning_starts=1000,
           updates_per_step=1, target_every=1, tau=0.005, epsilon_start=1.0, epsilon_end=0.05, epsilon_decay_steps=2000,
           double=True, max_grad_norm=10.0, lr=0.1, scale=1.0):  # fmt: skip
    """Of every step: (greedy actions, the report, weights of online, weights of target), from what was seen."""
    known, sampled = {}, iter(sampled)
    options = {"gamma": gamma, "double": double, "scale": scale, "lr": lr, "max_grad_norm": max_grad_norm}
    for step, rows in enumerate(seen, first_step):
        greedy = [max(range(3), key=values(online, row.observation, scale).__getitem__) for row in rows]
        known |= {row.observation: row for row in rows if row.valid}
        told = []
        for _ in range(updates_per_step if len(known) >= max(learning_starts, batch_size) else 0):
            told_of = f"step {step}: a batch of {batch_size} of the {len(known)} stored is due, sampled were"
            assert len(shown := next(sampled, [])) == batch_size and set(shown) <= set(known), f"{told_of} {shown}"
            numbers, online = updated([known[observation] for observation in shown], online, target, **options)
            told.append(numbers)
        if (step + 1) % target_every == 0:
            target = [(1 - tau) * slow + tau * fast for slow, fast in zip(target, online, strict=True)]
        means = [sum(column) / len(told) for column in zip(*told, strict=True)] or [math.nan, math.nan]
        yield greedy, [step, epsilon_of(step, epsilon_start, epsilon_end, epsilon_decay_steps), *means], online, target
    assert next(sampled, None) is None, "more batches were drawn than updates are due"


# --- training ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [
    SMALL, SMALL | {"double": False, "gamma": 0.6}, SMALL | {"gamma": 0.5, "updates_per_step": 3, "target_every": 3},
    SMALL | {"max_grad_norm": 0.02}, SMALL | {"target_every": 4, "tau": 1}, SMALL | {"learning_starts": 25},
    SMALL | {"batch_size": 13}, SMALL | {"lr": 0.001, "scale": 50.0}, {},
    SMALL | {"epsilon_start": 0.6, "epsilon_end": 0.2, "epsilon_decay_steps": 7, "first_step": 3, "target_every": 4},
], ids=lambda options: " ".join(n for n in options if options[n] != SMALL.get(n)) or str(len(options)))  # fmt: skip
def test_every_step_agrees_with_the_definition(options):
    online, target = (Values(scale=options.get("scale", 1.0)) for _ in range(2))
    target.slope.data.fill_(-0.5), target.height.data.fill_(0.9)  # they disagree, also before it learns
    start, steps = (online.weights(), target.weights()), 14 if options else 452  # the 1000th is stored in step 444
    run = trained(steps, online=online, target=target, **{n: options[n] for n in options if n != "scale"})
    expected = list(follow(run.envs.seen, run.buffer.sampled, *start, **options))
    assert len(run.told) == len(expected) == steps - options.get("first_step", 0), "one report after each step"
    for (report, *weights), (_, numbers, *followed) in zip(run.told, expected, strict=True):
        expect_close(list(report), numbers, f"step {numbers[0]}: the report (step, epsilon, loss, mean_q)", **CLIP)
        expect_close(weights, followed, f"step {numbers[0]}: slope and height of `online`, and of `target`", **CLIP)
    assert [type(number) for number in run.told[-1][0]] == [int] + [float] * 3, f"Python numbers: {run.told[-1][0]}"
    assert target.slope.grad is None and target.height.grad is None, "a target is data: it gets no gradient"


def test_without_exploration_every_action_is_greedy():
    run = trained(40, **SMALL, target=Values(slope=-0.5, height=0.9), epsilon_start=0, epsilon_end=0.0)
    options = SMALL | {"epsilon_start": 0, "epsilon_end": 0}
    expected = follow(run.envs.seen, run.buffer.sampled, [0.7, -0.4], [-0.5, 0.9], **options)
    got = [[row.action for row in rows] for rows in run.envs.seen]
    expect_equal(got, [greedy for greedy, *_ in expected], "the action of the highest value of `online`, as it is now")


def test_the_callback_comes_last_and_may_change_rates():
    optimizer, target, before = torch.optim.SGD((online := Values()).parameters(), lr=0.1), Values(), []

    def stop(report):
        before.append((online.weights(), target.weights()))
        optimizer.param_groups[0]["lr"] = 0.0

    trained(3, **SMALL, online=online, target=target, optimizer=optimizer, on_step=stop, tau=0.5)
    assert before[0][0] != [0.7, -0.4] != before[0][1], "the callback comes after the update of both networks"
    assert before[0][0] == before[1][0] == before[2][0], "a learning rate of 0 that it sets holds from then on"


def test_old_gradients_are_cleared():
    online = Values()
    online.slope.grad = torch.tensor(1e6, dtype=F64)
    run = trained(1, **SMALL, online=online)
    ((_, _, expected, _),) = follow(run.envs.seen, run.buffer.sampled, [0.7, -0.4], [0.7, -0.4], **SMALL)
    expect_close(online.weights(), expected, "a gradient left over from before counts nowhere", **CLIP)


def test_it_goes_on_from_a_first_step():
    first = trained(6, **SMALL)
    again = trained(9, **SMALL, first_step=6, buffer=first.buffer)
    assert [report.step for report, *_ in again.told] == [6, 7, 8], "the steps first_step to steps - 1"
    first.buffer.capacity = 19
    run = trained(1, batch_size=3, learning_starts=19, buffer=first.buffer)
    assert not math.isnan(run.told[0][0].loss), "a buffer that is given full enough: it learns in the first step"
    assert trained(4, first_step=4).envs.seen == [], "nothing left to do"


def test_the_generator_alone_decides_and_goes_on():
    first, again = rng(5), rng(5)
    runs = [trained(9, **SMALL, generator=generator) for generator in (first, again, again)]
    places = [(run.buffer.rows, run.buffer.sampled, run.online.weights()) for run in runs]
    assert places[0] == places[1], "the same state of the generator gives the same run"
    assert places[1][0] != places[2][0], "a second run on one generator takes other actions"
    assert places[1][1] != places[2][1], "and draws other batches"


@pytest.mark.parametrize("what", ["online", "target"])
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_changes_nothing(what, bad):
    nets, kept = {"online": Values(), "target": Values()}, []
    optimizer = torch.optim.SGD(nets["online"].parameters(), lr=0.1, momentum=0.9)

    def state():
        return [net.state_dict() for net in nets.values()] + [optimizer.state_dict()["state"]]

    def spoil(report):
        if report.step == 6:
            nets[what].slope.data.fill_(bad), nets[what].height.data.fill_(bad)
            kept.append(copy.deepcopy(state()))

    with pytest.raises(FloatingPointError) as raised:
        trained(12, **nets, optimizer=optimizer, on_step=spoil, batch_size=12, learning_starts=1)
    assert re.search(r"\b7\b", str(raised.value)), f"the values of step 7 are {bad}; the error says: {raised.value}"
    expect_equal(state(), kept[0], "weights and momentum are as they were after the last good step")


# --- the light twin of the full check: probes with exact values -------------------------------------------------------


@pytest.mark.parametrize("name", PROBES)
def test_probes_are_learned_exactly(name):
    rules, gamma = PROBES[name], 0.8
    torch.manual_seed(0)
    online, envs = mlp(1, 16, 2), Probe(rules, 8, generator=rng(1))
    target, optimizer = copy.deepcopy(online), torch.optim.Adam(online.parameters(), lr=0.02)
    train_dqn(
        online, target, envs, ReplayBuffer(1000, (1,)), optimizer, steps=120, generator=rng(2), batch_size=64,
        learning_starts=64, gamma=gamma, tau=0.2, epsilon_end=0.5, epsilon_decay_steps=100,
    )  # fmt: skip
    for observation in rules.observations:
        with torch.no_grad():
            q = online(torch.tensor([[observation]]))[0]
        expected = rules.value(observation, gamma)
        assert abs(float(q.max()) - expected) < 0.1, f"the value of {observation}: {q.max():.3f}, exact {expected:g}"
        if rules.best_action is not None:
            assert int(q.argmax()) == rules.best_action(observation), f"the best action at {observation}: values {q}"


# --- refusals and standing laws ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name, call", [
    ("envs", lambda: trained(1, envs=SimpleNamespace(num_actions=None))),
    ("updates_per_step", lambda: trained(1, updates_per_step=0)), ("target_every", lambda: trained(1, target_every=0)),
    ("gamma", lambda: trained(1, **SMALL, gamma=1.5)), ("tau", lambda: trained(1, **SMALL, tau=1.5)),
    ("learning_starts", lambda: trained(1, buffer=ReplayBuffer(999, (3,)))),
    ("batch_size", lambda: trained(1, buffer=ReplayBuffer(127, (3,)), learning_starts=9)),
])  # fmt: skip
def test_what_is_out_of_range_is_refused(name, call):
    expect_refused(name, call)


@pytest.mark.parametrize("law", [device_is_followed, global_rng_is_untouched])
def test_standing_laws(law):
    with torch.device("cpu"):
        online = Values()
    law(lambda: trained(5, **SMALL, online=online, lr=0, envs=scripted(SCRIPT[:1])).online.slope.detach())
