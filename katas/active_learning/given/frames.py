"""Frames of a robot's camera: most show nothing, neighbours look alike, and some digits are rare.

A drive is a band of a photograph with handwritten digits on it here and there. The camera moves along it, so that
neighbouring frames share two thirds of what they show.
"""

from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from katas.lab import painter

SIDE = 64  # pixels of a frame
STRIDE = 20  # pixels from one frame to the next
FRAMES = 25  # of a drive
VISIBLE = 0.6  # a digit of which less is in the frame is no object


class Kind(NamedTuple):
    """Which digits there are, how often each of them comes, and the mean gap in pixels from one to the next."""

    digits: tuple[int, ...]
    shares: tuple[float, ...]
    gap: float
    split: str  # of the digits and photographs that are painted


KINDS = {
    # what the robot saw on its way
    "pool": Kind((0, 1, 2, 3, 4), (0.4, 0.25, 0.15, 0.12, 0.08), 220.0, "train"),
    # what its detector is judged by: other digits on other photographs, all of them equally likely, few frames empty
    "test": Kind((0, 1, 2, 3, 4), (0.2,) * 5, 25.0, "test"),
    # what the detector has learned from before: other classes
    "before": Kind((5, 6, 7, 8, 9), (0.2,) * 5, 30.0, "train"),
}


class Frames(NamedTuple):
    """`images` is uint8 (N, 3, SIDE, SIDE); `boxes[i]` float32 (M_i, 4) xyxy; `labels[i]` int64 (M_i,).

    A label counts the digits of the kind: 0 is the first of them.
    """

    images: Tensor
    boxes: list[Tensor]
    labels: list[Tensor]


def frames(num_drives: int, *, kind: str, seed: int = 0) -> Frames:
    """FRAMES frames of each of `num_drives` drives, one drive after the other; `kind` is one of KINDS."""
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}")
    rng = np.random.default_rng([seed, list(KINDS).index(kind)])
    drives = [_drive(rng, KINDS[kind]) for _ in range(num_drives)]
    images, boxes, labels = ([frame[part] for drive in drives for frame in drive] for part in range(3))
    pixels = np.stack(images) if images else np.zeros((0, SIDE, SIDE, 3), dtype=np.uint8)
    return Frames(torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous(), boxes, labels)


def _drive(rng: np.random.Generator, kind: Kind) -> list[tuple[np.ndarray, Tensor, Tensor]]:
    canvas = _band(rng, kind.split, SIDE + STRIDE * (FRAMES - 1))
    boxes, labels = _paint(rng, canvas, kind)
    taken = []
    for left in range(0, STRIDE * FRAMES, STRIDE):
        light = rng.uniform(0.9, 1.1)  # no two frames are the same to the bit
        pixels = canvas[:, left : left + SIDE] * light + rng.normal(0, 2, (SIDE, SIDE, 3))
        inside = boxes - [left, 0, left, 0]
        cut = inside.clip(0, SIDE)
        seen = (cut[:, 2] - cut[:, 0]) >= VISIBLE * (inside[:, 2] - inside[:, 0])
        objects = torch.tensor(cut[seen], dtype=torch.float32), torch.tensor(labels[seen])
        taken.append((pixels.round().clip(0, 255).astype(np.uint8), *objects))
    return taken


def _band(rng: np.random.Generator, split: str, length: int) -> np.ndarray:
    """A band of a darkened photograph and its mirror image in turns, as a float32 canvas (SIDE, length, 3)."""
    photographs = painter.photographs(split)
    photograph = photographs[rng.integers(len(photographs))]
    height = rng.uniform(0.15, 0.4) * photograph.height
    top, width = rng.uniform(0, photograph.height - height), round(photograph.width * SIDE / height)
    box = (0, top, photograph.width, top + height)
    view = 0.6 * np.asarray(photograph.resize((width, SIDE), Image.Resampling.BILINEAR, box=box), dtype=np.float32)
    begin = int(rng.integers(width))
    turns = [view[:, :: (-1) ** turn] for turn in range(-(-(begin + length) // width))]
    return np.concatenate(turns, axis=1)[:, begin : begin + length].copy()


def _paint(rng: np.random.Generator, canvas: np.ndarray, kind: Kind) -> tuple[np.ndarray, np.ndarray]:
    """Paints light digits on the canvas, from left to right; their boxes (M, 4) and labels (M,)."""
    inks = [[ink for ink, label in painter.glyphs(kind.split) if label == digit] for digit in kind.digits]
    boxes, labels, left = [], [], int(rng.exponential(kind.gap))
    while True:
        label = int(rng.choice(len(inks), p=kind.shares))
        mask = painter.render(rng, inks[label][rng.integers(len(inks[label]))])
        height, width = mask.shape
        top, right = int(rng.integers(SIDE - height + 1)), left + width
        if right > canvas.shape[1]:
            return np.array(boxes, dtype=float).reshape(-1, 4), np.array(labels, dtype=np.int64)
        color = (rng.uniform(190, 255) + rng.normal(0, 12, 3)).astype(np.float32)
        patch = canvas[top : top + height, left:right]
        patch += 0.95 * mask[..., None] * (color - patch)
        boxes.append((left, top, right, top + height))
        labels.append(label)
        left = right + 2 + int(rng.exponential(kind.gap))
