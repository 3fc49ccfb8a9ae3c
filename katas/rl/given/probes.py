"""Probe environments: each asks one thing of a learner, and its values are known exactly.

An observation is one number. `context` is -1 or 1, drawn for every episode. Exact values are those of the best policy.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from katas.rl.given.environments import EnvStep


@dataclass(frozen=True)
class Rules:
    observe: Callable[[Tensor, Tensor], Tensor]  # (context, step of the episode)
    reward: Callable[[Tensor, Tensor, Tensor], Tensor]  # (context, step, action)
    value: Callable[[float, float], float]  # (observation, gamma), under the best policy
    observations: tuple[float, ...]  # those that are acted on
    best_action: Callable[[float], int] | None = None  # None: actions do not matter
    length: int = 1
    truncates: bool = False


PROBES = {
    "constant reward": Rules(
        lambda context, t: 0 * context, lambda context, t, action: 0 * context + 1, lambda x, gamma: 1.0, (0.0,)
    ),
    "the observation tells the reward": Rules(
        lambda context, t: context, lambda context, t, action: context, lambda x, gamma: x, (-1.0, 1.0)
    ),
    "the reward comes a step later": Rules(
        lambda context, t: t.to(context), lambda context, t, action: t.to(context),
        lambda x, gamma: 1.0 if x else gamma, (0.0, 1.0), length=2,
    ),
    "the action matters": Rules(
        lambda context, t: 0 * context, lambda context, t, action: 2.0 * action - 1, lambda x, gamma: 1.0, (0.0,),
        best_action=lambda x: 1,
    ),
    "the right action depends on the observation": Rules(
        lambda context, t: context, lambda context, t, action: context * (2.0 * action - 1), lambda x, gamma: 1.0,
        (-1.0, 1.0), best_action=lambda x: int(x > 0),
    ),
    "stopped by a time limit": Rules(
        lambda context, t: 0 * context, lambda context, t, action: 0 * context + 1, lambda x, gamma: 1 / (1 - gamma),
        (0.0,), length=4, truncates=True,
    ),
}  # fmt: skip


class Probe:
    """One of `PROBES` as an environment with two actions."""

    num_actions, action_size, action_limit, observation_size = 2, None, None, 1

    def __init__(self, rules: Rules, num_envs: int, *, generator: torch.Generator):
        self.rules, self.num_envs, self.generator = rules, num_envs, generator

    def reset(self) -> Tensor:
        self.t = torch.zeros(self.num_envs, dtype=torch.int64, device=self.generator.device)
        self.context = self._drawn()
        self.over = torch.zeros(self.num_envs, dtype=torch.bool, device=self.generator.device)
        return self._observations()

    def step(self, actions: Tensor) -> EnvStep:
        rewards = self.rules.reward(self.context, self.t, actions).float().masked_fill(self.over, 0)
        self.context = torch.where(self.over, self._drawn(), self.context)
        self.t = torch.where(self.over, 0, self.t + 1)
        self.over = self.t == self.rules.length
        never = torch.zeros_like(self.over)
        flags = (never, self.over) if self.rules.truncates else (self.over, never)
        return EnvStep(self._observations(), rewards, *flags)

    def _drawn(self) -> Tensor:
        device = self.generator.device
        return 2.0 * torch.randint(2, (self.num_envs,), generator=self.generator, device=device) - 1

    def _observations(self) -> Tensor:
        return self.rules.observe(self.context, self.t)[:, None]
