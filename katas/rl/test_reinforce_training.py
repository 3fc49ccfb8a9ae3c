"""reinforce_training: whole episodes side by side, and one step from each batch of them.

The environments follow a script and remember what they showed. The model has two parameters, so every update is
followed in Python numbers from what was seen. Out of scope: the networks, real-valued actions.
"""

import math
from types import SimpleNamespace

import pytest
import torch

from katas.lab.expect import expect_close, expect_equal, expect_refused
from katas.lab.laws import device_is_followed, global_rng_is_untouched
from katas.lab.strategies import rng
from katas.rl.given.loops import (
    a_loss_that_is_not_finite_changes_nothing,
    callback_comes_last_and_may_change_rates,
    expect_learned,
    goes_on_from_a_first_update,
)
from katas.rl.given.networks import ActorCritic
from katas.rl.given.probes import PROBES, Probe
from katas.rl.given.watched import TERMINATED, TRUNCATED, Line, Scripted, feature
from katas.rl.reinforce_training import play_episodes, train_reinforce

F64 = torch.float64
CLIP = {"rtol": 1e-5, "atol": 1e-6}  # clip_grad_norm_ divides by the norm + 1e-6
SCRIPT = (
    [([1.0, -2.0], TERMINATED), ([4.0, 0.5, 1.0], TRUNCATED)],
    [([8.0, -1.0, 0.0, 2.0, 3.0], TRUNCATED)],
    [([0.5] * 4, f"{TERMINATED} {TRUNCATED}")],
    [([-6.0], TRUNCATED)],
)


def scripted(*script, **options):
    return Scripted(*(script or SCRIPT), dtype=F64, **options)


def trained(updates, *, model=None, envs=None, lr=0.02, seed=1, **options):
    """Runs `train_reinforce`: the model, the environments, and the reports."""
    model, envs, reports = model or Line(), envs or scripted(reset_reward=1e6, shape=(3, 1)), []
    options = dict(generator=rng(seed), on_update=reports.append) | options
    options.setdefault("optimizer", torch.optim.SGD([{"params": [part]} for part in model.parameters()], lr=lr))
    train_reinforce(model=model, envs=envs, updates=updates, **options)
    return model, envs, reports


# --- episodes ---------------------------------------------------------------------------------------------------------


def test_episodes_by_hand():
    envs = scripted([([1.0, 2.0], TERMINATED), ([4.0], TRUNCATED)], [([8.0, -1.0, 0.5, 3.0], TRUNCATED)])
    got = play_episodes(model=Line(), envs=envs, generator=rng(3))
    first = [(0, 0, 0), (0, 0, 1), (0, 0, 2), (0, 1, 0), (0, 1, 1)]
    assert len(got.mask) == 4, f"until the longest of the first episodes has ended: 4 steps, not {len(got.mask)}"
    expect_equal(got.observations[:, 0], first[:4], "what the policy saw")
    expect_equal(
        got.next_observations[:, 0], first[1:], "what the steps returned: (0, 0, 2) is the last of its episode"
    )
    expect_equal(got.rewards, [[1.0, 8], [2, -1], [0, 0.5], [4, 3]], "the reward of each step")
    expect_equal(got.mask.T.int(), [[1, 1, 0, 0], [1, 1, 1, 1]], "the first episode of each, its last step included")
    ends = [got.terminated.T.int(), got.truncated.T.int()]
    expect_equal(ends, [[[0, 1, 0, 0], [0] * 4], [[0, 0, 0, 1], [0, 0, 0, 1]]], "as the environments said")
    expect_equal(torch.stack(envs.actions), got.actions, "the actions that the environments were given")


def test_actions_are_drawn_from_the_policy():
    envs = scripted(*[[([0.0] * 1500, TERMINATED)]] * 6)
    model = Line(slope=0.005)  # after 1,500 steps the logits are 0 and -1.5
    got = play_episodes(model, envs, generator=rng(1))
    chances = 1 / (1 + torch.exp(-0.005 * (0.5 + got.observations @ got.observations.new_tensor((0.4, 0.3, -0.2)))))
    spread = float((chances * (1 - chances)).sum().sqrt())
    # 9,000 draws, each with its own probability: six standard deviations, one generator in 500 million
    assert abs(float((got.actions - chances).sum())) < 6 * spread, "softmax(logits) says how often each action is drawn"
    assert 0 < got.actions.double().mean() < 1, "and both actions are"
    assert got.actions.T.unique(dim=0).shape[0] == 6, "every environment has draws of its own"
    assert not got.actions.requires_grad and model.learned == [], "playing records no gradient"


# --- the definition of an update --------------------------------------------------------------------------------------


def rows_of(seen, height, gamma):
    """(x, action, return) of every step of the first episode of each environment."""
    rows = []
    for steps in zip(*seen, strict=True):  # one environment
        last = next(n for n, step in enumerate(steps) if step.terminated or step.truncated)
        following = 0 if steps[last].terminated else height * feature(steps[last].next_observation)
        for step in reversed(steps[: last + 1]):
            following = step.reward + gamma * following
            rows.append((feature(step.observation), step.action, following))
    return rows


