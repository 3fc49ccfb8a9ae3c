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
    if set(learning_rates) != set(gaussians._fields):
        raise ValueError(f"learning_rates must have the names {gaussians._fields}, got {tuple(learning_rates)}")
    gaussians = Gaussians(*(field.detach().clone().requires_grad_() for field in gaussians))
    groups = [
        {"params": [field], "lr": learning_rates[name], "name": name} for name, field in gaussians._asdict().items()
    ]
    return gaussians, torch.optim.Adam(groups, eps=1e-15)


def checked_loss(
    image: Float[Tensor, "H W 3"], target: Float[Tensor, "H W 3"], *, step: int, lambda_dssim: float = 0.2
) -> Float[Tensor, ""]:
    """The photometric loss of one image. One that is not finite raises a FloatingPointError that names the step."""
    loss = photometric_loss(image.permute(2, 0, 1)[None], target.permute(2, 0, 1)[None], lambda_dssim=lambda_dssim)[0]
    if not loss.isfinite():
        raise FloatingPointError(f"the loss of step {step} is {loss.item()}")
    return loss


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
    if steps < 0:
        raise ValueError(f"steps must not be negative, got {steps}")
    if not 0 < final_lr <= 1:
        raise ValueError(f"final_lr must lie in (0, 1], got {final_lr}")
    gaussians, optimizer = adam_for(gaussians, learning_rates)
    height, width, _ = view.image.shape
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rates[group["name"]] * final_lr ** (step / steps)
        image = render(gaussians, view.viewmat, view.K, width, height, background=background).image
        loss = checked_loss(image, view.image, step=step + 1, lambda_dssim=lambda_dssim)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if callback is not None:
            callback(ImageReport(step + 1, loss.item()))
    return Gaussians(*(field.detach() for field in gaussians))
