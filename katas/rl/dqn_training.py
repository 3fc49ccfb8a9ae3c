"""Training by deep Q-learning: act, store what happened, learn from a random batch of all that happened.

Both networks map observations, (N, *shape), to the values of the K actions, (N, K). `target` is a slow copy of
`online`, which the caller has made. The environments reset on the step after an end (`given/environments.py`).
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from .dqn import double_dqn_target, dqn_loss, epsilon_at, polyak_update, td_target
from .replay_buffer import ReplayBuffer, Transitions


class DQNReport(NamedTuple):
    """What `train_dqn` reports after a step, in Python numbers.

    `loss` and `mean_q` are means over the updates of the step, each before its optimizer step. `mean_q` is what
    `online` says of the sampled actions. Both are NaN where the step made no update.
    """

    step: int
    epsilon: float
    loss: float
    mean_q: float


def train_dqn(
    online: nn.Module,
    target: nn.Module,
    envs,
    buffer: ReplayBuffer,
    optimizer: torch.optim.Optimizer,
    *,
    steps: int,
    generator: torch.Generator,
    first_step: int = 0,
    batch_size: int = 128,
    gamma: float = 0.99,
    learning_starts: int = 1000,
    updates_per_step: int = 1,
    target_every: int = 1,
    tau: float = 0.005,
    epsilon_start: float = 1.0,
    epsilon_end: float = 0.05,
    epsilon_decay_steps: int = 2000,
    double: bool = True,
    max_grad_norm: float = 10.0,
    on_step: Callable[[DQNReport], None] | None = None,
) -> None:
    """Trains `online` in the steps `first_step` ... steps - 1 of all environments, after a reset.

    1. Each environment takes a random action with probability `epsilon_at(step)`, else that of the highest value.
    2. `buffer` stores every transition with its true next observation, but no step that resets.
    3. Once `learning_starts` and `batch_size` transitions are stored, `updates_per_step` times: a batch, its
       `double_dqn_target` (or `td_target`), `dqn_loss`, gradients of a joint norm up to `max_grad_norm`, a step.
    4. `polyak_update`, where step + 1 is a multiple of `target_every`.
    5. `on_step(report)` may change rates.

    A loss that is not finite raises a FloatingPointError naming the step; its update changes nothing. Refused: real
    actions; `updates_per_step` or `target_every` below 1; `learning_starts` or `batch_size` above `buffer.capacity`.
    """
    raise NotImplementedError
