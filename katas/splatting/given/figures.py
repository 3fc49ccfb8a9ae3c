"""The pictures of the README, drawn from the solutions. `python -m katas figures splatting`"""

import torch
import torch.nn.functional as F
from sklearn.datasets import load_sample_image

from katas.lab.checks.plots import new_figure, save
from katas.splatting.compositing import composite
from katas.splatting.image_losses import psnr, ssim
from katas.splatting.spherical_harmonics import eval_sh


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
FIGURES = {"harmonics.png": harmonics, "order.png": order, "measures.png": measures}
