"""sac_training: what is acted, stored and learned from, step by step.

Environments follow a script, policy and critics have two and four parameters. Draws are read off the actions that the
critics were shown, so every update is followed in Python numbers. Out of scope: networks, the order of the draws.
"""

import copy
import math
import re

import pytest
import torch

from katas.lab.expect import expect_close, expect_equal, expect_fresh_noise, expect_refused
from katas.lab.laws import device_is_followed, global_rng_is_untouched
from katas.lab.strategies import rng
from katas.rl.given.networks import GaussianActor
from katas.rl.given.probes import Aim, AimCritics
from katas.rl.given.watched import TERMINATED, TRUNCATED, Scripted, SquashedLine, TwinLines, wave
from katas.rl.replay_buffer import ReplayBuffer
from katas.rl.sac_training import train_sac

F64 = torch.float64
means, draw, noise_of, values = SquashedLine.means, SquashedLine.draw, SquashedLine.noise_of, TwinLines.values
SCRIPT = (
    [([1.0, -2.0], TERMINATED), ([4.0, 0.5, 1.0, -3.0, 2.0], TRUNCATED)],
    [([8.0, -1.0, 0.0], TRUNCATED), ([3.0], TERMINATED)],
    [([0.5] * 7, f"{TERMINATED} {TRUNCATED}"), ([-6.0], TRUNCATED)],
)
NAMES = ("the policy", "the critics", "the target critics", "log_temperature")
START = ([0.7, -0.4], [0.6, 0.9, 0.2, 1.4], [-0.5, 1.1, 0.3, -0.8], [-0.2])
RATES = (0.03, 0.02, 0.2)  # of policy, critics and temperature
ROUGH = {"rtol": 0, "atol": 0.05}  # for the probe, whose values lie between -10.2 and 0


def scripted(*script, limit=2.0):
    real = {"num_actions": None, "action_size": 2, "action_limit": limit}
    return Scripted(*script or SCRIPT, dtype=F64, reset_reward=1e6, **real)


class Agent:
    """The first arguments of `train_sac`, and the optimizers. Gradients are left over from before."""

    def __init__(self, envs=None, *, fixed=False, rates=RATES, momentum=0.0):
        policy, critics, targets, (log_temperature,) = START
        self.actor, self.critics, self.target_critics = SquashedLine(policy), TwinLines(critics), TwinLines(targets)
        self.log_temperature = torch.tensor(log_temperature, dtype=F64, requires_grad=not fixed)
        held = {"actor": self.actor.weights, "critic": self.critics.weights, "temperature": self.log_temperature}
        for (name, weights), lr in zip(held.items(), rates, strict=True):
            weights.grad = torch.full_like(weights, 1e3)
            setattr(self, f"{name}_optimizer", torch.optim.SGD([weights], lr, momentum))
        self.temperature_optimizer = None if fixed else self.temperature_optimizer
        self.buffer = ReplayBuffer(9000, (3,), action_shape=(2,), action_dtype=F64, observation_dtype=F64)
        self.buffer.memory = self.buffer.memory._replace(rewards=torch.zeros(9000, dtype=F64))
        self.envs = envs or scripted()

    def weights(self):
        parts = self.actor.weights, self.critics.weights, self.target_critics.weights, self.log_temperature
        return tuple(part.detach().flatten().tolist() for part in parts)

    def train(self, steps, **options):
        """Runs `train_sac`: of every step the report and the weights. An option of None is left out."""
        told = []
        given = dict(generator=rng(1), random_steps=4, batch_size=5) | options
        given.setdefault("on_step", lambda report: told.append((report, self.weights())))
        train_sac(**vars(self) | {name: part for name, part in given.items() if part is not None}, steps=steps)
        return told


# --- acting and storing -----------------------------------------------------------------------------------------------


def test_the_buffer_by_hand():
    agent = Agent(scripted([([1.0, 2.0], TERMINATED), ([4.0, 8.0, 16.0], TRUNCATED)], [([3.0] * 9, TERMINATED)]))
    agent.train(8, random_steps=3)
    assert len(agent.buffer) == 14, f"two steps of sixteen reset, and are not stored: {len(agent.buffer)} stored"
    rows = [part[:14][agent.buffer.memory.observations[:14, 0] == 0].double() for part in agent.buffer.memory]
    observations, actions, rewards, next_observations, terminated = rows  # of the first environment
    before = [(0, 0, 0), (0, 0, 1), (0, 1, 0), (0, 1, 1), (0, 1, 2), (0, 2, 0)]
    expect_equal(observations, before, "what was acted on, without the steps that reset")
    after = [(e, k, t + 1) for e, k, t in before]
    expect_equal(next_observations, after, "what the step returned, also the last observation of an episode")
    expect_equal(rewards, [1.0, 2, 4, 8, 16, 1], "the reward of each step")
    expect_equal(terminated, [0.0, 1, 0, 0, 0, 0], "a time limit (16) is no termination")
    played = [row[0].action for row in agent.envs.seen if row[0].valid]
    expect_equal(2 * actions, played, "actions in [-1, 1]; the environments got them times action_limit")


