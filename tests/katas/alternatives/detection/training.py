"""The same loop with a LambdaLR schedule."""

import math
from collections import namedtuple

import torch

from .average_precision import coco_average_precision
from .precision_recall import GroundTruth

StepReport = namedtuple("StepReport", "step classification regression grad_norm learning_rate")


def learning_rate_factor(step, *, warmup_steps, total_steps):
    done = (step - warmup_steps) / max(total_steps - warmup_steps, 1)
    return (step + 1) / warmup_steps if step < warmup_steps else 0.5 * math.cos(math.pi * done) + 0.5


def train_detector(
    model, loader, optimizer, *, epochs, warmup_steps=0, max_grad_norm=10.0, on_step=None, on_epoch=None
):
    total_steps, step = epochs * len(loader), 0

    def factor(step):
        return learning_rate_factor(step, warmup_steps=warmup_steps, total_steps=total_steps)

    for group in optimizer.param_groups:
        group["initial_lr"] = float(group["lr"])  # LambdaLR would start from that of an earlier call
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
    device = next(iter(model.parameters())).device
    for epoch in range(epochs):
        model.train()
        for images, gt_boxes, gt_labels in loader:
            model.zero_grad()
            gt_boxes, gt_labels = [b.to(device) for b in gt_boxes], [x.to(device) for x in gt_labels]
            parts = model.loss(images.to(device), gt_boxes, gt_labels)
            if not torch.stack([parts.classification, parts.regression]).isfinite().all():
                told = f"classification = {parts.classification.item()}, regression = {parts.regression.item()}"
                raise FloatingPointError(f"training stopped at step {step}: {told}")
            total = parts.classification + parts.regression
            total.backward()
            norm = torch.nn.utils.clip_grad_norm_(model.parameters(), max_grad_norm)
            optimizer.step()
            if on_step:
                rate = float(optimizer.param_groups[0]["lr"])
                on_step(StepReport(step, parts.classification.item(), parts.regression.item(), norm.item(), rate))
            schedule.step()
            step += 1
        if on_epoch:
            on_epoch(epoch)


def evaluate_detector(model, loader, **options):
    was_training = {name: module.training for name, module in model.named_modules()}
    device = next(iter(model.parameters())).device
    try:
        model.train(False)
        detections, truths = [], []
        for images, gt_boxes, gt_labels in loader:
            with torch.no_grad():
                detections.extend(model.detect(images.to(device), **options))
            truths.extend(GroundTruth(b.to(device), x.to(device)) for b, x in zip(gt_boxes, gt_labels, strict=True))
        return coco_average_precision(detections, truths)
    finally:
        for name, module in model.named_modules():
            module.training = was_training[name]
