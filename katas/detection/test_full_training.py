"""Full checks: your detector, trained end to end within five minutes of a GTX 1060. `pytest katas/detection
-m gpu`

Digit scenes need no data. VOC 2007 needs `--data DIR` (or `--download`). Pictures and metrics are left under
runs/detection/; stop a check with Ctrl-C, and what it has so far stays there.
"""

import os
from pathlib import Path

import pytest
import torch
import torchvision
from torch.utils.data import DataLoader, Dataset

from katas.detection.augmentation import hflip_with_boxes, resize_with_boxes
from katas.detection.given import voc
from katas.detection.given.backbones import SmallBackbone
from katas.detection.given.scenes import NUM_CLASSES, SceneLoader, digit_scenes
from katas.detection.precision_recall import GroundTruth, voc_average_precision
from katas.detection.training import ResNetBackbone, RetinaNet, evaluate_detector, train_detector
from katas.lab.checks.budget import flops_of
from katas.lab.checks.plots import detections_sheet, learning_curves
from katas.lab.data import DataError, DataMissing

pytestmark = pytest.mark.gpu

SEED = 0
SCENES, EPOCHS, BATCH_SIZE = 12_000, 4, 8
ROW_EVERY = 50  # steps


def digit_detector(seed: int, device: torch.device) -> RetinaNet:
    """Levels at strides 4, 8, 16 and 32; two anchors at each place, half an octave apart, as slim as a
    digit."""
    torch.manual_seed(seed)
    backbone = SmallBackbone()
    return RetinaNet(
        backbone,
        backbone.out_channels,
        NUM_CLASSES,
        strides=backbone.strides,
        out_channels=64,
        num_convs=1,
        anchor_sizes=(11, 22, 44, 88),
        scales=(1, 2**0.5),
        aspect_ratios=(1.4,),
    ).to(device)


def training_flops(model, batch) -> float:
    """Of one step: forward and backward."""

    def step():
        loss = model.loss(*batch)
        (loss.classification + loss.regression).backward()

    flops = flops_of(step)
    model.zero_grad()
    return flops


class Recorder:
    """Callbacks for `train_detector`: progress bar, metrics, checkpoint, and the learning curves in
    between."""

    def __init__(self, model, validation, run_dir, metrics, bar):
        self.model, self.validation, self.run_dir, self.metrics, self.bar = (
            model,
            validation,
            run_dir,
            metrics,
            bar,
        )
        self.losses, self.rows, self.scores = [], [], []

    def on_step(self, report):
        self.losses.append((report.classification, report.regression))
        self.bar.update(1)
        if (report.step + 1) % ROW_EVERY == 0:
            classification, regression = torch.tensor(self.losses).mean(dim=0).tolist()
            self.losses.clear()
            self.rows.append((report.step + 1, classification, regression))
            self.bar.set_postfix_str(f"loss {classification:.3f} + {regression:.3f}")
            self.row(report.step + 1, classification=classification, regression=regression)

    def on_epoch(self, epoch):
        found = evaluate_detector(self.model, self.validation)
        step = self.rows[-1][0] if self.rows else 0
        self.scores.append((step, found.ap, found.ap50))
        self.row(step, epoch=epoch + 1, ap=found.ap, ap50=found.ap50)
        torch.save(self.model.state_dict(), self.run_dir / "model.pt")
        self.draw()

    def row(self, step, classification="", regression="", epoch="", ap="", ap50=""):
        values = dict(classification=classification, regression=regression, epoch=epoch, ap=ap, ap50=ap50)
        self.metrics.row(step=step, **values)

    def draw(self):
        steps, classification, regression = zip(*self.rows) if self.rows else ((), (), ())
        at, ap, ap50 = zip(*self.scores)
        losses = {"classification": (steps, classification), "regression": (steps, regression)}
        learning_curves(
            self.run_dir / "learning_curves.png",
            {"training loss": losses, "on unseen scenes": {"AP": (at, ap), "AP50": (at, ap50)}},
        )