@pytest.mark.parametrize("first_step, random_steps", [(0, 150), (850, None)])
def test_actions_are_uniform_then_of_the_policy(first_step, random_steps):
    agent = Agent(scripted(*[[([0.0] * 120, TRUNCATED)]] * 7, limit=0.25))
    agent.train(first_step + 300, first_step=first_step, random_steps=random_steps, batch_size=9000)
    actions = agent.envs.actions
    assert (len(actions), agent.envs.resets) == (300, 1), "300 steps, and no reset() but the first"
    assert {(a.dtype, a.requires_grad) for a in actions} == {(F64, False)}, "the dtype of observations, no gradient"
    normal = 2**0.5 * torch.erfinv(4 * torch.stack(actions[:150]))  # of uniform numbers in [-1, 1]
    expect_fresh_noise(normal, "uniform in [-1, 1] before step random_steps (1000 if not said), each drawn anew")
    seen = [[(wave(step.observation), [4 * a for a in step.action]) for step in row] for row in agent.envs.seen]
    noise = torch.tensor([[noise_of(START[0], *step) for step in row] for row in seen[150:]])
    expect_fresh_noise(noise, "then tanh(mean + std · noise), each noise drawn anew")


@pytest.mark.parametrize("first_step, random_steps", [(0, 4), (996, None)])
def test_the_policy_of_now_acts(first_step, random_steps):
    agent = Agent()
    sharpen = agent.actor.weights.data.copy_  # mean = last digit of the step / 10 · x, and no noise
    options = {"random_steps": random_steps, "on_step": lambda r: sharpen(torch.tensor([r.step % 10 / 10, -30]))}
    agent.train(first_step + 9, first_step=first_step, batch_size=9000, **options)
    for n, row in enumerate(agent.envs.seen[3:], first_step + 2):
        wanted = [[2 * math.tanh(mean) for mean in means([n % 10 / 10], wave(step.observation))] for step in row]
        if n == first_step + 2:
            assert row[0].action != pytest.approx(wanted[0]), "the last step before random_steps is uniform"
        else:
            expect_close([step.action for step in row], wanted, f"the weights after step {n} act in the next one")


# --- the definition of an update, and training ------------------------------------------------------------------------


def descended(loss, weights, lr):  # the slopes are central differences
    def at(i, change):
        return loss([w + change * (j == i) for j, w in enumerate(weights)])

    return [w - lr * (at(i, 1e-5) - at(i, -1e-5)) / 2e-5 for i, w in enumerate(weights)]


def updated(agent, rows, *, fixed=False, gamma=0.99, tau=0.005, target_entropy=-2):
    """One update: (the reported numbers, the weights after it). A row: (step, stored, next and new action)."""
    policy, critics, targets, (log_temperature,) = agent
    temperature, examples, draws = math.exp(log_temperature), [], []
    for step, stored, following, new in rows:
        x, next_x = wave(step.observation), wave(step.next_observation)
        _, log_prob = draw(policy, next_x, noise_of(policy, next_x, following))
        ahead = min(values(targets, next_x, following)) - temperature * log_prob
        examples.append((x, stored, step.reward + (0 if step.terminated else gamma * ahead)))
        draws.append((x, noise_of(policy, x, new)))

    def critic_loss(critics):
        return sum((q - wanted) ** 2 for x, action, wanted in examples for q in values(critics, x, action)) / len(rows)

    def actor_loss(policy):
        drawn = [(x, *draw(policy, x, noise)) for x, noise in draws]
        return sum(temperature * logp - min(values(moved, x, action)) for x, action, logp in drawn) / len(rows)

    moved = descended(critic_loss, critics, RATES[1])
    entropy = -sum(draw(policy, x, noise)[1] for x, noise in draws) / len(rows)
    numbers = critic_loss(critics), actor_loss(policy), temperature, entropy
    log_temperature -= 0 if fixed else RATES[2] * temperature * (entropy - target_entropy)
    targets = [(1 - tau) * slow + tau * fast for slow, fast in zip(targets, moved, strict=True)]
    return numbers, (descended(actor_loss, policy, RATES[0]), moved, targets, [log_temperature])


