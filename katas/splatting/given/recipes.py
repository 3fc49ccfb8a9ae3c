"""The recipes of the splatting checks: a photograph and a ray-traced scene, and how Gaussians are fitted to them."""

import math
from collections.abc import Sequence
from functools import cache

import torch
import torch.nn.functional as F
from sklearn.datasets import load_sample_image
from torch import Tensor

from katas.lab.checks.budget import Work, work_of
from katas.splatting.given import ray_tracer
from katas.splatting.given.gaussians import Gaussians
from katas.splatting.given.views import View
from katas.splatting.image_losses import psnr
from katas.splatting.image_training import fit_image
from katas.splatting.initialisation import gaussians_from_points
from katas.splatting.rendering import render
from katas.splatting.scene_training import DensityControl, fit_scene

# --- a photograph -----------------------------------------------------------------------------------------------------

PHOTO = "china.jpg"  # scikit-learn's, 640 x 427
PHOTO_SIZE = (160, 107)
PHOTO_GAUSSIANS, PHOTO_STEPS = 2000, 1200
PHOTO_RATES = {"means": 1e-2, "log_scales": 2e-2, "quats": 2e-2, "opacity_logits": 5e-2, "sh": 2e-2}


def photograph(device, size: tuple[int, int] | None = None) -> View:
    """The photograph in a small size, seen by a camera at the origin that looks along z."""
    width, height = size or PHOTO_SIZE
    image = torch.tensor(load_sample_image(PHOTO)).permute(2, 0, 1)[None] / 255
    image = F.interpolate(image, size=(height, width), mode="area")[0].permute(1, 2, 0)
    K = torch.tensor([[width, 0, width / 2], [0, width, height / 2], [0, 0, 1]])
    return View(image.to(device), torch.eye(4, device=device), K.to(device))


def gaussians_before(view: View, count: int, seed: int, *, gap: float = 0.5) -> Gaussians:
    """Gaussians anywhere in the picture, between depths of 4 and 5, in the colour of their pixel.

    Their standard deviation is `gap` times the side of the square that each has for itself.
    """
    height, width, _ = view.image.shape
    generator, device = torch.Generator().manual_seed(seed), view.image.device
    at = torch.rand(count, 2, generator=generator) * torch.tensor([width, height])
    depths = 4 + torch.rand(count, 1, generator=generator)
    means = torch.cat(((at - torch.tensor([width, height]) / 2) / width * depths, depths), dim=1).to(device)
    colors = view.image[at[:, 1].long(), at[:, 0].long()]
    start = gaussians_from_points(means, colors, sh_degree=0, initial_opacity=0.5)
    size = gap * math.sqrt(width * height / max(count, 1)) / width * 4.5
    quats = torch.randn(count, 4, generator=generator).to(device)
    return start._replace(log_scales=torch.full_like(means, math.log(size)), quats=quats)


def fitted_photograph(
    view: View, seed: int, callback=None, *, steps: int | None = None, count: int | None = None, gap: float = 0.5
) -> Gaussians:
    """`steps` and `count` are those of the check unless given."""
    start = gaussians_before(view, PHOTO_GAUSSIANS if count is None else count, seed, gap=gap)
    return fit_image(
        start, view, steps=PHOTO_STEPS if steps is None else steps, learning_rates=PHOTO_RATES,
        background=torch.zeros(3, device=view.image.device), callback=callback,
    )  # fmt: skip


# --- a scene ----------------------------------------------------------------------------------------------------------

SCENE_VIEWS, HELD_OUT_VIEWS, SCENE_SIZE = 30, 10, 96
SCENE_POINTS, SCENE_STEPS, SH_EVERY = 500, 800, 250
SCENE_RATES = {"means": 5e-3, "log_scales": 2e-2, "quats": 1e-2, "opacity_logits": 5e-2, "sh": 1e-2}
DENSITY = DensityControl(
    max_scale=0.05, start=99, until=501, every=100, reset_every=10**6, grad_threshold=1.5e-3, min_opacity=0.005
)


@cache
def scene_views(device, side: int | None = None) -> tuple[list[View], list[View]]:
    """Views of the ray-traced scene to train on, and others from between them."""
    size = {"width": side or SCENE_SIZE, "height": side or SCENE_SIZE, "device": device}
    held_out = ray_tracer.traced_views(HELD_OUT_VIEWS, phase=ray_tracer.HELD_OUT, **size)
    return ray_tracer.traced_views(SCENE_VIEWS, **size), held_out


def background(device) -> Tensor:
    return torch.tensor(ray_tracer.BACKGROUND, device=device)


def scene_start(seed: int, device, *, sh_degree: int = 2, gap: float = 0.6, count: int | None = None) -> Gaussians:
    """From points on the surfaces, as structure from motion would find them. Scales are `gap` times the usual ones."""
    points = ray_tracer.scene_points(count or SCENE_POINTS, torch.Generator().manual_seed(seed))
    start = gaussians_from_points(*(part.to(device) for part in points), sh_degree=sh_degree, initial_opacity=0.5)
    return start._replace(log_scales=start.log_scales + math.log(gap))


def fitted_scene(start: Gaussians, views: Sequence[View], seed: int, callback=None, **options) -> Gaussians:
    """Options of `fit_scene` may differ from those of the check."""
    device = start.means.device
    others = {
        "steps": SCENE_STEPS, "density": DENSITY, "sh_every": SH_EVERY, "final_lr": 0.03, "learning_rates": SCENE_RATES,
        "background": background(device), "generator": torch.Generator(device).manual_seed(seed),
    }  # fmt: skip
    return fit_scene(start, views, callback=callback, **others | options)


# --- judging ----------------------------------------------------------------------------------------------------------


@torch.no_grad()
def shown(gaussians: Gaussians, view: View, behind: Tensor) -> Tensor:
    """The image (H, W, 3) of the Gaussians in the camera of the view, in [0, 1]."""
    height, width, _ = view.image.shape
    return render(gaussians, view.viewmat, view.K, width, height, background=behind).image.clamp(0, 1)


def mean_psnr(gaussians: Gaussians, views: Sequence[View], behind: Tensor) -> float:
    """The mean over the views of their PSNR, in dB."""
    pairs = [(shown(gaussians, view, behind), view.image) for view in views]
    return sum(float(psnr(*(x.permute(2, 0, 1)[None] for x in pair))) for pair in pairs) / len(pairs)


# --- what it costs ----------------------------------------------------------------------------------------------------


def work_per_step(train) -> Work:
    """Of `train(steps)`: the work of ten steps less that of two."""
    more, less = work_of(lambda: train(10)), work_of(lambda: train(2))
    return Work(*((a - b) / 8 for a, b in zip(more, less, strict=True)))


def work_of_photograph(device) -> Work:
    view = photograph(device)
    return work_per_step(lambda steps: fitted_photograph(view, 0, steps=steps)).times(PHOTO_STEPS)


def work_of_scene(device) -> Work:
    """As if all of its steps had four times the Gaussians that it begins with."""
    start, views = scene_start(0, device, count=4 * SCENE_POINTS), scene_views(device)[0]
    return work_per_step(lambda steps: fitted_scene(start, views, 0, steps=steps, density=None)).times(SCENE_STEPS)
