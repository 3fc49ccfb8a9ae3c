"""The pictures of the README, drawn from the solutions. `python -m katas figures splatting`"""

import torch
import torch.nn.functional as F
from matplotlib.patches import Ellipse
from sklearn.datasets import load_sample_image
from torch import Tensor

from katas.lab.checks.plots import new_figure, save
from katas.splatting.cameras import look_at, project_points, world_to_camera
from katas.splatting.compositing import composite
from katas.splatting.given import pictures, ray_tracer, recipes
from katas.splatting.given.views import matrix
from katas.splatting.image_losses import psnr, ssim
from katas.splatting.initialisation import gaussians_from_points
from katas.splatting.projection import project_gaussians
from katas.splatting.rasterizer import rasterize
from katas.splatting.rotations import covariances, quats_to_rotmats
from katas.splatting.scene_training import DensityControl
from katas.splatting.spherical_harmonics import eval_sh
from katas.splatting.tiles import tile_intersections


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def ellipse(covar: Tensor, centre: Tensor, **style) -> Ellipse:
    """Two standard deviations of a 2 x 2 covariance."""
    squares, axes = torch.linalg.eigh(covar)
    angle = float(torch.rad2deg(torch.atan2(axes[1, 1], axes[0, 1])))
    width, height = (4 * squares.flip(0).sqrt()).tolist()
    return Ellipse(centre.tolist(), width, height, angle=angle, facecolor="none", linewidth=1.2, **style)


def shapes(path) -> None:
    """Points of three Gaussians in the plane, and their axes: the columns of R times the scales."""
    figure, axes = new_figure(1, 3, size=(2.3, 2.0))
    cases = [
        ("scales (1, 1)", 0, (1, 1)),
        ("scales (2, 0.5)", 0, (2, 0.5)),
        ("and turned by 40° about z", 40, (2, 0.5)),
    ]
    for axis, (title, degrees, scales) in zip(axes, cases, strict=True):
        half = torch.tensor(degrees / 2).deg2rad()
        quats, scales = torch.stack((half.cos(), half * 0, half * 0, half.sin())), torch.tensor([*scales, 0.1])
        covars, columns = covariances(scales, quats), quats_to_rotmats(quats) * scales
        points = normal(500, 3) @ torch.linalg.cholesky(covars).mT
        axis.scatter(*points[:, :2].T, s=1.5, linewidths=0, alpha=0.5)
        axis.add_patch(ellipse(covars[:2, :2], torch.zeros(2), edgecolor="black"))
        for column, color in ((0, "#d62728"), (1, "#2ca02c")):
            axis.annotate(
                "", columns[:2, column].tolist(), (0, 0), arrowprops={"arrowstyle": "->", "color": color, "lw": 1.8}
            )
        axis.set(xlim=(-5.5, 5.5), ylim=(-5, 5), aspect="equal", xticks=[], yticks=[])
        axis.set_title(title, fontsize=7, pad=3)
    save(figure, path)


def camera(path) -> None:
    """A box with a flag on its top, from three sides. The world has z up; in an image y grows downwards."""
    corners = torch.tensor([(x, y, z) for x in (-1, 1) for y in (-0.6, 0.6) for z in (0, 1)]).float()
    lines = [
        (corners[a], corners[b]) for a in range(8) for b in range(a) if ((corners[a] - corners[b]) != 0).sum() == 1
    ]
    flag = [torch.tensor(point).float() for point in ((1, 0, 1), (1, 0, 2), (0.3, 0, 1.75), (1, 0, 1.5))]
    figure, axes = new_figure(1, 3, size=(2.3, 1.8))
    for axis, eye in zip(axes, ((0, -5, 1), (4, -3, 2.5), (-3, 4, 1)), strict=True):
        viewmat = look_at(torch.tensor(eye).float(), torch.tensor((0, 0, 0.7)), torch.tensor((0.0, 0, 1)))
        K = matrix(90, 90, 48, 36).float()
        for points, color in [(pair, "#1f77b4") for pair in lines] + [(flag, "#d62728")]:
            at = project_points(world_to_camera(torch.stack(tuple(points)), viewmat), K).points2d
            axis.plot(*at.T, color=color, linewidth=1.2)
        axis.set(xlim=(0, 96), ylim=(72, 0), aspect="equal")
        axis.tick_params(labelsize=5)
        axis.set_title(f"from {eye}", fontsize=7, pad=3)
    save(figure, path)


