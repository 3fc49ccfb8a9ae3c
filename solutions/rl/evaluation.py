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
    if episodes < 1 or episodes % envs.num_envs:
        raise ValueError(f"episodes must be a positive multiple of num_envs = {envs.num_envs}, got {episodes}")
    observations = envs.reset()
    resets = torch.zeros(envs.num_envs, dtype=torch.bool, device=observations.device)
    running = torch.zeros(envs.num_envs, device=observations.device)
    ended: list[list[float]] = [[] for _ in range(envs.num_envs)]
    while min(len(returns) for returns in ended) < episodes // envs.num_envs:
        observations, rewards, terminated, truncated = envs.step(act(observations))
        running = torch.where(resets, 0, running + rewards)  # an episode that is over starts again at 0
        resets = terminated | truncated
        for e in resets.nonzero()[:, 0].tolist():
            ended[e].append(running[e].item())
    table = [returns[: episodes // envs.num_envs] for returns in ended]
    return torch.tensor(table, dtype=running.dtype, device=running.device).T.flatten()
