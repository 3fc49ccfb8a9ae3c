"""Probe environments: each asks one thing of a learner, and its values are known exactly.

An observation is one number. `context` is -1 or 1, drawn for every episode. Exact values are those of the best policy.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

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
        lambda context, t: context, lambda context, t, action: context, lambda x, gamma: x / (1 - gamma),
        (-1.0, 1.0), length=4, truncates=True,
    ),
}  # fmt: skip


def drawn_context(num_envs: int, generator: torch.Generator) -> Tensor:
    return 2.0 * torch.randint(2, (num_envs,), generator=generator, device=generator.device) - 1


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
        return drawn_context(self.num_envs, self.generator)

    def _observations(self) -> Tensor:
        return self.rules.observe(self.context, self.t)[:, None]


class Aim:
    """A probe with real actions, from -2 to 2: an episode is one step with the reward -(action - 1.2 * context)^2.

    What an action is worth does not depend on the policy. The best one is 1.2 * context.
    """

    num_actions, action_size, action_limit, observation_size = None, 1, 2.0, 1

    def __init__(self, num_envs: int, *, generator: torch.Generator):
        self.num_envs, self.generator = num_envs, generator

    def reset(self) -> Tensor:
        self.over = torch.zeros(self.num_envs, dtype=torch.bool, device=self.generator.device)
        self.context = self._drawn()
        return self.context[:, None]

    def step(self, actions: Tensor) -> EnvStep:
        rewards = -(actions[:, 0] - 1.2 * self.context).square().masked_fill(self.over, 0)
        self.context = torch.where(self.over, self._drawn(), self.context)
        self.over = ~self.over
        return EnvStep(self.context[:, None], rewards, self.over, torch.zeros_like(self.over))

    def _drawn(self) -> Tensor:
        return drawn_context(self.num_envs, self.generator)


class AimCritics(nn.Module):
    """Two critics, combinations of 1, x, a, x · a and a² for an action a in [-1, 1]. The truth is one of them."""

    def __init__(self):
        super().__init__()
        self.both = nn.Linear(5, 2)

    def forward(self, x: Tensor, a: Tensor) -> tuple[Tensor, Tensor]:
        return self.both(torch.cat([torch.ones_like(x), x, a, x * a, a * a], dim=1)).unbind(dim=1)