def follow(agent, weights=START, before=0, *, batch_size=5, updates_per_step=1, **options):
    """After every step, from what was seen and shown: (the reported means, the weights). `before`: steps before it."""
    seen, limit = agent.envs.seen, agent.envs.action_limit
    stored = {(s.observation, tuple(a / limit for a in s.action)): s for row in seen for s in row if s.valid}
    judged, guessed = iter(agent.critics.shown), iter(agent.target_critics.shown)
    for now in range(before, len(seen)):
        count, told = sum(step.valid for row in seen[: now + 1] for step in row), []
        for _ in range(updates_per_step if count >= batch_size else 0):
            batch, new, following = next(judged, []), next(judged, []), next(guessed, [])
            sizes = [len(batch), len(new), len(following)]
            assert sizes == [batch_size] * 3, f"{count} are stored: critics, again, and targets judge a batch, {sizes}"
            lost = [row for row in batch if row not in stored]
            assert not lost, f"critics learn from what was stored, not from (observation, action) {lost[:1]}"
            assert [row[0] for row in new] == [row[0] for row in batch], "the actor learns from the same observations"
            ahead = [stored[row].next_observation for row in batch]
            assert [row[0] for row in following] == ahead, "target critics judge the true next observations"
            rows = [
                (stored[row], row[1], then[1], fresh[1]) for row, then, fresh in zip(batch, following, new, strict=True)
            ]
            numbers, weights = updated(weights, rows, **options)
            told.append(numbers)
        yield [sum(column) / len(told) for column in zip(*told, strict=True)] if told else [math.nan] * 4, weights


def expect_followed(told, expected):
    for (report, weights), (numbers, wanted) in zip(told, expected, strict=True):
        expect_close(report[1:], numbers, f"step {report.step}: means over its updates, NaN if there was none")
        for name, got, right in zip(NAMES, weights, wanted, strict=True):
            expect_close(got, right, f"step {report.step}: {name} after it")


@pytest.mark.parametrize("options", [
    {}, {"updates_per_step": 3}, {"batch_size": 1}, {"batch_size": 30, "random_steps": 0}, {"gamma": 0.5},
    {"gamma": 0.0, "tau": 1.0}, {"gamma": 1, "tau": 0.3}, {"target_entropy": 1.5}, {"target_entropy": 0.0},
    {"fixed": True, "updates_per_step": 2},
], ids=lambda options: " ".join(options) or "defaults")  # fmt: skip
def test_every_step_agrees_with_the_definition(options):
    agent = Agent(fixed="fixed" in options)
    told = agent.train(14, **{name: option for name, option in options.items() if name != "fixed"})
    expected = follow(agent, **{name: option for name, option in options.items() if name != "random_steps"})
    expect_followed(told, list(expected))
    assert [type(number) for number in told[0][0]] == [int] + [float] * 4, f"Python numbers: {told[0][0]}"


def test_all_options_may_be_left_out():
    agent = Agent(scripted(*SCRIPT * 30))  # 90 environments
    told = agent.train(6, batch_size=None, random_steps=None)
    assert not math.isnan(told[-1][0].actor_loss), "it learns once 256 transitions are stored"
    expect_followed(told, list(follow(agent, batch_size=256)))


def test_every_update_draws_anew():
    agent = Agent(scripted(*[[([0.0] * 9, TRUNCATED)]] * 20), rates=(0.0, 0.0, 0.0))
    agent.train(30, updates_per_step=2, batch_size=40)
    batches, *shown = agent.critics.shown[::2], agent.target_critics.shown, agent.critics.shown[1::2]
    assert all(one != other for one, other in zip(batches, batches[1:], strict=False)), "each update: a new batch"
    noise = [[[noise_of(START[0], wave(o), a) for o, a in rows] for rows in part] for part in shown]
    expect_fresh_noise(torch.tensor(noise), "next and new actions: drawn for each transition and update")


def test_it_goes_on_from_a_first_step():
    agent = Agent()
    agent.train(6)
    ahead = agent.weights()
    agent.critics.shown.clear(), agent.target_critics.shown.clear()
    told = agent.train(11, first_step=6, generator=rng(2))
    assert [report.step for report, _ in told] == [6, 7, 8, 9, 10], "the steps first_step to steps - 1"
    expect_followed(told, list(follow(agent, ahead, 6)))  # it learns at once, and target critics are as they were
    assert agent.envs.resets == 2, f"a run begins with one reset(): {agent.envs.resets} in two runs"
    assert agent.train(2, first_step=2) == [], "nothing left to do"


