"""MountainCar-v0 with a hint or without: the engine is too weak for the hill, and every step until the flag costs 1."""

import torch
from torch import Tensor

from katas.rl.given.environments import EnvStep, Wrapped
from katas.rl.reward_shaping import potential_shaping

MIDDLE, SCALE = (-0.3, 0.0), (0.9, 0.07)  # of position and velocity
GAMMA = 0.99


def energy(observations: Tensor) -> Tensor:
    """Of height and speed: -8 at rest in the valley, 10 and more at the flag."""
    position, velocity = observations.unbind(dim=-1)
    return 1e4 * (0.0025 / 3 * torch.sin(3 * position) + velocity.square() / 2)


def by_potential(rewards: Tensor, before: Tensor, after: Tensor, terminated: Tensor) -> Tensor:
    """The energy as a potential shows the way. The best policy stays the best."""
    return potential_shaping(rewards, energy(before), energy(after), terminated, gamma=GAMMA)


def by_bonus(rewards: Tensor, before: Tensor, after: Tensor, terminated: Tensor) -> Tensor:
    """A bonus between 0 and 3 for every step: the further right, the more."""
    return rewards + 3 * (after[:, 0] + 1.2) / 1.8


class MountainCar(Wrapped):
    """Environments of gymnasium with observations of size 1. A hint changes the rewards; None leaves the true ones."""

    name = "MountainCar-v0"

    def __init__(self, envs, hint=None):
        super().__init__(envs)
        self.hint = hint

    def reset(self) -> Tensor:
        self.before = self.envs.reset()
        return self._scaled(self.before)

    def step(self, actions: Tensor) -> EnvStep:
        step = self.envs.step(actions)
        rewards = step.rewards
        if self.hint is not None:
            rewards = self.hint(rewards, self.before, step.observations, step.terminated)
        self.before = step.observations
        return step._replace(observations=self._scaled(step.observations), rewards=rewards)

    def _scaled(self, observations: Tensor) -> Tensor:
        return (observations - observations.new_tensor(MIDDLE)) / observations.new_tensor(SCALE)
