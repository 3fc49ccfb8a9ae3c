"""Small networks of the topic."""

from typing import NamedTuple

import torch
from torch import Tensor, nn


class PolicyAndValue(NamedTuple):
    logits: Tensor  # (N, number of actions)
    values: Tensor  # (N,)


def mlp(*sizes: int, last_gain: float = 1.0, activation=nn.Tanh) -> nn.Sequential:
    """Linear layers with the activation between them, orthogonal weights of gain sqrt(2) and biases of 0."""
    layers: list[nn.Module] = []
    for n, (inputs, outputs) in enumerate(zip(sizes, sizes[1:], strict=False)):
        linear = nn.Linear(inputs, outputs)
        nn.init.orthogonal_(linear.weight, last_gain if n == len(sizes) - 2 else 2**0.5)
        nn.init.zeros_(linear.bias)
        layers += [linear, activation()]
    return nn.Sequential(*layers[:-1])


class ActorCritic(nn.Module):
    """A policy over `num_actions` choices and a value function, two networks of the same size."""

    def __init__(self, observation_size: int, num_actions: int, hidden: tuple[int, ...] = (64, 64)):
        super().__init__()
        self.policy = mlp(observation_size, *hidden, num_actions, last_gain=0.01)  # at first every action is as likely
        self.value = mlp(observation_size, *hidden, 1)

    def forward(self, observations: Tensor) -> PolicyAndValue:
        return PolicyAndValue(self.policy(observations), self.value(observations)[:, 0])


def on_cpu_seed(seed: int, make, device):
    """`make()` with the weights that this seed gives on every device."""
    torch.manual_seed(seed)
    return make().to(device)


class GaussianActor(nn.Module):
    """Mean and log_std of every action. log_std is held between -5 and 2 by a tanh, so its gradient never stops."""

    def __init__(self, observation_size: int, action_size: int, hidden: tuple[int, ...] = (64, 64)):
        super().__init__()
        self.both = mlp(observation_size, *hidden, 2 * action_size, last_gain=0.01, activation=nn.ReLU)

    def forward(self, observations: Tensor) -> tuple[Tensor, Tensor]:
        mean, spread = self.both(observations).chunk(2, dim=-1)
        return mean, -1.5 + 3.5 * spread.tanh()


class TwinCritics(nn.Module):
    """Two networks that know nothing of each other, each with a value for an observation and an action."""

    def __init__(self, observation_size: int, action_size: int, hidden: tuple[int, ...] = (64, 64)):
        super().__init__()
        sizes = (observation_size + action_size, *hidden, 1)
        self.first, self.second = (mlp(*sizes, activation=nn.ReLU) for _ in range(2))

    def forward(self, observations: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        together = torch.cat([observations, actions], dim=-1)
        return self.first(together)[..., 0], self.second(together)[..., 0]
