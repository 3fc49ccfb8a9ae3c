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
    raise NotImplementedError