@torch.no_grad()
def draw_detections(model, loader, path, **options) -> None:
    model.eval()
    images, boxes, labels = next(iter(loader))
    detections_sheet(path, images[:24], model.detect(images[:24]), list(zip(boxes, labels)), columns=8, **options)


def test_digit_scenes(device, run_dir, metrics, progress, budget):
    model = digit_detector(SEED, device)
    shuffle = torch.Generator().manual_seed(SEED)
    scenes = digit_scenes(SCENES, split="train", seed=SEED)
    train = SceneLoader(scenes, BATCH_SIZE, device=device, generator=shuffle)
    test = SceneLoader(digit_scenes(400, split="test"), 50, device=device)
    quick = SceneLoader(digit_scenes(100, split="test", seed=1), 50, device=device)
    steps = EPOCHS * len(train)
    recorder = Recorder(model, quick, run_dir, metrics, progress(steps, "digit scenes"))
    with budget(flops=steps * training_flops(model, next(iter(train)))):
        optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.05)
        train_detector(
            model,
            train,
            optimizer,
            epochs=EPOCHS,
            warmup_steps=200,
            on_step=recorder.on_step,
            on_epoch=recorder.on_epoch,
        )
        found = evaluate_detector(model, test)
    recorder.row(steps, epoch="end", ap=found.ap, ap50=found.ap50)
    draw_detections(model, test, run_dir / "detections.png")
    # AP / AP50 of right code, seeds 0 to 2: 0.812 / 0.973, 0.821 / 0.975, 0.823 / 0.972.
    # The same weights used wrongly, seeds 0 and 1: suppressed across classes 0.797, 0.807 / 0.951, 0.955; evaluated in
    # training mode 0.767 / 0.957, 0.947; deltas not decoded 0.21 / 0.70; ratio inverted 0.14 / 0.95; anchors in
    # another order than the rows 0.00 / 0.00; columns before rows 0.01 / 0.02.
    # Trained anew with the mistake, seed 0: classification not normalised 0.711 / 0.974; anchors shape after shape
    # 0.052 / 0.099. Training does not show, the specs do: no ignore band 0.821 / 0.973; alpha on the wrong side
    # 0.7995 / 0.979; normalised by all anchors 0.818 / 0.976, for AdamW does not see the scale of a loss.
    assert found.ap50 >= 0.96, f"AP50 on unseen digits and backgrounds: {found.ap50:.3f}"
    assert found.ap >= 0.80, f"AP on unseen digits and backgrounds: {found.ap:.3f}"


def test_sixteen_scenes_are_learnt_by_heart(device, run_dir, metrics, progress, budget):
    model, epochs = digit_detector(SEED, device), 75
    scenes = digit_scenes(16, split="train", seed=7)
    train = SceneLoader(scenes, 8, device=device, generator=torch.Generator().manual_seed(SEED))
    recorder = Recorder(model, train, run_dir, metrics, progress(epochs * len(train), "sixteen scenes"))
    with budget(flops=epochs * len(train) * training_flops(model, next(iter(train)))):
        optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
        train_detector(model, train, optimizer, epochs=epochs, warmup_steps=10, on_step=recorder.on_step)
        recorder.on_epoch(epochs - 1)
        found = evaluate_detector(model, train)
    draw_detections(model, train, run_dir / "detections.png")
    # right code reaches 1.000 (seed 0); an untrained head 0.000, as no score is above the threshold
    assert found.ap50 >= 0.95, f"AP50 on the very scenes it was trained on: {found.ap50:.3f}"


# --- Pascal VOC 2007 ---

VOC_SIZE, VOC_EPOCHS, VOC_BATCH_SIZE = 320, 20, 16


class ResizedVoc(Dataset):
    """Square images in [0, 1], mirrored half of the time in training; objects as `GroundTruth`."""

    def __init__(self, photographs: voc.Voc, *, mirrored: bool):
        self.photographs, self.mirrored = photographs, mirrored

    def __len__(self):
        return len(self.photographs)

    def __getitem__(self, index):
        photograph = self.photographs[index]
        image, boxes = resize_with_boxes(photograph.image.float() / 255, photograph.boxes, (VOC_SIZE, VOC_SIZE))
        if self.mirrored and torch.rand(()) < 0.5:
            image, boxes = hflip_with_boxes(image, boxes)
        return image, GroundTruth(boxes, photograph.labels, photograph.difficult)


