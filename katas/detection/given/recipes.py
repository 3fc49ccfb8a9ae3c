"""The recipes of the detection checks: models, what is recorded, and how they are trained and tried."""

import os
import shutil
from pathlib import Path

import pytest
import torch
import torchvision
from torch.utils.data import DataLoader, Dataset

from katas.detection.augmentation import hflip_with_boxes, resize_with_boxes
from katas.detection.boxes import box_iou
from katas.detection.focal_loss import sigmoid_focal_loss
from katas.detection.given import voc
from katas.detection.given.backbones import SmallBackbone, TinyBackbone
from katas.detection.given.scenes import NUM_CLASSES, SceneLoader, bar_scenes
from katas.detection.matching import match_anchors
from katas.detection.precision_recall import GroundTruth, voc_average_precision
from katas.detection.retinanet import ResNetBackbone, RetinaNet
from katas.detection.targets import retinanet_loss
from katas.detection.training import evaluate_detector, train_detector
from katas.lab.checks.budget import flops_of
from katas.lab.checks.plots import detections_sheet, learning_curves
from katas.lab.checks.recorder import LossRecorder, save
from katas.lab.data import DataError, DataMissing

# --- digit scenes -----------------------------------------------------------------------------------------------------


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


class Recorder(LossRecorder):
    """Callbacks for `train_detector`: progress bar, metrics, checkpoint, and the learning curves in between."""

    def __init__(self, model, validation, run_dir, metrics, bar):
        super().__init__(bar)
        self.model, self.validation, self.run_dir, self.metrics = model, validation, run_dir, metrics
        self.scores = []

    def on_step(self, report):
        means = self.add(report.step, report.classification, report.regression)
        if means is not None:
            self.row(report.step + 1, classification=means[0], regression=means[1])

    def on_epoch(self, epoch):
        found = evaluate_detector(self.model, self.validation)
        step = self.rows[-1][0] if self.rows else 0
        self.scores.append((step, found.ap, found.ap50))
        self.row(step, epoch=epoch + 1, ap=found.ap, ap50=found.ap50)
        save(self.model.state_dict(), self.run_dir / "model.pt")
        self.draw()

    def row(self, step, classification="", regression="", epoch="", ap="", ap50=""):
        values = dict(classification=classification, regression=regression, epoch=epoch, ap=ap, ap50=ap50)
        self.metrics.row(step=step, **values)

    def draw(self):
        steps, classification, regression = zip(*self.rows, strict=True) if self.rows else ((), (), ())
        at, ap, ap50 = zip(*self.scores, strict=True)
        losses = {"classification": (steps, classification), "regression": (steps, regression)}
        learning_curves(
            self.run_dir / "learning_curves.png",
            {"training loss": losses, "on unseen scenes": {"AP": (at, ap), "AP50": (at, ap50)}},
        )


@torch.no_grad()
def draw_detections(model, loader, path, **options) -> None:
    model.eval()
    images, boxes, labels = next(iter(loader))
    detections_sheet(
        path, images[:24], model.detect(images[:24]), list(zip(boxes, labels, strict=True)), columns=8, **options
    )


# --- bar scenes -------------------------------------------------------------------------------------------------------


class Variant(RetinaNet):
    """RetinaNet with other focal and matching parameters in its loss."""

    alpha, gamma, allow_low_quality_matches = 0.25, 2.0, True

    def loss(self, images, gt_boxes, gt_labels):
        output, anchors = self(images)
        anchors = torch.cat(anchors)
        matched = [
            match_anchors(box_iou(boxes, anchors), allow_low_quality_matches=self.allow_low_quality_matches)
            for boxes in gt_boxes
        ]
        logits, deltas = torch.cat(output.cls_logits, dim=1), torch.cat(output.box_deltas, dim=1)
        focal = dict(alpha=self.alpha, gamma=self.gamma)
        return retinanet_loss(logits, deltas, anchors, torch.stack(matched), gt_boxes, gt_labels, **focal)


