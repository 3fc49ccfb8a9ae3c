"""A small detector for the frames, put together from the solutions of detection: nobody has to do that topic first."""

from collections.abc import Iterator, Sequence
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from katas.active_learning.given.frames import KINDS, Frames, frames
from solutions.detection.postprocess import Detections
from solutions.detection.retinanet import RetinaNet
from solutions.detection.training import evaluate_detector, train_detector

NUM_CLASSES = len(KINDS["pool"].digits)
BATCH_SIZE, STEPS, WARMUP = 16, 150, 20
DRIVES_BEFORE, STEPS_BEFORE = 60, 700
TARGETS = tuple[Tensor, Tensor]  # what a label is: boxes (M, 4) and classes (M,) of a frame


class Backbone(nn.Module):
    """One map of 48 channels at stride 8."""

    out_channels, strides = [48], [8]

    def __init__(self) -> None:
        super().__init__()
        sizes = [(3, 16, 2), (16, 24, 2), (24, 32, 1), (32, 48, 2), (48, 48, 1)]
        parts = [[nn.Conv2d(a, b, 3, stride, 1, bias=False), nn.BatchNorm2d(b), nn.ReLU()] for a, b, stride in sizes]
        self.layers = nn.Sequential(*(layer for part in parts for layer in part))

    def forward(self, images: Tensor) -> list[Tensor]:
        return [self.layers(images)]


def new_detector(seed: int, device) -> RetinaNet:
    torch.manual_seed(seed)
    backbone = Backbone()
    return RetinaNet(
        backbone, backbone.out_channels, NUM_CLASSES, strides=backbone.strides, out_channels=48, num_convs=1,
        anchor_sizes=(16, 28, 64), scales=(1, 2**0.5), aspect_ratios=(1.4,), prior_probability=0.05,
    ).to(device)  # fmt: skip


class Batches:
    """`steps` random batches of labelled frames, each moved by up to four pixels, on the device of the images."""

    def __init__(self, images: Tensor, targets: Sequence[TARGETS], steps: int, seed: int):
        self.images, self.targets, self.steps = images, targets, steps
        self.generator = torch.Generator().manual_seed(seed)

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[tuple[Tensor, list[Tensor], list[Tensor]]]:
        for _ in range(self.steps):
            chosen = torch.randint(len(self.images), (BATCH_SIZE,), generator=self.generator)
            down, right = torch.randint(-4, 5, (2,), generator=self.generator).tolist()
            images = self.images[chosen.to(self.images.device)].float() / 255
            images = F.pad(images, [4] * 4, mode="replicate").roll((down, right), dims=(2, 3))[:, :, 4:-4, 4:-4]
            targets = [self.targets[i] for i in chosen.tolist()]
            shift = images.new_tensor([right, down, right, down])
            side = images.shape[-1]
            boxes = [(boxes.to(shift.device) + shift).clamp(0, side) for boxes, _ in targets]
            yield images, boxes, [labels for _, labels in targets]


@cache
def weights_before(device) -> dict[str, Tensor]:
    """Of a detector that was trained on frames with other digits: all but those that say which class it is."""
    seen = frames(DRIVES_BEFORE, kind="before")
    targets = [tuple(part.to(device) for part in pair) for pair in zip(seen.boxes, seen.labels, strict=True)]
    model = _trained(new_detector(0, device), seen.images.to(device), targets, 0, STEPS_BEFORE)
    return {name: part for name, part in model.state_dict().items() if not name.startswith("head.cls_logits")}


def fitted_detector(images: Tensor, targets: Sequence[TARGETS], seed: int, *, steps: int | None = None) -> RetinaNet:
    """Trained on the labelled frames, from the same weights and for as many steps whatever their number."""
    model = new_detector(seed, images.device)
    model.load_state_dict(weights_before(images.device), strict=False)
    return _trained(model, images, targets, seed, STEPS if steps is None else steps)


def _trained(model: RetinaNet, images: Tensor, targets: Sequence[TARGETS], seed: int, steps: int) -> RetinaNet:
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3, weight_decay=0.01)
    train_detector(model, Batches(images, targets, steps, seed), optimizer, epochs=1, warmup_steps=min(WARMUP, steps))
    return model.eval()


def average_precision(model: RetinaNet, test: Frames) -> float:
    """COCO AP on the test frames."""
    parts = zip(*(_split(part, 100) for part in test), strict=True)
    batches = [(images.float() / 255, boxes, labels) for images, boxes, labels in parts]
    return evaluate_detector(model, batches).ap


@torch.no_grad()
def detections(model: RetinaNet, images: Tensor) -> list[Detections]:
    """Of every frame: boxes, scores and labels; also the unlikely ones, for what is uncertain is unlikely."""
    parts = images.split(100)
    return [found for part in parts for found in model.detect(part.float() / 255, score_thresh=0.02)]


@torch.no_grad()
def features(model: RetinaNet, images: Tensor) -> Tensor:
    """(N, channels): the mean of the backbone's map."""
    maps = [model.backbone((part.float() / 255 - model.mean) / model.std)[0] for part in images.split(100)]
    return torch.cat([one.mean(dim=(2, 3)) for one in maps])


def _split(parts, size: int) -> list:
    return [parts[first : first + size] for first in range(0, len(parts), size)]
