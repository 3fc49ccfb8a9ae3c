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
    raise NotImplementedError


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
        raise NotImplementedError

    def reset(self) -> Float[Tensor, "E 3"]:
        """Starts a new episode in every environment, whatever went before, and returns its first observations."""
        raise NotImplementedError

    @torch.no_grad()
    def step(self, actions: Float[Tensor, "E 1"]) -> VectorStep:
        """Every environment takes its action, or resets if its episode ended with the step before.

        Rewards have the dtype of the states. Another number of actions than `num_envs` is refused. Before the first
        `reset`, `step` raises a RuntimeError.
        """
        raise NotImplementedError
