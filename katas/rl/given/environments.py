"""Environments in tensors. All of them are used alike, and reset like gymnasium's vector environments.

`reset()` starts an episode in each of `num_envs` environments and returns the first observations. `step(actions)`
returns an `EnvStep`. The step that ends an episode returns its true last observation. The next step ignores the action
of that environment, and returns the first observation of a new episode with a reward of 0.

`num_actions` is None where actions are real numbers, `action_size` and `action_limit` are None where they are choices.
"""

from typing import NamedTuple

import gymnasium
import numpy as np
import torch
from torch import Tensor


class EnvStep(NamedTuple):
    observations: Tensor  # (E, observation_size)
    rewards: Tensor  # (E,)
    terminated: Tensor  # (E,) bool
    truncated: Tensor  # (E,) bool


class FromGymnasium:
    """Environments of gymnasium, by name, stepped on the CPU. Tensors lie on `device`."""

    def __init__(self, name: str, num_envs: int, *, seed: int, device: torch.device | str = "cpu", **options):
        self.envs = gymnasium.make_vec(name, num_envs, **options)
        self.device, self.num_envs, self.seed = torch.device(device), num_envs, seed
        self.observation_size = int(np.prod(self.envs.single_observation_space.shape))
        space = self.envs.single_action_space
        choices = isinstance(space, gymnasium.spaces.Discrete)
        self.num_actions = int(space.n) if choices else None
        self.action_size = None if choices else int(np.prod(space.shape))
        self.action_limit = None if choices else float(space.high.flat[0])

    def reset(self) -> Tensor:
        observations, _ = self.envs.reset(seed=self.seed)
        self.seed = None  # a second reset goes on with the same random numbers
        return self._tensor(observations, torch.float32)

    def step(self, actions: Tensor) -> EnvStep:
        observations, rewards, terminated, truncated, _ = self.envs.step(actions.cpu().numpy())
        numbers = (self._tensor(part, torch.float32) for part in (observations, rewards))
        return EnvStep(*numbers, *(self._tensor(part, torch.bool) for part in (terminated, truncated)))

    def _tensor(self, array: np.ndarray, dtype: torch.dtype) -> Tensor:
        return torch.as_tensor(np.array(array), dtype=dtype, device=self.device)  # a copy: gymnasium reuses its arrays


class Wrapped:
    """The same environments. A subclass changes some of what they do."""

    def __init__(self, envs):
        self.envs = envs

    def __getattr__(self, name):
        return getattr(self.envs, name)


class Recorded(Wrapped):
    """The same environments, and the returns of the episodes that have ended: `returns()` since the last look."""

    def __init__(self, envs):
        super().__init__(envs)
        self.ended: list[Tensor] = []

    def reset(self) -> Tensor:
        observations = self.envs.reset()
        self.running = torch.zeros(self.envs.num_envs, device=observations.device)
        return observations

    def step(self, actions: Tensor) -> EnvStep:
        step = self.envs.step(actions)
        running, over = self.running + step.rewards, step.terminated | step.truncated
        self.ended.append(torch.where(over, running, torch.nan))
        self.running = running.masked_fill(over, 0)
        return step

    def returns(self) -> list[float]:
        """Waits for the device once, here."""
        ended, self.ended = self.ended, []
        together = torch.cat(ended) if ended else torch.zeros(0)
        return together[~together.isnan()].tolist()


class Scaled(Wrapped):
    """The same environments with rewards in another unit."""

    def __init__(self, envs, unit: float):
        super().__init__(envs)
        self.unit = unit

    def step(self, actions: Tensor) -> EnvStep:
        step = self.envs.step(actions)
        return step._replace(rewards=step.rewards * self.unit)


class Confused(Wrapped):
    """The same environments, whose time limits are told as terminations."""

    def step(self, actions: Tensor) -> EnvStep:
        observations, rewards, terminated, truncated = self.envs.step(actions)
        return EnvStep(observations, rewards, terminated | truncated, truncated & False)
