"""What the specs of loops look at: environments that follow a script and models that keep what they are shown."""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from katas.rl.given.environments import EnvStep
from katas.rl.given.networks import PolicyAndValue

TERMINATED, TRUNCATED = "terminated", "truncated"


class Seen(NamedTuple):
    """One step of one environment, in Python numbers."""

    observation: tuple[float, ...]
    action: int | list[float]  # real numbers if the environments have an action_size
    reward: float
    terminated: bool
    truncated: bool
    next_observation: tuple[float, ...]
    valid: bool  # False: the step that resets


class Scripted:
    """Environments in which everything is written down before; they reset on the next step.

    `script[e]` are the episodes of environment e: (rewards, how it ends). After the last one they begin again. The
    observation of environment e, episode k, step t is (e, k, t), and after the last step t is the number of rewards.
    The reward of the step that resets is 0, or `reset_reward`: nobody should look at it. Whoever makes more than
    `max_steps` steps has missed an end.
    """

    observation_size = 3

    def __init__(
        self, *script, num_actions: int | None = 2, action_size: int | None = None, action_limit: float | None = None,
        dtype=torch.float32, reset_reward: float = 0.0, shape: tuple[int, ...] = (3,),
    ):  # fmt: skip
        self.script, self.num_envs = script, len(script)
        self.num_actions, self.action_size, self.action_limit = num_actions, action_size, action_limit
        self.dtype, self.reset_reward, self.shape = dtype, reset_reward, shape
        self.resets, self.actions, self.max_steps = 0, [], 2000
        self.seen: list[list[Seen]] = []  # all steps so far, each with one `Seen` for every environment

    def reset(self) -> Tensor:
        self.resets += 1
        self.places = [(0, 0)] * self.num_envs  # (episode, step)
        return self._observations()

    def step(self, actions: Tensor) -> EnvStep:
        assert len(self.actions) < self.max_steps, f"{self.max_steps} steps, and no end: which flags end an episode?"
        self.actions.append(actions.clone())
        rewards, endings, before = [], [], self.places[:]
        for e, (k, t) in enumerate(before):
            planned, ending = self.script[e][k % len(self.script[e])]
            over = self._over(e, k, t)  # the step that resets
            rewards.append(self.reset_reward if over else planned[t])
            self.places[e] = (k + 1, 0) if over else (k, t + 1)
            endings.append(ending if not over and t + 1 == len(planned) else "")
        self._remember(before, actions.tolist(), rewards, endings)
        flags = (torch.tensor([word in ending for ending in endings], device="cpu") for word in (TERMINATED, TRUNCATED))
        return EnvStep(self._observations(), torch.tensor(rewards, dtype=self.dtype, device="cpu"), *flags)

    def _observations(self) -> Tensor:
        places = [[e, k, t] for e, (k, t) in enumerate(self.places)]
        return torch.tensor(places, dtype=self.dtype, device="cpu").reshape(-1, *self.shape)

    def _remember(self, before, actions, rewards, endings) -> None:
        ends = [(TERMINATED in ending, TRUNCATED in ending) for ending in endings]
        resets = [self._over(e, *place) for e, place in enumerate(before)]
        columns = zip(before, actions, rewards, ends, self.places, resets, strict=True)
        self.seen.append([
            Seen((e, *place), action, reward, *flags, (e, *after), not over)
            for e, (place, action, reward, flags, after, over) in enumerate(columns)
        ])  # fmt: skip

    def _over(self, e: int, k: int, t: int) -> bool:
        return t == len(self.script[e][k % len(self.script[e])][0])


FEATURES = (0.4, 0.3, -0.2)


