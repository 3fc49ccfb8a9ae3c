"""Adaptive density control: Gaussians are cloned, split and removed during training.

An optimizer keeps moments for every number of its parameters. So:

- `gaussians` are leaf tensors that `optimizer` holds, in any groups and order. If it does not (older Gaussians, say),
  they are refused by the name `optimizer`.
- The results are new leaves that require a gradient, with memory of their own, in the places of the old ones in the
  optimizer. Its options stay.
- State of a parameter's shape (the moments) follows the rows. Other state, such as `step`, stays. None is left of the
  old tensors.
- Only the optimizer changes.
"""

import math
from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from katas.splatting.given.gaussians import Gaussians

from .rotations import quats_to_rotmats


@torch.no_grad()
def clone_and_split(
    gaussians: Gaussians,
    optimizer: torch.optim.Optimizer,
    gradients: Float[Tensor, "N"],
    *,
    generator: torch.Generator,
    max_scale: float,
    grad_threshold: float = 2e-4,
) -> Gaussians:
    """More Gaussians where `gradients`, the mean norms of their screen-space gradients, are large.

    A Gaussian is chosen where gradients >= grad_threshold. NaN (0 / 0: no camera saw it) is not chosen. If its largest
    scale exp(log_scales) is at most `max_scale`, it is cloned: a copy of its raw parameters is added. If it is larger,
    it is split: two children replace it. They copy its parameters, except

        means      = mean + R S u,  u ~ N(0, I), drawn for each child
        log_scales = log_scales - log 1.6

    Rows: Gaussians that stay, clones, all first children, all second children. Moments of clones and children are 0.
    The optimizer is changed, as the head of this file says.

    max_scale > 0, grad_threshold >= 0, N gradients.

    Source: Kerbl et al., 3D Gaussian Splatting (arXiv 2308.04079); ties as in graphdeco-inria/gaussian-splatting.
    """
    if not max_scale > 0:
        raise ValueError(f"max_scale must be positive, got {max_scale}")
    if not grad_threshold >= 0:
        raise ValueError(f"grad_threshold must not be negative, got {grad_threshold}")
    if len(gradients) != len(gaussians.means):
        raise ValueError(f"gradients must have a row per Gaussian: {len(gradients)}, not {len(gaussians.means)}")
    _refuse_unknown(gaussians, optimizer)
    chosen = gradients >= grad_threshold
    small = gaussians.log_scales.exp().amax(dim=1) <= max_scale
    stay = small | ~chosen
    clones = _rows(gaussians, chosen & small)
    children = _children(_rows(gaussians, ~stay), generator)

    def replaced(old: Tensor, clone: Tensor, child: Tensor) -> Tensor:
        born = torch.cat((clone, child))
        values = torch.cat((old[stay], born))
        return _put(optimizer, old, values, lambda moment: torch.cat((moment[stay], moment.new_zeros(born.shape))))

    return Gaussians(*map(replaced, gaussians, clones, children))


@torch.no_grad()
def prune(
    gaussians: Gaussians,
    optimizer: torch.optim.Optimizer,
    *,
    min_opacity: float = 0.005,
    max_scale: float = math.inf,
) -> Gaussians:
    """The Gaussians without those whose opacity is below `min_opacity`, or whose largest scale is above `max_scale`.

    Opacities are sigmoid(opacity_logits), scales are exp(log_scales). The others keep their order and their moments.
    The optimizer is changed, as the head of this file says.

    0 <= min_opacity < 1, max_scale > 0.
    """
    if not 0 <= min_opacity < 1:
        raise ValueError(f"min_opacity must lie in [0, 1), got {min_opacity}")
    if not max_scale > 0:
        raise ValueError(f"max_scale must be positive, got {max_scale}")
    _refuse_unknown(gaussians, optimizer)
    faint = gaussians.opacity_logits.sigmoid() < min_opacity
    stay = ~(faint | (gaussians.log_scales.exp().amax(dim=1) > max_scale))
    return Gaussians(*(_put(optimizer, old, old[stay], lambda moment: moment[stay]) for old in gaussians))


@torch.no_grad()
def reset_opacities(gaussians: Gaussians, optimizer: torch.optim.Optimizer, *, max_opacity: float = 0.01) -> Gaussians:
    """The Gaussians with opacities of at most `max_opacity`: min(logit, log(o / (1 - o))), o = max_opacity.

    Only the opacity logits are a new leaf. All its moments are 0: the old ones would move the opacities on. The other
    four tensors are the same objects as before, and keep their moments. Logits below the limit keep all digits. The
    optimizer is changed, as the head of this file says.

    0 < max_opacity < 1.
    """
    if not 0 < max_opacity < 1:
        raise ValueError(f"max_opacity must lie between 0 and 1, got {max_opacity}")
    _refuse_unknown(gaussians, optimizer)
    # In float32 the sigmoid of -120 is 0, and the logit of 0 is -inf: compare logits, not opacities.
    logits = gaussians.opacity_logits.clamp(max=math.log(max_opacity) - math.log1p(-max_opacity))
    return gaussians._replace(opacity_logits=_put(optimizer, gaussians.opacity_logits, logits, torch.zeros_like))


def _rows(gaussians: Gaussians, mask: Bool[Tensor, "N"]) -> Gaussians:
    return Gaussians(*(field[mask] for field in gaussians))


def _children(parents: Gaussians, generator: torch.Generator) -> Gaussians:
    """All first children, then all second children."""
    means, twice = parents.means, Gaussians(*(torch.cat((field, field)) for field in parents))
    noise = torch.randn(2 * len(means), 3, generator=generator, dtype=means.dtype, device=means.device)
    axes = quats_to_rotmats(twice.quats) * twice.log_scales.exp()[:, None, :]
    moved = twice.means + (axes.to(means.dtype) @ noise[:, :, None])[:, :, 0]
    return twice._replace(means=moved, log_scales=twice.log_scales - math.log(1.6))


def _put(optimizer: torch.optim.Optimizer, old: Tensor, values: Tensor, follow: Callable[[Tensor], Tensor]) -> Tensor:
    """A new leaf with these values in the place of `old`. Its moments are `follow(moment)` of the old ones."""
    leaf = values.detach().requires_grad_()
    for group in optimizer.param_groups:
        group["params"] = [leaf if held is old else held for held in group["params"]]
    state = optimizer.state.pop(old, None)  # state[old] would make an entry before the first step
    if state is not None:
        optimizer.state[leaf] = {
            key: follow(value) if isinstance(value, Tensor) and value.shape == old.shape else value
            for key, value in state.items()
        }
    return leaf


def _refuse_unknown(gaussians: Gaussians, optimizer: torch.optim.Optimizer) -> None:
    held = {id(tensor) for group in optimizer.param_groups for tensor in group["params"]}
    for name, tensor in gaussians._asdict().items():
        if id(tensor) not in held:
            raise ValueError(f"optimizer does not hold the tensor gaussians.{name}: are these older Gaussians?")
