"""Digit scenes: real handwritten digits on photographs, with exact boxes and nothing to download.

Every scene is a crop of one of scikit-learn's two sample photographs with several of scikit-learn's
handwritten digits painted on it, 12 to 32 pixels tall, and some clutter (scribbles and torn-off corners of
digits) that is no object. The train and the test split share neither a digit nor a part of a photograph.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from katas.lab import painter

NUM_CLASSES = 10
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
    glyphs, photographs = painter.glyphs(split), painter.photographs(split)
    images = np.empty((num_scenes, image_size, image_size, 3), dtype=np.uint8)
    boxes, labels = [], []
    for index in range(num_scenes):
        canvas = painter.background(rng, photographs, image_size)
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


def _paint_scene(rng: np.random.Generator, canvas: np.ndarray, glyphs) -> tuple[list, list]:
    """Paints clutter and digits on `canvas`, none on top of another; returns the digits' boxes and labels."""
    taken, boxes, labels = [], [], []
    num_digits = 0 if rng.random() < EMPTY_SHARE else rng.integers(1, MAX_DIGITS + 1)
    num_clutter = rng.integers(0, 4)
    for item in range(num_digits + num_clutter):
        ink, label = glyphs[rng.integers(len(glyphs))]
        mask = painter.render(rng, ink) if item < num_digits else painter.clutter(rng, ink)
        place = painter.free_place(rng, taken, mask.shape, canvas.shape[:2])
        if place is None:
            continue
        taken.append(place)
        left, top, right, bottom = place
        painter.blend(rng, canvas[top:bottom, left:right], mask)
        if item < num_digits:
            boxes.append(place)
            labels.append(label)
    return boxes, labels
