"""A scene that no Gaussian made: five spheres on a checkered square, ray traced from known cameras.

The world has z up, and the square lies at z = 0. Surfaces are Lambertian under one directional light, with an ambient
share and hard shadows. Two spheres have a soft highlight as well, so their colour depends on the direction of view.
Nothing is random but the points of `scene_points`: the same arguments give the same pictures, on any device.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from katas.splatting.given.views import View, matrix, posed, rows

BACKGROUND = (0.80, 0.83, 0.88)  # the colour of a ray that hits nothing
CENTRE, DISTANCE = (0.0, 0.0, 0.3), 4.0  # where all cameras look, and from how far
FOCAL = 1.2  # in shorter sides of the image
LIGHT, AMBIENT, SHININESS = (0.48, -0.36, 0.80), 0.35, 20  # LIGHT points towards the light and has length 1
GROUND = 1.6  # half the side of the square
GOLDEN_ANGLE = math.pi * (3 - math.sqrt(5))
HELD_OUT = 0.45  # a phase: each of 10 such views is 8° to 12° away from the nearest of 30 views of phase 0
RAYS = 3  # per pixel and axis


class Sphere(NamedTuple):
    """`texture` maps normals (R, 3) to colours (R, 3). `gloss` is the strength of the highlight."""

    centre: tuple[float, float, float]
    radius: float
    texture: Callable[[Tensor], Tensor]
    gloss: float = 0.0


def mixed(share: Tensor, first: tuple, second: tuple) -> Tensor:
    """`first` where share (R,) is 1, `second` where it is 0."""
    return torch.lerp(torch.tensor(second), torch.tensor(first), share[:, None])


def checker(points: Tensor) -> Tensor:
    """The ground: squares with soft edges, and a slow change of colour across them."""
    x, y = points[:, 0], points[:, 1]
    light = torch.sigmoid(12 * torch.sin(2 * math.pi * x / 1.1) * torch.sin(2 * math.pi * y / 1.1))
    dark = mixed(0.5 + 0.5 * torch.sin(1.3 * x + 0.9 * y), (0.55, 0.30, 0.22), (0.18, 0.36, 0.42))
    return torch.lerp(dark, torch.tensor((0.93, 0.90, 0.80)), light[:, None])


def swirls(normals: Tensor) -> Tensor:
    angles = 5 * torch.atan2(normals[:, 1], normals[:, 0]) + 4 * normals[:, 2]
    return mixed(torch.sigmoid(6 * torch.sin(angles)), (0.85, 0.20, 0.18), (0.95, 0.88, 0.76))


def spots(normals: Tensor) -> Tensor:
    waves = torch.sin(4.5 * normals + 0.5).prod(dim=-1)
    return mixed(torch.sigmoid(14 * (waves.abs() - 0.3)), (0.98, 0.84, 0.25), (0.16, 0.50, 0.27))


def bands(normals: Tensor) -> Tensor:
    return mixed(torch.sigmoid(5 * torch.sin(9 * normals[:, 2] + 0.6)), (0.88, 0.62, 0.20), (0.52, 0.27, 0.12))


def rainbow(normals: Tensor) -> Tensor:
    return 0.55 + 0.4 * torch.sin(3 * normals + torch.tensor((0.0, 2.0, 4.0)))


SPHERES = (
    Sphere((0.05, 0.10, 0.60), 0.60, swirls),
    Sphere((-0.90, 0.42, 0.36), 0.36, lambda normals: torch.tensor((0.16, 0.28, 0.72)), gloss=0.45),
    Sphere((0.75, -0.72, 0.33), 0.33, bands, gloss=0.35),
    Sphere((-0.48, -0.86, 0.30), 0.30, spots),
    Sphere((0.78, 0.80, 0.40), 0.40, rainbow),
)
CENTRES = torch.tensor([sphere.centre for sphere in SPHERES])
RADII = torch.tensor([sphere.radius for sphere in SPHERES])
ON_GROUND = len(SPHERES)  # the number of the ground among the things that a ray can hit


def traced_views(
    count: int, *, width: int = 96, height: int = 96, phase: float = 0.0, device: torch.device | str = "cpu"
) -> list[View]:
    """Views from a spiral on a dome, 18° to 65° above the ground. Each turns on by the golden angle.

    `phase` turns the spiral by a share of that angle. Views of `phase=HELD_OUT` stand between the training views.
    """
    elevations = [18 + 47 * (index + 0.5) / count for index in range(count)]
    viewmats = [_on_dome(GOLDEN_ANGLE * (index + phase), angle) for index, angle in enumerate(elevations)]
    K = _intrinsics(width, height)
    views = [View(render(viewmat, K, width=width, height=height), viewmat, K) for viewmat in viewmats]
    return [View(*(field.to(device) for field in view)) for view in views]


def orbit(count: int, *, width: int = 96, height: int = 96, elevation: float = 30.0) -> tuple[Tensor, Tensor]:
    """The cameras of a turntable, once around: viewmats (count, 4, 4) and the K of all. `elevation` is in degrees."""
    viewmats = [_on_dome(2 * math.pi * index / count, elevation) for index in range(count)]
    return torch.stack(viewmats), _intrinsics(width, height)


def scene_points(count: int, generator: torch.Generator, *, noise: float = 0.01) -> tuple[Tensor, Tensor]:
    """Points (count, 3) on the surfaces and their Lambertian colours, as structure from motion would give them.

    They are uniform per area. `noise` is the standard deviation of each coordinate and channel. Colours are clamped.
    """
    areas = torch.cat((4 * math.pi * RADII**2, torch.tensor([4 * GROUND**2])))
    chosen = torch.multinomial(areas, count, replacement=True, generator=generator)
    outwards = F.normalize(torch.randn(count, 3, generator=generator), dim=-1)
    flat = (2 * torch.rand(count, 3, generator=generator) - 1) * torch.tensor((GROUND, GROUND, 0))
    sphere = chosen.clamp(max=ON_GROUND - 1)
    points = torch.where(chosen[:, None] == ON_GROUND, flat, CENTRES[sphere] + RADII[sphere, None] * outwards)
    colors = shade(points, chosen) + noise * torch.randn(count, 3, generator=generator)
    return points + noise * torch.randn(count, 3, generator=generator), colors.clamp(0, 1)


def render(viewmat: Tensor, K: Tensor, *, width: int, height: int) -> Tensor:
    """The image (height, width, 3). Each pixel is the mean of 3 × 3 rays."""
    y, x = torch.meshgrid(*((torch.arange(side * RAYS) + 0.5) / RAYS for side in (height, width)), indexing="ij")
    in_camera = torch.stack([(x - K[0, 2]) / K[0, 0], (y - K[1, 2]) / K[1, 1], torch.ones_like(x)], dim=-1)
    rotation, translation = viewmat[:3, :3], viewmat[:3, 3]
    directions = F.normalize(in_camera.reshape(-1, 3) @ rotation, dim=-1)  # R.T @ d, for rows d
    colors = trace((-translation @ rotation).expand(directions.shape), directions)
    return colors.reshape(height, RAYS, width, RAYS, 3).mean(dim=(1, 3))


def trace(origins: Tensor, directions: Tensor) -> Tensor:
    """The colour (R, 3) that each ray sees. `directions` have length 1."""
    distances, hit = _first_hit(origins, directions)
    found = distances.isfinite()
    colors = torch.tensor(BACKGROUND).repeat(len(origins), 1)
    points = origins[found] + distances[found, None] * directions[found]
    colors[found] = shade(points, hit[found], directions[found])
    return colors


def shade(points: Tensor, hit: Tensor, directions: Tensor | None = None) -> Tensor:
    """The colours (R, 3) of points on the sphere `hit` (R,), or on the ground where `hit` is ON_GROUND.

    They are Lambertian. `directions` of view add the highlights.
    """
    normals = F.normalize(points - CENTRES[hit.clamp(max=ON_GROUND - 1)], dim=-1)
    normals[hit == ON_GROUND] = torch.tensor((0.0, 0.0, 1.0))
    colors = torch.empty_like(points)
    for index, texture in enumerate((*(sphere.texture for sphere in SPHERES), checker)):
        here = hit == index
        colors[here] = texture(points[here] if texture is checker else normals[here])
    light = torch.tensor(LIGHT)
    lit = _first_hit(points + 1e-3 * normals, light.expand(points.shape))[0].isinf()
    colors *= (AMBIENT + (1 - AMBIENT) * lit * (normals @ light).clamp(min=0))[:, None]
    if directions is not None:
        gloss = torch.tensor([sphere.gloss for sphere in SPHERES] + [0.0])[hit]
        half_way = F.normalize(light - directions, dim=-1)
        colors += (gloss * lit * (half_way * normals).sum(dim=-1).clamp(min=0) ** SHININESS)[:, None]
    return colors.clamp(0, 1)


def _first_hit(origins: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
    """How far (R,) each ray goes, infinite where it hits nothing, and what it hits first."""
    towards = CENTRES @ directions.T - (origins * directions).sum(dim=-1)  # (spheres, R): how far to the middle
    squared_distances = (CENTRES**2).sum(dim=-1, keepdim=True) - 2 * CENTRES @ origins.T + (origins**2).sum(dim=-1)
    half_chords = (towards**2 - squared_distances + RADII[:, None] ** 2).sqrt()  # NaN where the ray misses
    to_ground = -origins[:, 2] / directions[:, 2]
    beside = (origins + to_ground[:, None] * directions)[:, :2].abs().amax(dim=-1) >= GROUND
    distances = torch.cat([towards - half_chords, to_ground.masked_fill(beside, torch.inf)[None]])
    return torch.where(distances > 0, distances, torch.inf).min(dim=0)


def _intrinsics(width: int, height: int) -> Tensor:
    focal = FOCAL * min(width, height)
    return matrix(focal, focal, width / 2, height / 2).float()


def _on_dome(azimuth: float, elevation: float) -> Tensor:
    """The viewmat of a camera that looks at CENTRE: `azimuth` in radians, `elevation` in degrees."""
    ca, sa = math.cos(azimuth), math.sin(azimuth)
    ce, se = math.cos(math.radians(elevation)), math.sin(math.radians(elevation))
    rotation = rows((-sa, ca, 0), (se * ca, se * sa, -ce), (-ce * ca, -ce * sa, -se))  # right, down, forward
    return posed(rotation, -rotation @ (rows(*CENTRE) - DISTANCE * rotation[2])).float()
