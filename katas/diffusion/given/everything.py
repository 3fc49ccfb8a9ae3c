"""A small model with something of everything, for whatever must treat all parts of a model alike."""

import copy
import itertools

import torch
from torch import Tensor, nn


class Everything(nn.Module):
    """Tied, frozen and integer parameters; buffers that are floats, integers and booleans. All of it random."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self.first, self.second, self.norm = nn.Linear(3, 3), nn.Linear(3, 3), nn.BatchNorm1d(3)
        self.second.weight = self.first.weight
        self.frozen = nn.Parameter(torch.ones(3), requires_grad=False)
        self.codes = nn.Parameter(torch.zeros(4, dtype=torch.int64), requires_grad=False)
        self.register_buffer("mask", torch.tensor([False, True, False]))
        self.double()
        self.move_on(torch.Generator().manual_seed(seed))

    @torch.no_grad()
    def move_on(self, generator: torch.Generator) -> None:
        """Every parameter and buffer changes in place, as training would do it."""
        for tensor in itertools.chain(self.parameters(), self.buffers()):
            drawn = torch.rand(tensor.shape, generator=generator, dtype=torch.float64)
            if tensor.dtype == torch.bool:
                tensor.logical_not_()
            else:
                tensor.copy_(drawn if tensor.is_floating_point() else 1000 * drawn)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.norm(self.first(x)).relu() * self.mask) + self.frozen


def values(model: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers by name, as copies."""
    return copy.deepcopy(dict(model.state_dict()))


def settings(model: nn.Module) -> list:
    """All but the numbers: modes, what takes a gradient, and which tensors the parameters are."""
    modes = [module.training for module in model.modules()]
    return modes + [(parameter.requires_grad, id(parameter)) for parameter in model.parameters()]
