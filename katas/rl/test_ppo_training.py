"""ppo_training: rollouts without gaps, and every minibatch as promised.

Environments follow a script, the model has two parameters: every update is followed in Python numbers.
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
from katas.rl.given.networks import ActorCritic, PolicyAndValue
from katas.rl.given.probes import PROBES, Probe
from katas.rl.given.watched import TERMINATED, TRUNCATED, Line, Scripted, feature
from katas.rl.ppo_training import collect_rollout, train_ppo

F64, NONE = torch.float64, torch.zeros(3, dtype=torch.bool)
CLIP = {"rtol": 1e-5, "atol": 1e-6}  # clip_grad_norm_ divides by the norm + 1e-6
SCRIPT = (
    [([1.0, -2.0], TERMINATED), ([4.0, 0.5, 1.0, -3.0, 2.0], TRUNCATED)],
    [([8.0, -1.0, 0.0], TRUNCATED), ([3.0], TERMINATED)],
    [([0.5] * 7, f"{TERMINATED} {TRUNCATED}"), ([-6.0], TRUNCATED)],
)


def scripted(**options):
    return Scripted(*SCRIPT, dtype=F64, **options)


def trained(updates, *, model=None, envs=None, lr=0.1, seed=1, **options):
    """Runs `train_ppo`: the model, the environments, and the reports."""
    model, envs, reports = model or Line(), envs or scripted(reset_reward=1e6, shape=(3, 1)), []
    options = dict(generator=rng(seed), rollout_steps=6, minibatch_size=5, on_update=reports.append) | options
    options.setdefault("optimizer", torch.optim.SGD([{"params": [part]} for part in model.parameters()], lr=lr))
    train_ppo(model=model, envs=envs, updates=updates, **options)
    return model, envs, reports


# --- a rollout --------------------------------------------------------------------------------------------------------


def test_a_rollout_by_hand():
    envs, model = Scripted([([1.0, 2.0], TERMINATED), ([4.0] * 9, TRUNCATED)], dtype=F64), Line()
    start = {"model": model, "envs": envs, "observations": envs.reset(), "resets": torch.tensor([False])}
    rollout, last, resets = collect_rollout(**start, steps=5, generator=rng(3))
    steps = [(0, 0, 0), (0, 0, 1), (0, 0, 2), (0, 1, 0), (0, 1, 1), (0, 1, 2)]
    expect_equal(rollout.observations[:, 0], steps[:5], "what the policy saw; (0, 0, 2) is the last of its episode")
    expect_equal(rollout.rewards[:, 0], [1.0, 2, 0, 4, 4], "the reward of each step")
    flags = [part[:, 0].int() for part in (rollout.terminated, rollout.truncated, rollout.valid)]
    expect_equal(
        flags, [[0, 1, 0, 0, 0], [0, 0, 0, 0, 0], [1, 1, 0, 1, 1]], "ends, and the step that resets: not valid"
    )
    values = [-0.4 * feature(step) for step in steps]
    expect_close(rollout.values[:, 0], values[:5], "the value of what was seen")
    expect_close(rollout.next_values[:, 0], values[1:], "of what the step returned: also the last one of an episode")
    expect_equal(last, [list(steps[5])], "the observation from which the next rollout goes on")
    expect_equal(resets.int(), [0], "its next step does not reset")


def test_rollouts_go_on_without_a_gap():
    whole, parts, model, generators, start = scripted(), scripted(), Line(), (rng(2), rng(2)), NONE.clone()
    expected, *_ = collect_rollout(model, whole, whole.reset(), start, steps=11, generator=generators[0])
    observations, resets, got = parts.reset(), start, []
    for steps in (1, 2, 3, 5):  # in the last step two episodes end
        now = (observations, resets)
        rollout, observations, resets = collect_rollout(model, parts, *now, steps=steps, generator=generators[1])
        got.append(rollout)
    for field, *pieces in zip(expected._fields, *got, strict=True):
        expect_close(torch.cat(pieces), getattr(expected, field), f"four rollouts are one long one: {field}")
    assert parts.resets == 1, "an episode goes on in the next rollout: no reset between them"
    assert not start.any(), "the caller's `resets` stays as it was"


def test_actions_are_drawn_from_the_policy():
    class Three(torch.nn.Module):
        def forward(self, observations):
            logits = torch.tensor([0.2, 0.5, 0.3], dtype=F64).log().expand(len(observations), 3)
            return PolicyAndValue(logits + 1000, observations[:, 0])

    envs = Scripted(*[[([0.0] * 1000, TERMINATED)]] * 9, num_actions=3, dtype=F64)
    rollout, *_ = collect_rollout(Three(), envs, envs.reset(), NONE.repeat(3), steps=1000, generator=rng(1))
    shares = torch.stack([(rollout.actions == action).double().mean() for action in range(3)])
    # of 9,000 draws a share has a standard deviation of at most 0.0053: six of them, one generator in 150 million
    assert (shares - torch.tensor([0.2, 0.5, 0.3])).abs().max() < 0.032, f"softmax(logits): {shares.tolist()}"
    expected = torch.tensor([0.2, 0.5, 0.3], dtype=F64).log()[rollout.actions]
    expect_close(rollout.log_probs, expected, "the log-probability of the action that was taken")
    expect_equal(torch.stack(envs.actions), rollout.actions, "and the environments were given these actions")
    assert rollout.actions.T.unique(dim=0).shape[0] == 9, "every environment has draws of its own"
    assert not any(part.requires_grad for part in rollout), "a rollout is data: no gradient is recorded"


# --- the definition of an update --------------------------------------------------------------------------------------


def policy(slope, x):
    """(log-probability, its slope) of both actions."""
    p = 1 / (1 + math.exp(-slope * x))
    return [(math.log(1 - p), -x * p), (math.log(p), x * (1 - p))]


def rows_of(seen, slope, height, gamma, gae_lambda, normalise):
    """By observation: x, action, old log-probability, old value, advantage, return, of every valid step."""
    rows = {}
    for steps in zip(*seen, strict=True):  # one environment
        ahead = 0.0
        for step in reversed(steps):
            x, ends = feature(step.observation), step.terminated or step.truncated
            following = 0 if step.terminated else gamma * height * feature(step.next_observation)
            ahead = step.reward + following - height * x + (0 if ends else gamma * gae_lambda * ahead)
            old = policy(slope, x)[step.action][0]
            if step.valid:
                rows[step.observation] = [x, step.action, old, height * x, ahead, ahead + height * x]
    if not normalise or not rows:
        return rows
    mean = sum(row[4] for row in rows.values()) / len(rows)
    std = (sum((row[4] - mean) ** 2 for row in rows.values()) / len(rows)) ** 0.5
    for row in rows.values():
        row[4] = (row[4] - mean) / (std + 1e-8)
    return rows


def losses(rows, slope, height, clip_range, value_clip_range):
    """Means over a minibatch: (policy loss, value loss, entropy, KL), and their slopes."""
    numbers, slopes = [0.0] * 4, [0.0] * 3
    for x, action, old, old_value, advantage, wanted in rows:
        (log_prob, rise), both = policy(slope, x)[action], policy(slope, x)
        ratio, value = math.exp(log_prob - old), height * x
        cut = min(max(ratio, 1 - clip_range), 1 + clip_range)
        moved = old_value + min(max(value - old_value, -value_clip_range), value_clip_range)
        numbers[0] -= min(ratio * advantage, cut * advantage) / len(rows)
        slopes[0] -= (ratio * advantage * rise if ratio * advantage <= cut * advantage else 0) / len(rows)
        numbers[1] += max((value - wanted) ** 2, (moved - wanted) ** 2) / 2 / len(rows)
        slopes[1] += ((value - wanted) * x if abs(value - wanted) >= abs(moved - wanted) - 1e-12 else 0) / len(rows)
        numbers[2] -= sum(math.exp(one) * one for one, _ in both) / len(rows)
        slopes[2] -= sum(math.exp(one) * change * one for one, change in both) / len(rows)
        numbers[3] += (ratio - 1 - math.log(ratio)) / len(rows)
    return numbers, slopes


def follow(seen, learned, *, slope=0.7, height=-0.4, rollout_steps=6, epochs=4, minibatch_size=5, gamma=0.99,
           gae_lambda=0.95, clip_range=0.2, value_clip_range=math.inf, value_coefficient=0.5, entropy_coefficient=0.0,
           max_grad_norm=0.5, normalise=True, lr=0.1):  # fmt: skip
    """After every update: (the reported means, slope, height), from what was seen and learned."""
    learned = iter(learned)
    for start in range(0, len(seen), rollout_steps):
        rows = rows_of(seen[start : start + rollout_steps], slope, height, gamma, gae_lambda, normalise)
        told = []
        for _ in range(epochs * math.ceil(len(rows) / minibatch_size)):
            shown = next(learned)
            assert set(shown) <= set(rows), f"learned from {set(shown) - set(rows)}: no valid steps of this rollout"
            batch = [rows[observation] for observation in shown]
            numbers, (pulls, errors, spreads) = losses(batch, slope, height, clip_range, value_clip_range)
            change = (pulls - entropy_coefficient * spreads, value_coefficient * errors)
            scale = lr * min(1, max_grad_norm / math.hypot(*change))
            slope, height = slope - scale * change[0], height - scale * change[1]
            told.append(numbers)
        yield [sum(column) / len(told) for column in zip(*told, strict=True)] or [math.nan] * 4, slope, height


# --- training ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [
    {}, {"epochs": 1, "max_grad_norm": 1e9}, {"lr": 2.0, "clip_range": 0.05}, {"minibatch_size": 100},
    {"gamma": 0.5, "gae_lambda": 0.3, "lr": 0.5}, {"entropy_coefficient": 3.0}, {"value_coefficient": 20.0},
    {"value_clip_range": 0.3, "lr": 1.0, "max_grad_norm": 5.0, "value_coefficient": 2.0},
    {"rollout_steps": 1}, {"normalise": False},
], ids=lambda options: " ".join(options) or "defaults")  # fmt: skip
def test_every_update_agrees_with_the_definition(options):
    model, told = Line(), []
    _, envs, _ = trained(4, model=model, **options, on_update=lambda report: told.append(
        (report, float(model.slope), float(model.height))))  # fmt: skip
    expected = list(follow(envs.seen, model.learned, **options))
    assert len(told) == 4 == len(expected), f"updates=4: one report after each, not {len(told)}"
    for update, ((report, *after), (numbers, *weights)) in enumerate(zip(told, expected, strict=True)):
        expect_close(report, [update, *numbers], f"update {update}: the means over its minibatches", **CLIP)
        expect_close(after, weights, f"slope and height after update {update}", **CLIP)
    assert [type(number) for number in told[0][0]] == [int] + [float] * 4, f"Python numbers: {told[0][0]}"


def test_minibatches_hold_every_valid_step_once():
    model, envs = Line(), scripted()
    train_ppo(model, envs, torch.optim.SGD(model.parameters(), lr=0.1), updates=1, generator=rng(1))
    assert len(envs.seen) == 128 and len(model.learned[0]) == 256, "by default 128 steps, in minibatches of 256"
    valid = sorted(step.observation for steps in envs.seen for step in steps if step.valid)
    resets = {step.observation for steps in envs.seen for step in steps if not step.valid}
    assert resets and not resets & set(sum(model.learned, [])), "the step that resets is never learned from"
    epochs = [model.learned[n] + model.learned[n + 1] for n in range(0, 8, 2)]  # four of two minibatches
    for n, learned in enumerate(epochs):
        assert sorted(learned) == valid, f"epoch {n}: every valid step once"
    assert len(model.learned) == 8 and epochs[0] != epochs[1], "4 epochs, each in a new order"


def test_a_rollout_has_one_valid_step_or_none():
    envs, model = Scripted([([1.0, -2.0], TERMINATED), ([4.0], TRUNCATED)], dtype=F64, reset_reward=1e6), Line()
    _, _, reports = trained(6, envs=envs, model=model, rollout_steps=1)
    expected = [numbers for numbers, *_ in follow(envs.seen, model.learned, rollout_steps=1)]
    expect_close([report[1:] for report in reports], expected, "one advantage is normalised to 0", **CLIP)


def test_episodes_go_on_from_update_to_update():
    _, envs, _ = trained(5)
    assert envs.resets == 1, f"reset() once, at the start: {envs.resets} times"
    ends = [step.observation for steps in envs.seen for step in steps if step.terminated or step.truncated]
    assert (2.0, 0.0, 6.0) in ends, "an episode of seven steps ends, although a rollout has six"


def test_the_callback_comes_last_and_may_change_rates():
    callback_comes_last_and_may_change_rates(trained)


def test_old_gradients_are_cleared():
    model = Line()
    model.slope.grad = torch.tensor(1e6, dtype=F64)
    _, envs, _ = trained(1, model=model, epochs=1, minibatch_size=100)
    ((_, slope, _),) = follow(envs.seen, model.learned, epochs=1, minibatch_size=100)
    expect_close(float(model.slope), slope, "a gradient left over from before counts nowhere", **CLIP)


def test_it_goes_on_from_a_first_update():
    goes_on_from_a_first_update(trained)


def test_the_generator_alone_decides_and_goes_on():
    first, again = rng(5), rng(5)
    runs = [trained(2, generator=generator)[0] for generator in (first, again, again)]
    places = [(model.learned, float(model.slope)) for model in runs]
    assert places[0] == places[1], "the same state of the generator gives the same run"
    assert places[1] != places[2], "a second run on one generator draws other actions and minibatches"


@pytest.mark.parametrize("what, bad", [("values", math.nan), ("values", math.inf), ("rewards", 1e200)])
def test_a_loss_that_is_not_finite_changes_nothing(what, bad):
    a_loss_that_is_not_finite_changes_nothing(trained, scripted(), what, bad)


# --- the light twin of the full check: probes with exact values -------------------------------------------------------


@pytest.mark.parametrize("name", PROBES)
def test_probes_are_learned_exactly(name):
    rules, gamma = PROBES[name], 0.8
    torch.manual_seed(0)
    model, envs = ActorCritic(1, 2, hidden=(16,)), Probe(rules, 32, generator=rng(1))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.03)
    train_ppo(model, envs, optimizer, updates=20, generator=rng(2), rollout_steps=5, gamma=gamma)
    # after 15 updates, over 8 seeds: values off by at most 0.06, the best action with a probability of 0.999
    expect_learned(model, rules, gamma)


# --- refusals and standing laws ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name, call", [
    ("envs", lambda: trained(1, envs=SimpleNamespace(num_actions=None))), ("gamma", lambda: trained(1, gamma=1.5)),
    ("steps", lambda: collect_rollout(Line(), (envs := scripted()), envs.reset(), NONE, steps=0, generator=rng())),
    ("clip_range", lambda: trained(1, clip_range=0)), ("minibatch_size", lambda: trained(1, minibatch_size=0)),
])  # fmt: skip
def test_what_is_out_of_range_is_refused(name, call):
    expect_refused(name, call)


@pytest.mark.parametrize("law", [device_is_followed, global_rng_is_untouched])
def test_standing_laws(law):
    with torch.device("cpu"):
        model = Line()

    law(lambda: trained(2, model=model, lr=0.0)[0].slope.detach())