def perspective(path) -> None:
    """Points of a Gaussian as a camera sees them, and the ellipse of J Σ J^T: small, near, and beside the axis."""
    K, viewmat = matrix(60, 60, 48, 36).float(), torch.eye(4)
    figure, axes = new_figure(1, 3, size=(2.3, 1.8))
    cases = [
        ("far away: an ellipse", (0, 0, 6), 0.5),
        ("near: not quite", (0, 0, 2.2), 0.5),
        ("beside it: a comet", (0.9, 0.5, 1.6), 0.35),
    ]
    for axis, (title, mean, size) in zip(axes, cases, strict=True):
        mean, root = torch.tensor(mean).float(), size * torch.tensor([[1, 0, 0], [0.3, 0.4, 0], [0.2, 0.2, 0.8]])
        at = project_points(mean + normal(1500, 3) @ root.mT, K)
        flat = project_gaussians(mean[None], (root @ root.mT)[None], viewmat, K, 96, 72)
        axis.scatter(*at.points2d[at.in_front].T, s=1.2, linewidths=0, alpha=0.5)
        axis.add_patch(ellipse(flat.covars2d[0], flat.means2d[0], edgecolor="#d62728"))
        axis.set(xlim=(0, 96), ylim=(72, 0), aspect="equal", xticks=[], yticks=[])
        axis.set_title(title, fontsize=7, pad=3)
    save(figure, path)


def gaps(path) -> None:
    """Points of a plane, dense on the left, and the circles that Gaussians begin with: one standard deviation."""
    points = torch.rand(130, 3, generator=torch.Generator().manual_seed(2)) * torch.tensor([3, 1, 0])
    points = points[torch.rand(130, generator=torch.Generator().manual_seed(1)) < 0.9 - 0.27 * points[:, 0]]
    start = gaussians_from_points(points, points / 3)
    figure, (axis,) = new_figure(1, 1, size=(5.4, 1.9))
    for mean, scale in zip(start.means, start.log_scales[:, 0].exp(), strict=True):
        axis.add_patch(Ellipse(mean[:2].tolist(), 2 * float(scale), 2 * float(scale), alpha=0.25, edgecolor="#1f77b4"))
    axis.scatter(*points[:, :2].T, s=5, color="black", zorder=3)
    axis.set(xlim=(-0.1, 3.1), ylim=(-0.1, 1.1), aspect="equal", xticks=[], yticks=[])
    save(figure, path)


def pixels(path) -> None:
    """Four Gaussians and their image in 24 by 16 pixels, then without those that are behind, then sorted wrongly."""
    means = torch.tensor([(-0.6, -0.3, 3.0), (0.2, 0.1, 4), (0.9, -0.2, 3.5), (0.1, 0.5, 5)])
    roots = torch.stack([0.4 * normal(3, 3, seed=n) for n in (3, 11, 5, 8)])
    flat = project_gaussians(means, roots @ roots.mT, torch.eye(4), matrix(24, 24, 12, 8).float(), 24, 16)
    colors = torch.tensor([(0.85, 0.2, 0.2), (0.2, 0.6, 0.25), (0.2, 0.3, 0.85), (0.95, 0.75, 0.2)])
    given = colors, torch.full((4,), 0.9), torch.ones(3), 24, 16
    cases = {
        "front to back": flat, "back to front": flat._replace(depths=-flat.depths),
        "pixel centres without + 0.5": flat._replace(means2d=flat.means2d + 0.5),
    }  # fmt: skip
    figure, axes = new_figure(1, 3, size=(2.3, 1.75))
    for axis, (title, case) in zip(axes, cases.items(), strict=True):
        axis.imshow(rasterize(case, *given).clamp(0, 1), extent=(0, 24, 16, 0), interpolation="nearest")
        for n in range(4):
            axis.add_patch(ellipse(flat.covars2d[n], flat.means2d[n], edgecolor=(colors[n] * 0.6).tolist()))
        axis.set(xlim=(0, 24), ylim=(16, 0), xticks=[], yticks=[])
        axis.set_title(title, fontsize=7, pad=3)
    save(figure, path)