def test_the_callback_comes_last_and_may_change_rates():
    agent, after = Agent(), []

    def stop(report):
        after.append(agent.weights()[:2])
        assert agent.critics.weights.requires_grad, "whoever freezes the critics for the actor's step thaws them again"
        for optimizer in (agent.actor_optimizer, agent.critic_optimizer):
            optimizer.param_groups[0]["lr"] = 0.0

    agent.train(4, batch_size=2, on_step=stop)
    assert START[:2] != after[0] == after[3], "it comes after the update, and its rate of 0 holds from then on"


def test_the_generator_alone_decides_and_goes_on():
    first, again = rng(5), rng(5)
    places = [str(Agent().train(8, generator=generator)) for generator in (first, again, again)]
    assert places[0] == places[1], "the same state of the generator gives the same run"
    assert places[1] != places[2], "a second run on one generator draws others"


@pytest.mark.parametrize("what, kept, bad", [("critics", 4, math.nan), ("actor", 1, math.nan), ("actor", 1, -math.inf)])
def test_a_loss_that_is_not_finite_moves_nothing(what, kept, bad):
    agent, before = Agent(momentum=0.9), []
    optimizers = [agent.critic_optimizer, agent.actor_optimizer, agent.temperature_optimizer][what == "actor" :]

    def look():
        return agent.weights()[:kept], [copy.deepcopy(optimizer.state_dict()["state"]) for optimizer in optimizers]

    def spoil(report):
        if report.step == 7:
            agent.critics.broken = lambda: bad if what == "critics" or len(agent.critics.shown) % 2 == 0 else 0
            before.append(look())

    with pytest.raises(FloatingPointError) as raised:
        agent.train(10, on_step=spoil)
    assert re.search(r"\b8\b", str(raised.value)), f"a value of step 8 is {bad}; the error says: {raised.value}"
    expect_equal(look(), before[0], f"the loss of the {what} is {bad}: weights and momentum as before step 8")


# --- the light twin of the full check: a probe with exact values ------------------------------------------------------


def test_a_probe_is_learned_exactly():
    torch.manual_seed(0)
    actor, critics = GaussianActor(1, 1, hidden=(16,)), AimCritics()
    buffer = ReplayBuffer(9000, (1,), action_shape=(1,), action_dtype=torch.float32)
    optimizers = {"critic_optimizer": torch.optim.Adam(critics.parameters(), lr=0.05), "temperature_optimizer": None}
    optimizers["actor_optimizer"] = torch.optim.Adam(actor.parameters(), lr=0.01)
    models = actor, critics, copy.deepcopy(critics), torch.tensor(0.01).log()
    train_sac(*models, Aim(16, generator=rng(1)), buffer, **optimizers, steps=400, generator=rng(2), batch_size=64)
    for context in (-1.0, 1.0):
        x, actions = torch.full((9, 1), context), torch.linspace(-1, 1, 9)[:, None]
        exact = -(2 * actions[:, 0] - 1.2 * context).square()
        expect_close(critics(x, actions), (exact, exact), f"values at {context}, from uniform actions", **ROUGH)
        expect_close(actor(x[:1])[0].tanh(), torch.tensor([[0.6 * context]]), f"the best action at {context}", **ROUGH)


# --- refusals and standing laws ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name, options", [
    ("envs", {"envs": Scripted(*SCRIPT, num_actions=2)}), ("gamma", {"gamma": 1.01}), ("gamma", {"gamma": -0.01}),
    ("tau", {"tau": 1.01}), ("tau", {"tau": -0.01}), ("updates_per_step", {"updates_per_step": 0}),
    ("batch_size", {"batch_size": 0}), ("batch_size", {"batch_size": 9001}),
])  # fmt: skip
def test_what_is_out_of_range_is_refused(name, options):
    agent = Agent()
    expect_refused(name, lambda: agent.train(1, **options))
    assert agent.envs.seen == [], "before anything is done"


@pytest.mark.parametrize("law", [device_is_followed, global_rng_is_untouched])
def test_standing_laws(law):
    with torch.device("cpu"):
        agent = Agent(scripted(SCRIPT[0]), rates=(0.0, 0.0, 0.0))  # a single environment
    law(lambda: agent.train(7, first_step=1, random_steps=3) and agent.actor.weights.detach())