def follow(batches, *, slope=0.7, height=-0.4, gamma=0.99, value_coefficient=0.5, entropy_coefficient=0.0,
           max_grad_norm=math.inf, lr=0.02):  # fmt: skip
    """After every update: (policy loss, value loss, entropy), slope, height, from what was seen."""
    for seen in batches:
        numbers, change = [0.0] * 3, [0.0] * 2
        rows, episodes = rows_of(seen, height, gamma), len(seen[0])
        for x, action, wanted in rows:
            p, error = 1 / (1 + math.exp(-slope * x)), height * x - wanted
            log_prob, rise = (math.log(p), x * (1 - p)) if action else (math.log(1 - p), -x * p)
            numbers[0] += log_prob * error / episodes
            numbers[1] += error**2 / 2 / len(rows)
            numbers[2] -= (p * math.log(p) + (1 - p) * math.log(1 - p)) / len(rows)
            change[0] += rise * error / episodes + entropy_coefficient * slope * x * x * p * (1 - p) / len(rows)
            change[1] += value_coefficient * error * x / len(rows)
        scale = lr * min(1, max_grad_norm / math.hypot(*change))
        slope, height = slope - scale * change[0], height - scale * change[1]
        yield numbers, slope, height


def batches_of(envs, count):
    """What the environments showed, cut where they were reset: each batch plays until the longest episode has ended."""
    size = len(envs.seen) // count
    return [envs.seen[start : start + size] for start in range(0, len(envs.seen), size)]


# --- training ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [
    {}, {"gamma": 0.5, "lr": 0.1}, {"max_grad_norm": 0.3, "lr": 1.0}, {"entropy_coefficient": 3.0},
    {"value_coefficient": 20.0}, {"value_coefficient": 0},
], ids=lambda options: " ".join(options) or "defaults")  # fmt: skip
def test_every_update_agrees_with_the_definition(options):
    model, told = Line(), []
    _, envs, _ = trained(4, model=model, **options, on_update=lambda report: told.append(
        (report, float(model.slope), float(model.height))))  # fmt: skip
    assert envs.resets == 4 == len(told) and len(envs.seen) == 20, "each update begins with reset() and plays 5 steps"
    expected = list(follow(batches_of(envs, 4), **options))
    for update, ((report, *after), (numbers, *weights)) in enumerate(zip(told, expected, strict=True)):
        whole = [update, (-1.0 + 12.0 + 2.0 - 6.0) / 4, *numbers]  # every episode has the same rewards each time
        expect_close(report, whole, f"update {update}: as reported", **CLIP)
        expect_close(after, weights, f"slope and height after update {update}", **CLIP)
    assert [type(number) for number in told[0][0]] == [int] + [float] * 4, f"Python numbers: {told[0][0]}"


def test_a_long_episode_counts_to_its_end():
    envs = scripted([([1.0, 0.5, -1.0] * 200, TERMINATED)], [([2.0] * 700, TRUNCATED)])
    model, envs, _ = trained(1, envs=envs, gamma=1, lr=1e-6)
    ((_, slope, height),) = follow([envs.seen], gamma=1, lr=1e-6)
    expect_close([float(model.slope), float(model.height)], [slope, height], "episodes of 600 and 700 steps", **CLIP)


def test_the_callback_comes_last_and_may_change_rates():
    callback_comes_last_and_may_change_rates(trained)


def test_old_gradients_are_cleared():
    model = Line()
    model.slope.grad = torch.tensor(1e6, dtype=F64)
    _, envs, _ = trained(1, model=model, envs=scripted(SCRIPT[0]))  # a single environment
    ((_, slope, _),) = follow(batches_of(envs, 1))
    expect_close(float(model.slope), slope, "a gradient left over from before counts nowhere", **CLIP)


def test_it_goes_on_from_a_first_update():
    goes_on_from_a_first_update(trained)


def test_the_generator_alone_decides_and_goes_on():
    first, again = rng(5), rng(5)
    runs = [[part.tolist() for part in trained(2, generator=one)[1].actions] for one in (first, again, again)]
    assert runs[0] == runs[1], "the same state of the generator gives the same run"
    assert runs[1] != runs[2], "a second run on one generator draws other actions"


@pytest.mark.parametrize("what, bad", [("values", math.nan), ("values", math.inf), ("rewards", 1e200)])
def test_a_loss_that_is_not_finite_changes_nothing(what, bad):
    a_loss_that_is_not_finite_changes_nothing(trained, scripted(), what, bad)


# --- the light twin of the full check: probes with exact values -------------------------------------------------------


@pytest.mark.parametrize("name", PROBES)
def test_probes_are_learned_exactly(name):
    rules, gamma = PROBES[name], 0.8
    torch.manual_seed(0)
    model, envs = ActorCritic(1, 2, hidden=(16,)), Probe(rules, 16, generator=rng(1))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.03)
    train_reinforce(model, envs, optimizer, updates=100, generator=rng(2), gamma=gamma)
    # over 8 seeds: values off by at most 0.03, the best action with a probability of 1.000
    expect_learned(model, rules, gamma)


# --- refusals and standing laws ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name, call", [
    ("envs", lambda: trained(1, envs=SimpleNamespace(num_actions=None))), ("gamma", lambda: trained(1, gamma=1.5)),
])  # fmt: skip
def test_what_is_out_of_range_is_refused(name, call):
    expect_refused(name, call)


@pytest.mark.parametrize("law", [device_is_followed, global_rng_is_untouched])
def test_standing_laws(law):
    with torch.device("cpu"):
        model = Line()
    law(lambda: trained(2, model=model, lr=0.0)[0].slope.detach())