def easy_objects(batch):
    """For training: objects marked difficult are left out."""
    images, truths = zip(*batch)
    easy = [~truth.difficult for truth in truths]
    boxes = [truth.boxes[keep] for truth, keep in zip(truths, easy)]
    return torch.stack(images), boxes, [truth.labels[keep] for truth, keep in zip(truths, easy)]


def all_objects(batch):
    images, truths = zip(*batch)
    return torch.stack(images), list(truths)


def voc_loader(photographs, *, train: bool) -> DataLoader:
    return DataLoader(
        ResizedVoc(photographs, mirrored=train),
        VOC_BATCH_SIZE,
        shuffle=train,
        collate_fn=easy_objects if train else all_objects,
        num_workers=min(4, os.cpu_count() or 1),
        persistent_workers=train,
    )


def voc_or_skip(data_dir, image_set, download) -> voc.Voc:
    try:
        return voc.Voc(data_dir, "2007", image_set, download=download)
    except DataMissing as error:
        pytest.skip(str(error))


def pretrained_or_skip(download) -> ResNetBackbone:
    url = torchvision.models.ResNet18_Weights.DEFAULT.url
    cached = Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]
    if not cached.is_file() and not download:
        pytest.skip(f"no pretrained ResNet-18 at {cached}: put torchvision's there, or fetch it with --download")
    try:
        return ResNetBackbone("resnet18", weights="DEFAULT", frozen_stages=2)
    except OSError as error:
        raise DataError(f"the pretrained ResNet-18 could not be fetched to {cached}: {error}") from error


@torch.no_grad()
def voc_map(model, loader, device, bar) -> float:
    model.eval()
    detections, truths = [], []
    for images, batch_truths in loader:
        detections += [type(d)(*(part.cpu() for part in d)) for d in model.detect(images.to(device))]
        truths += batch_truths
        bar.update(1)
    by_class = voc_average_precision(detections, truths)
    return sum(by_class.values()) / len(by_class)


def test_voc_2007(device, run_dir, metrics, progress, budget, data_dir, download):
    train = voc_loader(voc_or_skip(data_dir, "trainval", download), train=True)
    test = voc_loader(voc_or_skip(data_dir, "test", download), train=False)
    backbone = pretrained_or_skip(download)
    torch.manual_seed(SEED)
    channels = backbone.out_channels
    model = RetinaNet(backbone, channels, len(voc.CLASSES), out_channels=128, num_convs=2).to(device)
    steps = VOC_EPOCHS * len(train)
    bar = progress(steps + len(test), "VOC 2007")
    recorder = Recorder(model, None, run_dir, metrics, bar)
    shape = torch.rand(VOC_BATCH_SIZE, 3, VOC_SIZE, VOC_SIZE, device=device)
    nothing = [torch.zeros(0, 4, device=device)] * VOC_BATCH_SIZE
    no_labels = [torch.zeros(0, dtype=torch.int64, device=device)] * VOC_BATCH_SIZE
    with budget(flops=steps * training_flops(model, (shape, nothing, no_labels)), max_seconds=45 * 60):
        optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=3e-4, weight_decay=0.05)
        train_detector(
            model,
            train,
            optimizer,
            epochs=VOC_EPOCHS,
            warmup_steps=500,
            on_step=recorder.on_step,
            on_epoch=lambda epoch: torch.save(model.state_dict(), run_dir / "model.pt"),
        )
        mean_ap = voc_map(model, test, device, bar)
    recorder.row(steps, epoch="end", ap50=mean_ap)
    # Not measured on this recipe yet; an untrained head reaches 0.00.
    assert mean_ap >= 0.60, f"mean AP50 on VOC 2007 test: {mean_ap:.3f}"
