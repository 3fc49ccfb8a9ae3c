"""Pictures of a fit: next to the truth, over the steps, as ellipses, and all around."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from matplotlib.patches import Ellipse
from PIL import Image
from torch import Tensor

from katas.lab.checks.plots import new_figure, save
from katas.splatting.given import ray_tracer
from katas.splatting.given.gaussians import Gaussians
from katas.splatting.given.recipes import mean_psnr, shown
from katas.splatting.given.views import View
from katas.splatting.projection import project_gaussians
from katas.splatting.rotations import covariances
from katas.splatting.spherical_harmonics import eval_sh

ERRORS_TO = 0.25  # the brightest of an error map


def comparison(path: Path, gaussians: Gaussians, views: Sequence[View], behind: Tensor) -> Path:
    """A row for each view: the truth, the Gaussians, and the error of the mean channel."""
    figure, axes = new_figure(len(views), 3, size=(2.4, 1.75))
    for row, view in enumerate(views):
        image = shown(gaussians, view, behind)
        error = (image - view.image).abs().mean(dim=2)
        panels = {
            "truth": view.image,
            f"{len(gaussians.means)} Gaussians, {mean_psnr(gaussians, [view], behind):.1f} dB": image,
            f"absolute error, white is {ERRORS_TO}": (error / ERRORS_TO).clamp(max=1),
        }
        for axis, (title, panel) in zip(axes[3 * row : 3 * row + 3], panels.items(), strict=True):
            _show(axis, panel, title)
    return save(figure, path)


def strip(path: Path, images: Mapping[str, Tensor], *, columns: int = 6) -> Path:
    """Images (H, W, 3) side by side, by title."""
    figure, axes = new_figure(-(-len(images) // columns), min(columns, len(images)), size=(1.8, 1.5))
    for axis in axes:
        axis.axis("off")
    for axis, (title, image) in zip(axes, images.items(), strict=False):
        _show(axis, image, title)
    return save(figure, path)


@torch.no_grad()
def ellipses(path: Path, gaussians: Gaussians, view: View, behind: Tensor, *, most: int = 3000) -> Path:
    """The image, and each Gaussian as the ellipse of one standard deviation in its colour, the nearest on top."""
    height, width, _ = view.image.shape
    covars = covariances(gaussians.log_scales.exp(), gaussians.quats)
    flat = project_gaussians(gaussians.means, covars, view.viewmat, view.K, width, height)
    directions = gaussians.means + view.viewmat[:3, :3].mT @ view.viewmat[:3, 3]
    colors = eval_sh(round(gaussians.sh.shape[1] ** 0.5) - 1, gaussians.sh, directions).clamp(0, 1)
    squares, axes_of = torch.linalg.eigh(flat.covars2d.cpu())
    angles = torch.rad2deg(torch.atan2(axes_of[:, 1, 1], axes_of[:, 0, 1]))
    figure, panels = new_figure(1, 2, size=(4.2, 4.2 * height / width))
    _show(panels[0], shown(gaussians, view, behind), "the image")
    nearest_last = flat.depths.argsort(descending=True)
    seen = nearest_last[flat.radii[nearest_last] > 0][-most:].tolist()
    for n in seen:
        size = 2 * squares[n].sqrt()
        ellipse = Ellipse(
            flat.means2d[n].tolist(), float(size[1]), float(size[0]), angle=float(angles[n]), linewidth=0.3
        )
        ellipse.set(facecolor=colors[n].tolist(), edgecolor="black", alpha=0.8)
        panels[1].add_patch(ellipse)
    panels[1].set(xlim=(0, width), ylim=(height, 0), aspect="equal", xticks=[], yticks=[])
    panels[1].set_title(f"{len(seen)} Gaussians, one standard deviation each", fontsize=7, pad=3)
    return save(figure, path)


def turntable(path: Path, gaussians: Gaussians, behind: Tensor, *, frames: int = 36, size: int = 160) -> Path:
    """Once around the ray-traced scene, as a GIF."""
    viewmats, K = ray_tracer.orbit(frames, width=size, height=size)
    blank = torch.zeros(size, size, 3, device=behind.device)
    images = [shown(gaussians, View(blank, *(x.to(behind.device) for x in (v, K))), behind) for v in viewmats]
    pictures = [Image.fromarray((255 * image).round().byte().cpu().numpy()) for image in images]
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=80, loop=0)
    return Path(path)


def _show(axis, image: Tensor, title: str) -> None:
    axis.imshow(image.detach().cpu().numpy(), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    axis.set_title(title, fontsize=7, pad=3)
    axis.axis("off")
