"""Two tasks with real actions, each made to show one thing: a prize far away, and rewards that are pure noise."""

import torch
from torch import Tensor

from katas.rl.given.environments import EnvStep

STRIDE, PRIZE, EFFORT, LIMIT = 0.25, 10.0, 0.1, 20


class Walk:
    """A step of size a costs 0.1 · a². An episode ends with a prize of 10 at a distance of four full steps.

    After 20 steps it is truncated. Standing still earns 0, walking straight there 9.6.
    """

    num_actions, action_size, action_limit, observation_size = None, 1, 1.0, 1

    def __init__(self, num_envs: int, *, device: torch.device | str):
        self.num_envs, self.device = num_envs, device

    def reset(self) -> Tensor:
        self.x, self.t = torch.zeros(2, self.num_envs, device=self.device)
        self.over = torch.zeros(self.num_envs, dtype=torch.bool, device=self.device)
        return self.x[:, None]

    def step(self, actions: Tensor) -> EnvStep:
        began = self.over
        self.x = (self.x + STRIDE * actions[:, 0]).masked_fill(began, 0)
        self.t = (self.t + 1).masked_fill(began, 0)
        arrived = self.x.abs() >= 1
        rewards = (PRIZE * arrived - EFFORT * actions[:, 0].square()).masked_fill(began, 0)
        late = (self.t >= LIMIT) & ~arrived
        self.over = arrived | late
        return EnvStep(self.x[:, None], rewards, arrived, late)


class Lottery:
    """Every reward is noise of mean 0, whatever is done: no action is worth anything. It never ends."""

    num_actions, action_size, action_limit, observation_size = None, 2, 1.0, 2

    def __init__(self, num_envs: int, *, generator: torch.Generator):
        self.num_envs, self.generator = num_envs, generator

    def reset(self) -> Tensor:
        return self._normal(self.observation_size)

    def step(self, actions: Tensor) -> EnvStep:
        never = torch.zeros(self.num_envs, dtype=torch.bool, device=actions.device)
        drawn = self._normal(1)[:, 0]
        return EnvStep(self._normal(self.observation_size), drawn - drawn.mean(), never, never)

    def _normal(self, size: int) -> Tensor:
        return torch.randn(self.num_envs, size, generator=self.generator, device=self.generator.device)
