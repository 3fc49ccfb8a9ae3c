"""How fast: yours, the reference solution, and the library that one would use instead. `pytest … -m benchmark`

One line for each operation and device: medians of rounds taken in turns. On the CPU everything runs on one thread, as
several of the libraries do anyway; on the GPU every round ends with a synchronisation. Then the promises that the
solutions keep against the libraries on the CPU: ratios of best times.
"""

import contextlib
import functools
import importlib
import io
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest
import torch
import torchvision
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from torchvision.models.detection._utils import BoxCoder

from katas.lab.checks.speed import in_turns, told

pytestmark = [pytest.mark.benchmark, pytest.mark.usefixtures("one_thread")]
DEVICES = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
COUNT = 2000


class Operation(NamedTuple):
    kata: str
    function: str
    inputs: Callable[[], tuple]
    library: Callable  # takes the inputs
    at_most: float  # the solution's time over the library's


def random(seed: int, *shape: int) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def scattered_boxes(count: int, seed: int, extent: float = 1000.0) -> torch.Tensor:
    """Sides of 8 to 128 pixels, anywhere in the image."""
    centres, half_sides = extent * random(seed, count, 2), 4 + 60 * random(seed + 1, count, 2)
    return torch.cat([centres - half_sides, centres + half_sides], dim=1)


def boxes_around(num_objects: int, count: int, seed: int) -> torch.Tensor:
    """What a detector gives before suppression: many slightly different boxes of each object."""
    which = (num_objects * random(seed + 2, count)).long()
    boxes = scattered_boxes(num_objects, seed)[which]
    sides = (boxes[:, 2:] - boxes[:, :2]).repeat(1, 2)
    noise = torch.randn(count, 4, generator=torch.Generator().manual_seed(seed + 3))
    return boxes + 0.08 * sides * noise


def codable(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    return scattered_boxes(count, seed=0), scattered_boxes(count, seed=10)


def suppressible(boxes: torch.Tensor) -> tuple:
    return boxes, random(20, len(boxes)), 0.5


def coco_images(num_images: int = 1000, num_detections: int = 20, num_classes: int = 10) -> tuple[list, list]:
    """Per image 7 objects and 20 detections, three in five of them near an object; 10 classes."""
    module = importlib.import_module("katas.detection.average_precision")
    generator = torch.Generator().manual_seed(0)
    detections, truths = [], []
    for image in range(num_images):
        objects, labels = scattered_boxes(7, 100 + image, 500.0), (num_classes * random(image, 7)).long()
        near = (7 * random(image + 1, num_detections)).long()
        noise = 4 * torch.randn(num_detections, 4, generator=generator)
        strays = scattered_boxes(num_detections, 9000 + image, 500.0)
        hit = random(image + 2, num_detections) < 0.6
        boxes = torch.where(hit[:, None], objects[near] + noise, strays)
        guesses = torch.where(hit, labels[near], (num_classes * random(image + 3, num_detections)).long())
        detections.append(module.Detections(boxes, random(image + 4, num_detections), guesses))
        truths.append(module.GroundTruth(objects, labels))
    return detections, truths


def as_coco(entries) -> COCO:
    rows = []
    for image, entry in enumerate(entries):
        scores = entry.scores.tolist() if hasattr(entry, "scores") else [1.0] * len(entry.labels)
        for (x1, y1, x2, y2), label, score in zip(entry.boxes.tolist(), entry.labels.tolist(), scores, strict=True):
            row = {"id": len(rows) + 1, "image_id": image, "category_id": label, "iscrowd": 0, "score": score}
            rows.append(row | {"bbox": [x1, y1, x2 - x1, y2 - y1], "area": (x2 - x1) * (y2 - y1)})
    api = COCO()
    labels = sorted({row["category_id"] for row in rows})
    images, categories = [{"id": image} for image in range(len(entries))], [{"id": label} for label in labels]
    api.dataset = {"images": images, "categories": categories, "annotations": rows}
    api.createIndex()
    return api


@functools.cache
def pycocotools_inputs() -> tuple[COCO, COCO]:
    with contextlib.redirect_stdout(io.StringIO()):
        detections, truths = coco_images()
        return as_coco(truths), as_coco(detections)


def pycocotools_evaluation(detections, truths) -> np.ndarray:
    """The evaluation alone: the data stand ready in its own form."""
    with contextlib.redirect_stdout(io.StringIO()):
        judge = COCOeval(*pycocotools_inputs(), "bbox")
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    return judge.stats


coder = BoxCoder((1.0, 1.0, 1.0, 1.0))
pairs = functools.partial(codable, COUNT)


def logits_and_targets() -> tuple[torch.Tensor, torch.Tensor]:
    return 8 * random(30, COUNT, COUNT) - 6, (random(31, COUNT, COUNT) < 0.01).float()


OPERATIONS = {
    "box_iou": Operation("boxes", "box_iou", pairs, torchvision.ops.box_iou, 1.1),
    "giou": Operation("boxes", "generalized_box_iou", pairs, torchvision.ops.generalized_box_iou, 1.1),
    "encode": Operation("box_coding", "encode_boxes", pairs, coder.encode_single, 1.1),
    "decode": Operation(
        "box_coding", "decode_boxes", lambda: (random(40, COUNT, 4) - 0.5, pairs()[1]), coder.decode_single, 1.1
    ),
    "focal_loss": Operation(
        "focal_loss", "sigmoid_focal_loss", logits_and_targets, torchvision.ops.sigmoid_focal_loss, 1.1
    ),
    "nms, sparse": Operation("nms", "nms", lambda: suppressible(scattered_boxes(COUNT, 0)), torchvision.ops.nms, 5.0),
    "nms, crowded": Operation("nms", "nms", lambda: suppressible(boxes_around(50, COUNT, 0)), torchvision.ops.nms, 5.0),
    "coco": Operation("average_precision", "coco_average_precision", coco_images, pycocotools_evaluation, 1.0),
}


def implementation(operation: Operation, who: str) -> Callable:
    if who == "library":
        return operation.library
    tree = {"yours": "katas", "solution": "solutions"}[who]
    return getattr(importlib.import_module(f"{tree}.detection.{operation.kata}"), operation.function)


def moved(value, device: str):
    if isinstance(value, torch.Tensor):
        return value.to(device)
    if isinstance(value, tuple | list):
        parts = [moved(part, device) for part in value]
        return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
    return value


def rounds(name: str, device: str, *who: str) -> dict[str, list[float]]:
    operation = OPERATIONS[name]
    inputs = moved(operation.inputs(), device)
    return in_turns({each: functools.partial(implementation(operation, each), *inputs) for each in who}, device)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", OPERATIONS)
def test_speed(record_property, name, device):
    record_property("speed", f"{name} on {device}: {told(rounds(name, device, 'yours', 'solution', 'library'))}")


@pytest.mark.parametrize("name", OPERATIONS)
def test_the_solution_keeps_up_with_the_library(name, record_property):
    times, most = rounds(name, "cpu", "solution", "library"), OPERATIONS[name].at_most
    found = min(times["solution"]) / min(times["library"])
    record_property("speed", f"{name} on cpu, solution: {found:.2f} times the library's best time")
    assert found <= most, f"{name}: {found:.2f} times the library's time; promised is at most {most}"
