"""Training by SAC: act, remember, and learn at every step from old transitions.

`actor(observations)` returns `(mean, log_std)` of a Gaussian, each (N, A), which tanh squashes.
`critics(observations, actions)` returns `(q1, q2)`, each (N,). Actions lie in [-1, 1], also in the buffer. Only the
environments get them times `envs.action_limit`. The environments reset on the step after an end
(`given/environments.py`).
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from .dqn import polyak_update
from .replay_buffer import ReplayBuffer, Transitions
from .sac import sac_actor_loss, sac_critic_target, squashed_gaussian_sample, temperature_loss


class SACReport(NamedTuple):
    """What `train_sac` reports after a step, in Python numbers.

    All are means over the updates of this step, each before its optimizer's step, and NaN if there was no update. The
    entropy is -mean(log pi) of the actions in the actor's loss.
    """

    step: int
    critic_loss: float
    actor_loss: float
    temperature: float
    entropy: float


def train_sac(
    actor: nn.Module,
    critics: nn.Module,
    target_critics: nn.Module,
    log_temperature: Float[Tensor, ""],
    envs,
    buffer: ReplayBuffer,
    *,
    actor_optimizer: torch.optim.Optimizer,
    critic_optimizer: torch.optim.Optimizer,
    temperature_optimizer: torch.optim.Optimizer | None,
    steps: int,
    generator: torch.Generator,
    first_step: int = 0,
    batch_size: int = 256,
    gamma: float = 0.99,
    tau: float = 0.005,
    random_steps: int = 1000,
    updates_per_step: int = 1,
    target_entropy: float | None = None,
    on_step: Callable[[SACReport], None] | None = None,
) -> None:
    """Trains in place, in the steps `first_step` ... steps - 1 of all environments. It begins with `envs.reset()`.

    A step acts and stores; steps that reset are not stored. Actions are uniform in the steps before `random_steps`,
    drawn from the policy afterwards. Once the buffer holds `batch_size` transitions, `updates_per_step` updates follow.
    Each samples a batch:

        critic_loss = mean((q1 - y)^2) + mean((q2 - y)^2),      y = sac_critic_target
        actor_loss = sac_actor_loss of new actions and the critics after their step
        temperature_loss of the same actions, unless `temperature_optimizer` is None
        target_critics move towards critics by tau

    Each loss moves only what its optimizer holds: an actor's step never moves the critics. `target_entropy` is
    -envs.action_size if None. Last comes `on_step(report)`. A loss that is not finite raises a FloatingPointError that
    names the step; what this loss would move stays as it was.

    Refused: environments whose actions are choices; `gamma` or `tau` outside [0, 1]; `updates_per_step` below 1;
    `batch_size` outside [1, capacity].
    """
    raise NotImplementedError
