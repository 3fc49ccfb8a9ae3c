"""Small networks of the topic."""

from typing import NamedTuple

import torch
from torch import Tensor, nn


class PolicyAndValue(NamedTuple):
    logits: Tensor  # (N, number of actions)
    values: Tensor  # (N,)


def mlp(*sizes: int, last_gain: float = 1.0) -> nn.Sequential:
    """Linear layers with tanh between them, orthogonal weights of gain sqrt(2) and biases of 0."""
    layers: list[nn.Module] = []
    for n, (inputs, outputs) in enumerate(zip(sizes, sizes[1:], strict=False)):
        linear = nn.Linear(inputs, outputs)
        nn.init.orthogonal_(linear.weight, last_gain if n == len(sizes) - 2 else 2**0.5)
        nn.init.zeros_(linear.bias)
        layers += [linear, nn.Tanh()]
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
