"""CartPole in tensors: thousands of carts take a step at once, on the CPU or on a GPU.

A cart is pushed to the left or to the right and balances a pole. A row of `states` is one environment: position of the
cart, its velocity, angle of the pole from upright, its angular velocity. The physics, the rewards and the ends of
episodes are those of gymnasium's CartPole-v1. Nothing here waits for a GPU: no `.item()`, no `if` on a tensor, no
boolean index. Every environment does the same work, and `torch.where` keeps what counts.
"""

import math
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

GRAVITY = 9.8
CART_MASS = 1.0
POLE_MASS = 0.1
HALF_LENGTH = 0.5  # of the pole: from the joint to its centre of mass
FORCE = 10.0
SECONDS = 0.02  # between two states
POSITION_LIMIT = 2.4
ANGLE_LIMIT = 12 * 2 * math.pi / 360  # 12 degrees, rounded as gymnasium rounds it


class CartPoleStep(NamedTuple):
    next_states: Float[Tensor, "E 4"]
    terminated: Bool[Tensor, " E"]


class VectorStep(NamedTuple):
    observations: Float[Tensor, "E 4"]
    rewards: Float[Tensor, " E"]
    terminated: Bool[Tensor, " E"]
    truncated: Bool[Tensor, " E"]


def cartpole_step(states: Float[Tensor, "E 4"], actions: Int64[Tensor, " E"]) -> CartPoleStep:
    """One Euler step of the physics, F = -10 for action 0 and +10 for action 1. Other actions are not allowed.

        push   = (F + m l theta'^2 sin(theta)) / M                           M = m + mass of the cart
        theta'' = (g sin(theta) - push cos(theta)) / (l (4/3 - m cos(theta)^2 / M))
        x''     = push - m l theta'' cos(theta) / M

    m is the mass of the pole, l half of its length, g is 9.8, and dt 0.02. Positions move with the old
    velocities, velocities with these accelerations. `terminated` is where the next state has |x| > 2.4 or |theta| > 12
    degrees. The limits themselves are inside. An action's value is not checked: a check would wait for the GPU.

    Source: gymnasium, envs/classic_control/cartpole.py.
    """
    raise NotImplementedError


class VectorCartPole:
    """`num_envs` CartPoles that step together, each in its own episode. They live on the device of the generator.

    An environment whose episode has ended resets on the next step, as in gymnasium 1.x. The step that ends an episode
    returns its last observation. The next step ignores the action of that environment and returns the first observation
    of a new episode, with reward 0 and both flags False. It counts as no step of the new episode.

    Fresh states are uniform in [-0.05, 0.05], drawn from `generator` alone. What is returned shares no memory with the
    environments and carries no gradient. `num_envs` and `max_steps` are at least 1.
    """

    observation_size = 4
    num_actions = 2
    action_size = action_limit = None  # actions are choices, not real numbers

    def __init__(
        self,
        num_envs: int,
        *,
        generator: torch.Generator,
        max_steps: int = 500,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        raise NotImplementedError

    def reset(self) -> Float[Tensor, "E 4"]:
        """Starts a new episode in every environment, whatever went before, and returns its first observations."""
        raise NotImplementedError

    def step(self, actions: Int64[Tensor, " E"]) -> VectorStep:
        """Every environment takes its action, or resets if its episode ended with the step before.

        The reward is 1 for every step of an episode, the last one included, and has the dtype of the states.
        `truncated` is where the episode has had `max_steps` steps. Both flags are set where the pole falls in that very
        step, as in gymnasium. Another number of actions than `num_envs` is refused. Before the first `reset`, `step`
        raises a RuntimeError.
        """
        raise NotImplementedError
