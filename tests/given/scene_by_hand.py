"""The ray traced scene once more, a ray at a time on Python floats. Only places, sizes and textures are shared."""

import math

import torch

from katas.splatting.given import ray_tracer
from katas.splatting.given.ray_tracer import SPHERES


def dot(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True))


def along(origin, distance, direction):
    return [o + distance * d for o, d in zip(origin, direction, strict=True)]


def unit(a):
    return [x / math.sqrt(dot(a, a)) for x in a]


def first_hit(origin, direction):
    """(distance, sphere or None for the ground), or (inf, None)."""
    hits = [(math.inf, None)]
    for sphere in SPHERES:
        offset = along(origin, -1, sphere.centre)
        b, c = dot(offset, direction), dot(offset, offset) - sphere.radius**2
        if b * b > c and -b - math.sqrt(b * b - c) > 0:
            hits.append((-b - math.sqrt(b * b - c), sphere))
    distance = -origin[2] / direction[2]
    if distance > 0 and max(map(abs, along(origin, distance, direction)[:2])) < ray_tracer.GROUND:
        hits.append((distance, None))
    return min(hits, key=lambda hit: hit[0])


def seen(origin, direction):
    distance, sphere = first_hit(origin, direction)
    if distance == math.inf:
        return ray_tracer.BACKGROUND
    point = along(origin, distance, direction)
    normal = unit(along(point, -1, sphere.centre)) if sphere else [0, 0, 1]
    texture, where = (sphere.texture, normal) if sphere else (ray_tracer.checker, point)
    light, albedo = ray_tracer.LIGHT, texture(torch.tensor([where], dtype=torch.float32)).flatten().tolist()
    lit = first_hit(along(point, 1e-3, normal), light)[0] == math.inf
    share = 0.35 + 0.65 * lit * max(0, dot(normal, light))
    shine = sphere.gloss * lit * max(0, dot(unit(along(light, -1, direction)), normal)) ** 20 if sphere else 0
    return [min(1, share * channel + shine) for channel in albedo]