class Line(nn.Module):
    """Two parameters: the logits are 0 and slope · x, the value is height · x, for x = 0.5 + observation · FEATURES.

    It keeps the observations that it is shown while gradients are recorded.
    """

    def __init__(self, slope: float = 0.7, height: float = -0.4):
        super().__init__()
        self.slope = nn.Parameter(torch.tensor(slope, dtype=torch.float64))
        self.height = nn.Parameter(torch.tensor(height, dtype=torch.float64))
        self.learned: list[list[tuple[float, ...]]] = []

    def forward(self, observations: Tensor) -> PolicyAndValue:
        observations = observations.flatten(1)
        if torch.is_grad_enabled():
            self.learned.append([tuple(row) for row in observations.tolist()])
        x = 0.5 + observations @ observations.new_tensor(FEATURES)
        return PolicyAndValue(torch.stack([0 * x, self.slope * x], dim=-1), self.height * x)


def feature(observation: tuple[float, ...]) -> float:
    """x of a `Line`, on Python floats."""
    return 0.5 + sum(one * other for one, other in zip(observation, FEATURES, strict=True))


class SquashedLine(nn.Module):
    """A policy of two actions and two parameters: mean = slope · x · (1, -1/2), log_std = spread, x of `wave`."""

    def __init__(self, weights: list[float]):
        super().__init__()
        self.weights = nn.Parameter(torch.tensor(weights, dtype=torch.float64))

    def forward(self, observations: Tensor) -> tuple[Tensor, Tensor]:
        mean = self.weights[0] * _wave(observations)[:, None] * observations.new_tensor([1, -0.5])
        return mean, self.weights[1].expand_as(mean)

    @staticmethod
    def means(policy: list[float], x: float) -> tuple[float, float]:
        """On Python floats, like the two below."""
        return policy[0] * x, -0.5 * policy[0] * x

    @staticmethod
    def draw(policy: list[float], x: float, noise: list[float]) -> tuple[list[float], float]:
        """tanh(mean + std · noise), and its log-probability."""
        std = math.exp(policy[1])
        action = [math.tanh(m + std * n) for m, n in zip(SquashedLine.means(policy, x), noise, strict=True)]
        normal = sum(-n * n / 2 - policy[1] - math.log(2 * math.pi) / 2 for n in noise)
        return action, normal - sum(math.log(1 - a * a) for a in action)

    @staticmethod
    def noise_of(policy: list[float], x: float, action: tuple[float, ...]) -> list[float]:
        """The noise from which this action was drawn."""
        std = math.exp(policy[1])
        return [(math.atanh(a) - m) / std for a, m in zip(action, SquashedLine.means(policy, x), strict=True)]


class TwinLines(nn.Module):
    """q1 = w0 · x + w1 · d and q2 = w2 · x + w3 · d, where d = first - 2 · second action, x of `wave`.

    `shown` are the observations and actions that it judged, a list for each call. To its q1 `broken()` is added.
    """

    def __init__(self, weights: list[float]):
        super().__init__()
        self.weights = nn.Parameter(torch.tensor(weights, dtype=torch.float64))
        self.broken, self.shown = lambda: 0, []

    def forward(self, observations: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        self.shown.append([(tuple(o), tuple(a)) for o, a in zip(observations.tolist(), actions.tolist(), strict=True)])
        x, d = _wave(observations), actions @ actions.new_tensor([1, -2])
        q1, q2 = (self.weights[i] * x + self.weights[i + 1] * d for i in (0, 2))
        return q1 + self.broken(), q2

    @staticmethod
    def values(critics: list[float], x: float, action: tuple[float, ...]) -> tuple[float, float]:
        """q1 and q2 on Python floats."""
        d = action[0] - 2 * action[1]
        return critics[0] * x + critics[1] * d, critics[2] * x + critics[3] * d


def _wave(observations: Tensor) -> Tensor:
    return (observations @ observations.new_tensor(FEATURES)).cos()


def wave(observation: tuple[float, ...]) -> float:
    """cos(observation · FEATURES), on Python floats: never large, however long an episode is."""
    return math.cos(sum(one * other for one, other in zip(observation, FEATURES, strict=True)))
