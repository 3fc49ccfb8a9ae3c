"""What specs of modules look with: modules with drawn parameters, what passes through their blocks, and a small model
with something of everything."""

import copy
import itertools
from typing import NamedTuple

import torch
from torch import Tensor, nn


def fresh(kind: type[nn.Module], *args, **options) -> nn.Module:
    """As it is made, in float64, the same every time. The global random state stays as it is."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return kind(*args, **options).double()


def drawn(kind: type[nn.Module], *args, scale: float = 0.3, **options) -> nn.Module:
    """With every parameter drawn anew, those that start at 0 or 1 included."""
    module, generator = fresh(kind, *args, **options), torch.Generator().manual_seed(0)
    for parameter in module.parameters():
        parameter.data = scale * torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
    return module


class Visit(NamedTuple):
    """One call of a block. `told` is its second argument, None if it has only one."""

    kind: str
    entering: Tensor
    told: Tensor | None
    leaving: Tensor


def visits(net: nn.Module, kinds: tuple[type[nn.Module], ...], *args) -> list[Visit]:
    """The calls of the blocks of these kinds in `net(*args)`, in order."""
    seen, handles = [], []

    def keep(module, args, named, out):
        args = [argument.detach() for argument in (*args, *named.values())]
        seen.append(Visit(type(module).__name__, args[0], args[1] if args[1:] else None, out.detach()))

    for module in net.modules():
        if isinstance(module, kinds):
            handles.append(module.register_forward_hook(keep, with_kwargs=True))
    net(*args)
    for handle in handles:
        handle.remove()
    return seen


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
