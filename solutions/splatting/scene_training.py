"""Fitting Gaussians to a scene: many views, colours that warm up, and Gaussians that appear and vanish on the way."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from katas.splatting.given.gaussians import Gaussians
from katas.splatting.given.views import View

from .densification import clone_and_split, prune, reset_opacities
from .image_training import adam_for, checked_loss
from .rendering import Rendering, render


class SceneReport(NamedTuple):
    """`step` counts from 1. `loss` is that of views[view] before the step, `count` the Gaussians after all changes."""

    step: int
    view: int
    loss: float
    count: int


class DensityControl(NamedTuple):
    """When and where Gaussians are added and removed. After step t = 1, 2, … with t < until:

    1. The norm of the gradient of means2d is added up for every Gaussian with a radius above 0. Its unit is half an
       image, so one threshold fits all sizes: the gradient per pixel times (width, height) / 2.
    2. Where t > start is a multiple of `every`: `clone_and_split` with the mean norm over the steps that saw a
       Gaussian, `prune` by `min_opacity` alone, and all sums begin again at 0.
    3. Where t is a multiple of `reset_every`: `reset_opacities`.

    `max_scale` is that of `clone_and_split`, 1 % of the scene's extent in the published code.
    """

    max_scale: float
    start: int = 500
    until: int = 15_000
    every: int = 100
    reset_every: int = 3000
    grad_threshold: float = 2e-4
    min_opacity: float = 0.005


def fit_scene(
    gaussians: Gaussians,
    views: Sequence[View],
    *,
    steps: int,
    learning_rates: dict[str, float],
    background: Float[Tensor, "3"],
    generator: torch.Generator,
    density: DensityControl | None = None,
    sh_every: int = 1000,
    final_lr: float = 0.01,
    lambda_dssim: float = 0.2,
    callback: Callable[[SceneReport], None] | None = None,
) -> Gaussians:
    """The Gaussians after `steps` steps like those of `fit_image`, each on one view. In step s = 0, 1, …

    1. The next view of a random order: `torch.randperm` of all views by `generator`, and again when all were seen.
    2. Its image, with harmonics up to degree s // sh_every, at most that of the Gaussians. Colours that depend on the
       view come last: they would hide shapes that are still wrong.
    3. A step of Adam. All learning rates fall as in `fit_image`.
    4. `density`, if there is one.

    Source: Kerbl et al., 3D Gaussian Splatting (arXiv 2308.04079), and its code, in which only the rate of the means
    falls.
    """
    _refuse(views, steps, sh_every, final_lr, density)
    gaussians, optimizer = adam_for(gaussians, learning_rates)
    max_degree, norms, order = math.isqrt(gaussians.sh.shape[1]) - 1, _no_norms(gaussians), []
    for step in range(steps):
        order = order or torch.randperm(len(views), generator=generator, device=generator.device).tolist()
        index = order.pop(0)
        view = views[index]
        for group in optimizer.param_groups:
            group["lr"] = learning_rates[group["name"]] * final_lr ** (step / steps)
        degree = min(step // sh_every, max_degree)
        height, width, _ = view.image.shape
        rendering = render(gaussians, view.viewmat, view.K, width, height, background=background, sh_degree=degree)
        rendering.means2d.retain_grad()
        loss = checked_loss(rendering.image, view.image, step=step + 1, lambda_dssim=lambda_dssim)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if density is not None and step + 1 < density.until:
            norms = norms + _screen_norms(rendering, width, height)
            gaussians, norms = _controlled(gaussians, optimizer, norms, step + 1, density, generator)
        if callback is not None:
            callback(SceneReport(step + 1, index, loss.item(), len(gaussians.means)))
    return Gaussians(*(field.detach() for field in gaussians))


def _no_norms(gaussians: Gaussians) -> Float[Tensor, "2 N"]:
    """Sums of norms, and numbers of views."""
    return gaussians.means.new_zeros(2, len(gaussians.means))


def _screen_norms(rendering: Rendering, width: int, height: int) -> Float[Tensor, "2 N"]:
    """A gradient per pixel times half the size is one per half an image, so one threshold fits images of all sizes."""
    seen = rendering.radii > 0
    norms = torch.linalg.norm(rendering.means2d.grad * rendering.means2d.new_tensor([width, height]) / 2, dim=1)
    return torch.stack((torch.where(seen, norms, 0), seen.to(norms.dtype)))


def _controlled(
    gaussians: Gaussians, optimizer, norms: Float[Tensor, "2 N"], step: int, density: DensityControl, generator
) -> tuple[Gaussians, Float[Tensor, "2 M"]]:
    if step > density.start and step % density.every == 0:
        gaussians = clone_and_split(
            gaussians, optimizer, norms[0] / norms[1],  # never seen: 0 / 0 is NaN, which is not chosen
            generator=generator, grad_threshold=density.grad_threshold, max_scale=density.max_scale,
        )  # fmt: skip
        gaussians = prune(gaussians, optimizer, min_opacity=density.min_opacity)
        norms = _no_norms(gaussians)
    if step % density.reset_every == 0:
        gaussians = reset_opacities(gaussians, optimizer)
    return gaussians, norms


def _refuse(views, steps: int, sh_every: int, final_lr: float, density: DensityControl | None) -> None:
    if not views:
        raise ValueError("views must not be empty")
    if steps < 0:
        raise ValueError(f"steps must not be negative, got {steps}")
    if not 0 < final_lr <= 1:
        raise ValueError(f"final_lr must lie in (0, 1], got {final_lr}")
    periods = {"sh_every": sh_every}
    if density is not None:
        periods |= {"density.every": density.every, "density.reset_every": density.reset_every}
    for name, period in periods.items():
        if period < 1:
            raise ValueError(f"{name} must be at least 1, got {period}")
