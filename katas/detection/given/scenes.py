"""Digit scenes: real handwritten digits on photographs, with exact boxes and nothing to download.

Every scene is a crop of one of scikit-learn's two sample photographs with several of scikit-learn's
handwritten digits painted on it, 12 to 32 pixels tall, and some clutter (scribbles and torn-off corners of
digits) that is no object. The train and the test split share neither a digit nor a part of a photograph.
"""

from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

NUM_CLASSES = 10
MIN_SIZE, MAX_SIZE = 12, 32  # height of a digit in pixels
MAX_DIGITS = 6
EMPTY_SHARE = 0.03  # scenes without any digit


class DigitScenes(NamedTuple):
    """`images` is uint8 (N, 3, H, W); `boxes[i]` float32 (M_i, 4) xyxy; `labels[i]` int64 (M_i,), the digit
    itself."""

    images: Tensor
    boxes: list[Tensor]
    labels: list[Tensor]


def digit_scenes(num_scenes: int, *, split: str, seed: int = 0, image_size: int = 96) -> DigitScenes:
    """`num_scenes` scenes of `split` ("train" or "test"). The same arguments always give the same scenes."""
    if split not in ("train", "test"):
        raise ValueError(f"split must be 'train' or 'test', got {split!r}")
    rng = np.random.default_rng([seed, split == "test"])
    glyphs, photographs = _glyphs(split), _photographs(split)
    images = np.empty((num_scenes, image_size, image_size, 3), dtype=np.uint8)
    boxes, labels = [], []
    for index in range(num_scenes):
        canvas = _background(rng, photographs, image_size)
        scene_boxes, scene_labels = _paint_scene(rng, canvas, glyphs)
        images[index] = canvas.round().clip(0, 255)
        boxes.append(torch.tensor(scene_boxes, dtype=torch.float32).reshape(-1, 4))
        labels.append(torch.tensor(scene_labels, dtype=torch.int64))
    return DigitScenes(torch.from_numpy(images).permute(0, 3, 1, 2).contiguous(), boxes, labels)


def bar_scenes(num_scenes: int, *, seed: int, widths: tuple[int, int] = (5, 10)) -> DigitScenes:
    """The simplest scenes, 32 × 64, to be learnt in seconds: dim noise with at most one bar in either half,
    twice as tall as wide; class 0 is red, class 1 blue. `widths` are the smallest and the largest, in
    pixels."""
    rng = np.random.default_rng(seed)
    images = rng.uniform(0, 77, (num_scenes, 3, 32, 64))
    boxes, labels = [], []
    for image in images:
        bars = []
        for left in (0, 32):
            width, label = rng.integers(widths[0], widths[1] + 1), rng.integers(3)
            height = 2 * width + rng.integers(-1, 2)
            x, y = left + rng.integers(32 - width + 1), rng.integers(32 - height + 1)
            if label < 2:
                image[2 * label, y : y + height, x : x + width] += 128
                bars.append((x, y, x + width, y + height, label))
        boxes.append(torch.tensor([bar[:4] for bar in bars], dtype=torch.float32).reshape(-1, 4))
        labels.append(torch.tensor([bar[4] for bar in bars], dtype=torch.int64))
    return DigitScenes(torch.from_numpy(images).to(torch.uint8), boxes, labels)


