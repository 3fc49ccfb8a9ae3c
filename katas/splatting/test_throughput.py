"""How fast: an image and its gradients, by tiles and by brute force. `pytest katas/splatting -m benchmark`

10,000 Gaussians of one to three pixels in an image of 256 × 256. A round is the image and the gradients of means2d,
conics, colours and opacities. `tile loop` is the peer: a Python loop over tiles of 64 pixels (`given/tile_loop.py`).

Brute force makes 655 million pairs. So it goes through bands of eight rows: the time of two bands stands for all 32.

On the CPU everything runs on one thread. The promises that the solution keeps are ratios in one run: by tiles at least
10 times as fast as by brute force, and at least 2 times as fast as the tile loop.
"""

import importlib
import math
import statistics
import time
from functools import partial

import pytest
import torch

from katas.lab.checks.speed import in_turns, ratio, told
from katas.splatting.given.tile_loop import tile_loop

pytestmark = [pytest.mark.benchmark, pytest.mark.usefixtures("one_thread")]
DEVICES = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
COUNT, SIDE, BAND, BANDS = 10_000, 256, 8, 2
WHO = {"yours": "katas", "solution": "solutions"}


def scene(device: str, tree: str):
    """Projected Gaussians of that tree's type, their colours, opacities and a background."""
    generator = torch.Generator().manual_seed(0)
    means2d, sizes, angles, depths, colors, opacities = (
        torch.rand(COUNT, *shape, generator=generator) for shape in [(2,), (2,), (), (), (3,), ()]
    )
    cos, sin = (2 * math.pi * angles).cos(), (2 * math.pi * angles).sin()
    axes = torch.stack((cos, -sin, sin, cos), dim=1).reshape(-1, 2, 2) * (1 + 2 * sizes)[:, None]
    covars2d = axes @ axes.mT + 0.3 * torch.eye(2)
    conics = covars2d.inverse().flatten(1)[:, [0, 1, 3]]
    radii = (3 * torch.linalg.eigvalsh(covars2d)[:, 1].sqrt()).ceil().long()
    kind = importlib.import_module(f"{tree}.splatting.projection").ProjectedGaussians
    projected = kind(SIDE * means2d, depths, covars2d, conics, radii)
    others = colors, 0.05 + 0.9 * opacities, torch.zeros(3)
    return kind(*(part.to(device) for part in projected)), *(part.to(device) for part in others)


def round_of(rasterizer, given, height=SIDE, top=0):
    """The image of some rows and its gradients."""
    projected, colors, opacities, background = given
    leaves = [x.clone().requires_grad_() for x in (projected.means2d, projected.conics, colors, opacities)]
    moved = projected._replace(means2d=leaves[0] - leaves[0].new_tensor([0, top]), conics=leaves[1])
    image = rasterizer(moved, *leaves[2:], background, SIDE, height)
    gradients = torch.autograd.grad(image.square().sum(), leaves)
    if image.is_cuda:
        torch.cuda.synchronize()
    return image, gradients


def tiled_of(tree: str):
    return importlib.import_module(f"{tree}.splatting.tiles").rasterize_tiled


def seconds(task) -> float:
    start = time.perf_counter()
    task()
    return time.perf_counter() - start


def images(device: str, *who: str):
    return {
        each: partial(
            round_of, tiled_of(WHO[each]) if each in WHO else tile_loop, scene(device, WHO.get(each, "solutions"))
        )
        for each in who
    }


@pytest.mark.parametrize("device", DEVICES)
def test_speed(record_property, device):
    times = told(in_turns(images(device, *WHO, "tile loop")))
    record_property("speed", f"{SIDE} × {SIDE} pixels and gradients, {COUNT:,} Gaussians on {device}: {times}")


def test_tiles_are_faster_than_a_loop_over_tiles(record_property):
    tasks = images("cpu", "solution", "tile loop")
    (one, _), (other, _) = (task() for task in tasks.values())
    assert (one - other).abs().mean() < 2 / 255, "the two show the same image: the loop draws to three deviations"
    found = ratio(in_turns(tasks), "tile loop", "solution")
    record_property("speed", f"rasterize_tiled, solution: {found:.1f} times as fast as a loop over tiles")
    assert found >= 2, f"{found:.2f} times as fast as the loop over tiles; promised is 2"


def test_tiles_are_faster_than_brute_force(record_property):
    given, ours = scene("cpu", "solutions"), tiled_of("solutions")
    brute_force = importlib.import_module("solutions.splatting.rasterizer").rasterize
    image, _ = round_of(ours, given)
    for top in range(0, SIDE, SIDE // BANDS):
        band, _ = round_of(brute_force, given, BAND, top)
        torch.testing.assert_close(image[top : top + BAND], band, rtol=0, atol=1e-4)
    share = SIDE / BAND / BANDS
    tops = range(0, SIDE, SIDE // BANDS)
    theirs = share * sum(seconds(lambda top=top: round_of(brute_force, given, BAND, top)) for top in tops)
    own = statistics.median(seconds(lambda: round_of(ours, given)) for _ in range(5))
    record_property("speed", f"rasterize_tiled, solution: {theirs / own:.0f} times as fast as brute force")
    assert theirs / own >= 10, f"{theirs / own:.1f} times as fast as brute force; promised is 10"
