"""Evaluation: what a policy earns, in episodes of its own."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor


@torch.no_grad()
def evaluate_policy(act: Callable[[Tensor], Tensor], envs, *, episodes: int) -> Float[Tensor, " episodes"]:
    """The undiscounted return of each of `episodes` new episodes.

    `act(observations)` chooses an action for each of `envs.num_envs` environments. Every environment plays the same
    number of episodes, so `episodes` is a positive multiple of `envs.num_envs`. Of environments that run side by side
    the first to end have the short episodes: their mean would be another one. Episode k of environment e is result
    k * num_envs + e.

    Environments reset on the step after an end: its reward and its action belong to no episode
    (`given/environments.py`). The first call is `envs.reset()`.
    """
    raise NotImplementedError
