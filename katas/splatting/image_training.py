"""Fitting Gaussians to one picture: all that a scene's training does, without other views and without new Gaussians."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from katas.splatting.given.gaussians import Gaussians
from katas.splatting.given.views import View

from .image_losses import photometric_loss
from .rendering import render


class ImageReport(NamedTuple):
    """`step` counts from 1. `loss` is that before the step."""

    step: int
    loss: float


def adam_for(gaussians: Gaussians, learning_rates: dict[str, float]) -> tuple[Gaussians, torch.optim.Adam]:
    """Copies of the Gaussians that require a gradient, and an Adam with a group for each field, in their order.

    Every field moves in units of its own (a mean in those of the scene, a logit in logits), so each has a learning
    rate of its own. `learning_rates` has the five names of the fields. A group is called by it: group["name"].

    Adam divides by sqrt(v) + eps. The loss is a mean over all pixels, so gradients fall with the size of the image.
    Where they are below the default eps of 1e-8, steps would fall as well. Here eps = 1e-15, as in the published code.
    """
    raise NotImplementedError


def checked_loss(
    image: Float[Tensor, "H W 3"], target: Float[Tensor, "H W 3"], *, step: int, lambda_dssim: float = 0.2
) -> Float[Tensor, ""]:
    """The photometric loss of one image. One that is not finite raises a FloatingPointError that names the step."""
    raise NotImplementedError


def fit_image(
    gaussians: Gaussians,
    view: View,
    *,
    steps: int,
    learning_rates: dict[str, float],
    background: Float[Tensor, "3"],
    final_lr: float = 0.01,
    lambda_dssim: float = 0.2,
    callback: Callable[[ImageReport], None] | None = None,
) -> Gaussians:
    """The Gaussians after `steps` steps of Adam on the photometric loss of one view.

    In step s = 0, 1, … every learning rate is that of `learning_rates` times final_lr ** (s / steps): large steps find
    the place, small ones settle.

    The Gaussians that come back have memory of their own and require no gradient. steps >= 0, 0 < final_lr <= 1.
    """
    raise NotImplementedError