def bar_detector(seed, device, *, anchor_sizes=(8, 14, 32, 64), prior_probability=0.01, **variant) -> Variant:
    torch.manual_seed(seed)
    backbone = TinyBackbone()
    model = Variant(
        backbone,
        backbone.out_channels,
        num_classes=2,
        strides=backbone.strides,
        out_channels=24,
        num_convs=1,
        anchor_sizes=anchor_sizes,
        scales=(1,),
        aspect_ratios=(2, 1),
        prior_probability=prior_probability,
    )
    vars(model).update(variant)
    return model.to(device)


def bars(count, seed, device, **options) -> SceneLoader:
    return SceneLoader(bar_scenes(count, seed=seed, **options), 8, device=device)


def trained(model, loader, bar, *, optimizer=None):
    """One pass over the loader; the reports of all steps."""
    reports = []

    def on_step(report):
        reports.append(report)
        bar.update(1)

    optimizer = optimizer or torch.optim.AdamW(model.parameters(), lr=5e-3)
    train_detector(model, loader, optimizer, epochs=1, warmup_steps=10, on_step=on_step)
    return reports


def background_share(model, loader, gamma) -> float:
    """Of the classification loss, the part from background anchors that are right already (probability <
    0.1)."""
    easy, total = 0.0, 0.0
    model.eval()
    with torch.no_grad():
        for images, gt_boxes, gt_labels in loader:
            output, anchors = model(images)
            logits, anchors = torch.cat(output.cls_logits, dim=1), torch.cat(anchors)
            for row, boxes, labels in zip(logits, gt_boxes, gt_labels, strict=True):
                matched = match_anchors(box_iou(boxes, anchors))
                targets = torch.zeros_like(row)
                foreground = (matched >= 0).nonzero()[:, 0]
                targets[foreground, labels[matched[foreground]]] = 1
                loss = sigmoid_focal_loss(row, targets, alpha=0.25, gamma=gamma)
                loss[matched == -2] = 0
                total += loss.sum().item()
                easy += loss[(matched == -1)[:, None] & (row.sigmoid() < 0.1)].sum().item()
    return easy / total


# --- Pascal VOC 2007 ------------------------------------------------------------------------------------------------

VOC_SIZE, VOC_BATCH_SIZE = 320, 16


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
    images, truths = zip(*batch, strict=True)
    easy = [~truth.difficult for truth in truths]
    boxes = [truth.boxes[keep] for truth, keep in zip(truths, easy, strict=True)]
    return torch.stack(images), boxes, [truth.labels[keep] for truth, keep in zip(truths, easy, strict=True)]


def all_objects(batch):
    images, truths = zip(*batch, strict=True)
    return torch.stack(images), list(truths)


def voc_loader(photographs, *, train: bool) -> DataLoader:
    return DataLoader(
        ResizedVoc(photographs, mirrored=train),
        VOC_BATCH_SIZE,
        shuffle=train,
        collate_fn=easy_objects if train else all_objects,
        num_workers=_workers(),
        persistent_workers=train and _workers() > 0,
    )


def _workers() -> int:
    """None where shared memory cannot hold their batches, as in a container by default: a Bus error ends the run."""
    workers, ahead, batch = min(4, os.cpu_count() or 1), 2, VOC_BATCH_SIZE * 3 * VOC_SIZE**2 * 4
    shared = Path("/dev/shm")
    return workers if not shared.is_dir() or shutil.disk_usage(shared).free > workers * (ahead + 1) * batch else 0


def voc_example(device):
    """A batch without objects, in the size of a real one, to count operations with."""
    images = torch.rand(VOC_BATCH_SIZE, 3, VOC_SIZE, VOC_SIZE, device=device)
    nothing = [torch.zeros(0, 4, device=device)] * VOC_BATCH_SIZE
    return images, nothing, [torch.zeros(0, dtype=torch.int64, device=device)] * VOC_BATCH_SIZE


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