def lists(path) -> None:
    """How many Gaussians touch each tile of 8 x 8 pixels, in a fitted photograph."""
    view, black = recipes.photograph("cpu", (120, 80)), torch.zeros(3)
    fitted = recipes.fitted_photograph(view, 0, steps=150, count=700)
    flat = project_gaussians(
        fitted.means, covariances(fitted.log_scales.exp(), fitted.quats), view.viewmat, view.K, 120, 80
    )
    reach = (
        2 * (255 * fitted.opacity_logits.sigmoid()).log().clamp(min=0)[:, None] * flat.covars2d.diagonal(0, 1, 2)
    ).sqrt()
    counts = tile_intersections(flat.means2d, reach, flat.depths, 120, 80).offsets.diff().reshape(10, 15)
    figure, axes = new_figure(1, 2, size=(3.4, 2.1))
    axes[0].imshow(recipes.shown(fitted, view, black))
    axes[1].imshow(counts, cmap="viridis", vmin=0)
    for row in range(10):
        for column in range(15):
            axes[1].text(column, row, int(counts[row, column]), color="white", fontsize=4.5, ha="center", va="center")
    titles = f"{len(fitted.means)} Gaussians", f"of these, in each tile: {float(counts.float().mean()):.0f} on average"
    for axis, title in zip(axes, titles, strict=True):
        axis.axis("off")
        axis.set_title(title, fontsize=7, pad=3)
    save(figure, path)


def steps(path) -> None:
    """A photograph and 700 Gaussians on their way to it."""
    view, images = recipes.photograph("cpu", (120, 80)), {}
    for steps in (0, 10, 30, 100, 300):
        fitted = recipes.fitted_photograph(view, 0, steps=steps, count=700)
        found = recipes.mean_psnr(fitted, [view], torch.zeros(3))
        images[f"after {steps} steps, {found:.1f} dB"] = recipes.shown(fitted, view, torch.zeros(3))
    pictures.strip(path, images | {"the photograph": view.image}, columns=3)


def ellipses(path) -> None:
    """A photograph of 700 Gaussians, and the Gaussians."""
    view = recipes.photograph("cpu", (120, 80))
    fitted = recipes.fitted_photograph(view, 0, steps=300, count=700)
    pictures.ellipses(path, fitted, view, torch.zeros(3))


def density(path) -> None:
    """400 steps from 300 points, with density control and without."""
    (train, held_out), behind = recipes.scene_views("cpu", 64), recipes.background("cpu")
    control, images = DensityControl(0.08, start=49, until=251, every=50, reset_every=999, grad_threshold=2.5e-3), {}
    for title, option in (("without", None), ("density control", control)):
        start = recipes.scene_start(0, "cpu", count=300)
        fitted = recipes.fitted_scene(start, train, 0, steps=400, density=option, sh_every=130)
        found = recipes.mean_psnr(fitted, held_out, behind)
        images[f"{title}:\n{len(fitted.means)} Gaussians, {found:.1f} dB"] = recipes.shown(fitted, held_out[1], behind)
    pictures.strip(path, images | {"the truth": held_out[1].image})


def scene(path) -> None:
    """Six of the thirty views that a scene is fitted to."""
    views = ray_tracer.traced_views(30, width=128, height=96)[::5]
    pictures.strip(path, {f"view {5 * n}": view.image for n, view in enumerate(views)})