class SceneLoader:
    """Batches `(images in [0, 1], boxes, labels)` of a `DigitScenes`; with a generator, reshuffled at every
    pass.

    Everything is on `device` from the start, so that no step waits for a copy.
    """

    def __init__(
        self,
        scenes: DigitScenes,
        batch_size: int,
        *,
        device: torch.device | str = "cpu",
        generator: torch.Generator | None = None,
    ) -> None:
        self.images = scenes.images.to(device)
        self.boxes = [boxes.to(device) for boxes in scenes.boxes]
        self.labels = [labels.to(device) for labels in scenes.labels]
        self.batch_size, self.generator = batch_size, generator

    def __len__(self) -> int:
        return -(-len(self.images) // self.batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, list[Tensor], list[Tensor]]]:
        count = len(self.images)
        order = torch.arange(count) if self.generator is None else torch.randperm(count, generator=self.generator)
        for chosen in order.split(self.batch_size):
            images = self.images[chosen.to(self.images.device)].float() / 255
            yield images, [self.boxes[i] for i in chosen], [self.labels[i] for i in chosen]


@cache
def _glyphs(split: str) -> list[tuple[np.ndarray, int]]:
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
def _photographs(split: str) -> list[Image.Image]:
    """The left 70 % of each photograph is for training, the rest for testing."""
    from sklearn.datasets import load_sample_images

    parts = []
    for photograph in load_sample_images().images:
        border = int(photograph.shape[1] * 0.7)
        part = photograph[:, :border] if split == "train" else photograph[:, border:]
        parts.append(Image.fromarray(np.ascontiguousarray(part)))
    return parts


def _background(rng: np.random.Generator, photographs: list[Image.Image], size: int) -> np.ndarray:
    """A random crop of a photograph, perhaps mirrored, as a float32 canvas (size, size, 3)."""
    photograph = photographs[rng.integers(len(photographs))]
    crop = rng.uniform(0.4, 1.0) * min(photograph.size)
    left, top = rng.uniform(0, photograph.width - crop), rng.uniform(0, photograph.height - crop)
    box = (left, top, left + crop, top + crop)
    canvas = np.asarray(photograph.resize((size, size), Image.Resampling.BILINEAR, box=box), dtype=np.float32)
    return canvas[:, ::-1].copy() if rng.random() < 0.5 else canvas.copy()


def _paint_scene(rng: np.random.Generator, canvas: np.ndarray, glyphs) -> tuple[list, list]:
    """Paints clutter and digits on `canvas`, none on top of another; returns the digits' boxes and labels."""
    taken, boxes, labels = [], [], []
    num_digits = 0 if rng.random() < EMPTY_SHARE else rng.integers(1, MAX_DIGITS + 1)
    num_clutter = rng.integers(0, 4)
    for item in range(num_digits + num_clutter):
        ink, label = glyphs[rng.integers(len(glyphs))]
        mask = _render(rng, ink) if item < num_digits else _clutter(rng, ink)
        place = _free_place(rng, taken, mask.shape, canvas.shape[:2])
        if place is None:
            continue
        taken.append(place)
        left, top, right, bottom = place
        _blend(rng, canvas[top:bottom, left:right], mask)
        if item < num_digits:
            boxes.append(place)
            labels.append(label)
    return boxes, labels


def _render(rng: np.random.Generator, ink: np.ndarray) -> np.ndarray:
    """The digit as an opacity mask (height, width) whose ink touches all four borders."""
    height = int(rng.integers(MIN_SIZE, MAX_SIZE + 1))
    width = round(height * ink.shape[1] / ink.shape[0] * rng.uniform(0.8, 1.2))
    return _sharpen(_enlarge(ink, height, min(max(width, height // 2), MAX_SIZE)))


def _enlarge(ink: np.ndarray, height: int, width: int) -> np.ndarray:
    return np.asarray(Image.fromarray(ink).resize((width, height), Image.Resampling.BICUBIC))


def _sharpen(ink: np.ndarray) -> np.ndarray:
    """A soft threshold: an enlarged 8×8 digit looks drawn with a pen, not out of focus."""
    return np.clip((ink - 0.3) / 0.35, 0, 1)


def _clutter(rng: np.random.Generator, ink: np.ndarray) -> np.ndarray:
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


def _free_place(rng, taken: list, shape: tuple[int, int], canvas_shape: tuple[int, int]):
    """(left, top, right, bottom) for a mask that overlaps nothing in `taken`; None if ten tries find none."""
    for _ in range(10):
        left, top = rng.integers(canvas_shape[1] - shape[1] + 1), rng.integers(canvas_shape[0] - shape[0] + 1)
        right, bottom = left + shape[1], top + shape[0]
        if all(right <= l or r <= left or bottom <= t or b <= top for l, t, r, b in taken):
            return int(left), int(top), int(right), int(bottom)
    return None


def _blend(rng: np.random.Generator, patch: np.ndarray, mask: np.ndarray) -> None:
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
