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
    raise NotImplementedError


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
    raise NotImplementedError


@torch.no_grad()
def reset_opacities(gaussians: Gaussians, optimizer: torch.optim.Optimizer, *, max_opacity: float = 0.01) -> Gaussians:
    """The Gaussians with opacities of at most `max_opacity`: min(logit, log(o / (1 - o))), o = max_opacity.

    Only the opacity logits are a new leaf. All its moments are 0: the old ones would move the opacities on. The other
    four tensors are the same objects as before, and keep their moments. Logits below the limit keep all digits. The
    optimizer is changed, as the head of this file says.

    0 < max_opacity < 1.
    """
    raise NotImplementedError