def harmonics(path) -> None:
    """The sixteen functions on the sphere, each as a map: longitude to the right, the z axis upwards."""
    angle, height = torch.meshgrid(torch.linspace(-3.14, 3.14, 61), torch.linspace(0.99, -0.99, 31), indexing="xy")
    ring = (1 - height**2).sqrt()
    directions = torch.stack([ring * angle.cos(), ring * angle.sin(), height], dim=-1).reshape(-1, 3)
    figure, axes = new_figure(4, 7, size=(1.0, 0.62))
    for axis in axes:
        axis.axis("off")
    for degree in range(4):
        for order in range(-degree, degree + 1):
            k = degree**2 + degree + order
            sh = torch.zeros(len(directions), 16, 3)
            sh[:, k] = 0.5
            axis = axes[7 * degree + 3 + order]
            axis.imshow(eval_sh(3, sh, directions)[:, 0].reshape(angle.shape), cmap="RdBu_r", vmin=0, vmax=1)
            axis.set_title(f"Y{k}", fontsize=6, pad=2)
    save(figure, path)


def order(path) -> None:
    """What a row of pixels shows of two soft blobs, red before blue and blue before red, on black and on white."""
    x = torch.linspace(0, 1, 200)
    red, blue = (0.95 * torch.exp(-(((x - centre) / 0.16) ** 2)) for centre in (0.38, 0.62))
    colors = torch.tensor([[0.85, 0.15, 0.15], [0.15, 0.25, 0.85]])
    figure, axes = new_figure(2, 2, size=(3.2, 0.75))
    rows = [("red in front", (red, blue), colors), ("blue in front", (blue, red), colors.flip(0))]
    for n, (name, alphas, front_first) in enumerate(rows):
        for m, (ground, background) in enumerate((("black", torch.zeros(3)), ("white", torch.ones(3)))):
            picture = composite(torch.stack(alphas, dim=-1), front_first.expand(200, 2, 3), background).color
            axis = axes[2 * n + m]
            axis.imshow(picture.expand(24, 200, 3), aspect="auto")
            axis.set_title(f"{name}, on {ground}", fontsize=7, pad=3)
            axis.axis("off")
    save(figure, path)


def measures(path) -> None:
    """Three changes of a photograph with the same PSNR."""
    photograph = torch.tensor(load_sample_image("china.jpg")).permute(2, 0, 1)[None].float() / 255
    photograph = F.interpolate(photograph, size=(213, 320), mode="area")
    noise = torch.randn(photograph.shape, generator=torch.Generator().manual_seed(0))
    blurred = F.avg_pool2d(F.pad(photograph, (4, 4, 4, 4), mode="reflect"), 9, stride=1)
    changed = {
        "the photograph": photograph, "0.1 brighter": (photograph + 0.1).clamp(0, 1),
        "blurred, 9 × 9": blurred, "noise of 0.1": (photograph + 0.1 * noise).clamp(0, 1),
    }  # fmt: skip
    figure, axes = new_figure(1, 4, size=(2.3, 1.75))
    for axis, (name, image) in zip(axes, changed.items(), strict=True):
        axis.imshow(image[0].permute(1, 2, 0))
        found = f"{float(psnr(image, photograph)):.1f} dB, SSIM {float(ssim(image, photograph)):.2f}"
        axis.set_title(name if image is photograph else f"{name}\n{found}", fontsize=7, pad=3)
        axis.axis("off")
    save(figure, path)


# file name in katas/splatting/figures/ → function that writes the picture to the path it is given
FIGURES = {
    "shapes.png": shapes, "camera.png": camera, "perspective.png": perspective, "harmonics.png": harmonics,
    "order.png": order, "measures.png": measures, "gaps.png": gaps, "pixels.png": pixels, "lists.png": lists,
    "steps.png": steps, "ellipses.png": ellipses, "density.png": density, "scene.png": scene,
}  # fmt: skip
