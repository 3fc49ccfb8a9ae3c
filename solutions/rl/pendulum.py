"""Pendulum in tensors: a motor at the joint, too weak to lift the pole at once, swings it up and holds it.

A row of `states` is one environment: angle from upright, counted on over whole turns, and angular velocity. Physics,
rewards and limits are those of gymnasium's Pendulum-v1. It never terminates: all episodes have the same length. Nothing
here waits for a GPU: no `.item()`, no `if` on a tensor, no boolean index.
"""

import math
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

GRAVITY = 10.0
SECONDS = 0.05  # between two states
MAX_SPEED = 8.0
MAX_TORQUE = 2.0


class PendulumStep(NamedTuple):
    next_states: Float[Tensor, "E 2"]
    rewards: Float[Tensor, " E"]


class VectorStep(NamedTuple):
    observations: Float[Tensor, "E 3"]
    rewards: Float[Tensor, " E"]
    terminated: Bool[Tensor, " E"]
    truncated: Bool[Tensor, " E"]


def pendulum_step(states: Float[Tensor, "E 2"], actions: Float[Tensor, "E 1"]) -> PendulumStep:
    """One step of the physics. The action is a torque u, cut to [-2, 2].

        reward  = -(wrapped(theta)^2 + 0.1 theta'^2 + 0.001 u^2)             of the state before the step
        theta'  <- theta' + (3/2 g sin(theta) + 3 u) dt                      cut to [-8, 8]
        theta   <- theta + theta' dt                                         with the new theta'

    The pole has mass and length 1, g is 10 and dt 0.05. wrapped(theta) is the same angle in [-pi, pi). The reward
    counts the torque after the cut. The next state holds the angle as it is, not wrapped. Actions are cast to the dtype
    of the states.

    Source: gymnasium, envs/classic_control/pendulum.py.
    """
    angle, speed = states.unbind(dim=1)
    torque = actions[:, 0].to(states.dtype).clamp(-MAX_TORQUE, MAX_TORQUE)
    wrapped = torch.remainder(angle + math.pi, 2 * math.pi) - math.pi
    rewards = -(wrapped.square() + 0.1 * speed.square() + 0.001 * torque.square())
    acceleration = 1.5 * GRAVITY * torch.sin(angle) + 3 * torque
    speed = (speed + SECONDS * acceleration).clamp(-MAX_SPEED, MAX_SPEED)
    return PendulumStep(torch.stack([angle + SECONDS * speed, speed], dim=1), rewards)


class VectorPendulum:
    """`num_envs` Pendulums that step together, on the device of the generator. It is used like `VectorCartPole`.

    An observation is (cos(theta), sin(theta), theta'). Fresh states have theta uniform in [-pi, pi] and theta' uniform
    in [-1, 1], drawn from `generator` alone.

    Episodes end after `max_steps` steps and reset on the next step, as in gymnasium 1.x. The last step returns the last
    observation and sets `truncated`. The next one ignores the actions and returns the first observations of new
    episodes, with reward 0 and no flag. It counts as no step. `terminated` is never set.

    What is returned shares no memory with the environments and carries no gradient, not even of the actions. `num_envs`
    and `max_steps` are at least 1.
    """

    observation_size = 3
    num_actions = None  # actions are real numbers, not choices
    action_size = 1
    action_limit = MAX_TORQUE

    def __init__(
        self,
        num_envs: int,
        *,
        generator: torch.Generator,
        max_steps: int = 200,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        if num_envs < 1:
            raise ValueError(f"num_envs must be at least 1, got {num_envs}")
        if max_steps < 1:
            raise ValueError(f"max_steps must be at least 1, got {max_steps}")
        self.num_envs, self.max_steps, self._generator = num_envs, max_steps, generator
        self._new = {"dtype": dtype, "device": generator.device}
        self._states = None

    def reset(self) -> Float[Tensor, "E 3"]:
        """Starts a new episode in every environment, whatever went before, and returns its first observations."""
        angles = torch.empty(self.num_envs, **self._new).uniform_(-math.pi, math.pi, generator=self._generator)
        speeds = torch.empty(self.num_envs, **self._new).uniform_(-1, 1, generator=self._generator)
        self._states = torch.stack([angles, speeds], dim=1)
        self._steps = 0  # all episodes begin and end together, so that one Python number counts for all
        return self._observations()

    @torch.no_grad()
    def step(self, actions: Float[Tensor, "E 1"]) -> VectorStep:
        """Every environment takes its action, or resets if its episode ended with the step before.

        Rewards have the dtype of the states. Another number of actions than `num_envs` is refused. Before the first
        `reset`, `step` raises a RuntimeError.
        """
        if self._states is None:
            raise RuntimeError("call reset() before the first step()")
        if len(actions) != self.num_envs:
            raise ValueError(f"actions must be {self.num_envs}, one per environment, got {len(actions)}")
        if self._steps == self.max_steps:
            observations, rewards = self.reset(), torch.zeros(self.num_envs, **self._new)
        else:
            self._states, rewards = pendulum_step(self._states, actions)
            self._steps += 1
            observations = self._observations()
        truncated = torch.full_like(rewards, self._steps == self.max_steps, dtype=torch.bool)
        return VectorStep(observations, rewards, torch.zeros_like(truncated), truncated)

    def _observations(self) -> Tensor:
        angles, speeds = self._states.unbind(dim=1)
        return torch.stack([torch.cos(angles), torch.sin(angles), speeds], dim=1)
