"""Handwritten digits painted on photographs, for the scenes of detection and the frames of active learning.

The digits are scikit-learn's, the photographs its two sample images. The train and the test split share neither a digit
nor a part of a photograph. A mask is an opacity (height, width) in [0, 1]; a canvas is float32 (height, width, 3).
"""

from functools import cache

import numpy as np
from PIL import Image

MIN_SIZE, MAX_SIZE = 12, 32  # height of a digit in pixels


@cache
def glyphs(split: str) -> list[tuple[np.ndarray, int]]:
    """(ink in [0, 1] without empty borders, label) for each digit of the split: every fourth digit is a test
    digit."""
    from sklearn.datasets import load_digits  # takes as long as the rest of a spec that needs none

    digits = load_digits()
    glyphs = []
    for index, (ink, label) in enumerate(zip(digits.images, digits.target, strict=True)):
        if (index % 4 == 3) == (split == "test"):
            rows, columns = np.nonzero(ink >= 10)
            tight = ink[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
            if (tight >= 8).mean() < 0.9:  # some ones are nothing but a bar, which could be anything
                glyphs.append(((tight / 16).astype(np.float32), int(label)))
    return glyphs


@cache
def photographs(split: str) -> list[Image.Image]:
    """The left 70 % of each photograph is for training, the rest for testing."""
    from sklearn.datasets import load_sample_images

    parts = []
    for photograph in load_sample_images().images:
        border = int(photograph.shape[1] * 0.7)
        part = photograph[:, :border] if split == "train" else photograph[:, border:]
        parts.append(Image.fromarray(np.ascontiguousarray(part)))
    return parts


def background(rng: np.random.Generator, photographs: list[Image.Image], size: int) -> np.ndarray:
    """A random crop of a photograph, perhaps mirrored, as a float32 canvas (size, size, 3)."""
    photograph = photographs[rng.integers(len(photographs))]
    crop = rng.uniform(0.4, 1.0) * min(photograph.size)
    left, top = rng.uniform(0, photograph.width - crop), rng.uniform(0, photograph.height - crop)
    box = (left, top, left + crop, top + crop)
    canvas = np.asarray(photograph.resize((size, size), Image.Resampling.BILINEAR, box=box), dtype=np.float32)
    return canvas[:, ::-1].copy() if rng.random() < 0.5 else canvas.copy()


def render(rng: np.random.Generator, ink: np.ndarray) -> np.ndarray:
    """The digit as an opacity mask (height, width) whose ink touches all four borders."""
    height = int(rng.integers(MIN_SIZE, MAX_SIZE + 1))
    width = round(height * ink.shape[1] / ink.shape[0] * rng.uniform(0.8, 1.2))
    return _sharpen(_enlarge(ink, height, min(max(width, height // 2), MAX_SIZE)))


def _enlarge(ink: np.ndarray, height: int, width: int) -> np.ndarray:
    return np.asarray(Image.fromarray(ink).resize((width, height), Image.Resampling.BICUBIC))


def _sharpen(ink: np.ndarray) -> np.ndarray:
    """A soft threshold: an enlarged 8×8 digit looks drawn with a pen, not out of focus."""
    return np.clip((ink - 0.3) / 0.35, 0, 1)


def clutter(rng: np.random.Generator, ink: np.ndarray) -> np.ndarray:
    """Something with the texture of a digit that is none: a torn-off corner of one, or a thin scribble."""
    corner = ink[: (ink.shape[0] + 1) // 2, : (ink.shape[1] + 1) // 2]
    if rng.random() < 0.5 and corner.mean() < 0.6:  # a corner that is all ink could be a 1
        corner = np.ascontiguousarray(corner[:: rng.choice((-1, 1)), :: rng.choice((-1, 1))])
        return _sharpen(_enlarge(corner, *rng.integers(6, 15, size=2)))
    size = int(rng.integers(10, 31))
    time = np.linspace(0, 1, 200)
    frequency, phase = rng.uniform(0.2, 1.2, size=2), rng.uniform(0, 2 * np.pi, size=2)
    wave = 0.5 + 0.42 * np.sin(2 * np.pi * frequency[:, None] * time + phase[:, None])
    mask = np.zeros((size, size), dtype=np.float32)
    mask[tuple((wave * (size - 1)).round().astype(int))] = 1
    return mask


def free_place(rng, taken: list, shape: tuple[int, int], canvas_shape: tuple[int, int]):
    """(left, top, right, bottom) for a mask that overlaps nothing in `taken`; None if ten tries find none."""
    for _ in range(10):
        left, top = rng.integers(canvas_shape[1] - shape[1] + 1), rng.integers(canvas_shape[0] - shape[0] + 1)
        right, bottom = left + shape[1], top + shape[0]
        if all(right <= l or r <= left or bottom <= t or b <= top for l, t, r, b in taken):
            return int(left), int(top), int(right), int(bottom)
    return None


def blend(rng: np.random.Generator, patch: np.ndarray, mask: np.ndarray) -> None:
    """Paints `mask` on `patch`, in place, in a random colour whose brightness differs from what lies under
    it."""
    brightness = patch.mean()
    contrast = rng.uniform(60, 140)
    lighter = brightness + contrast < 250 and (brightness < 110 or rng.random() < 0.5)
    target = brightness + contrast if lighter else max(brightness - contrast, 0)
    color = (target + rng.normal(0, 35, size=3)).clip(0, 255)
    color = (color + (target - color.mean())).clip(0, 255).astype(np.float32)
    opacity = mask[..., None] * np.float32(rng.uniform(0.8, 1.0))
    patch += opacity * (color - patch)
