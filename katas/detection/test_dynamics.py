"""Dynamics: what goes wrong in training a detector, and why. Each check leaves a plot under runs/detection/.

Everything is shown on bar scenes, learnt in seconds, with your own code: the same model is trained with one
thing changed, from several seeds.
"""

import pytest
import torch

from katas.detection.boxes import box_iou
from katas.detection.focal_loss import sigmoid_focal_loss
from katas.detection.given.backbones import TinyBackbone
from katas.detection.given.scenes import SceneLoader, bar_scenes
from katas.detection.matching import match_anchors
from katas.detection.targets import retinanet_loss
from katas.detection.training import RetinaNet, evaluate_detector, train_detector
from katas.lab.checks.plots import learning_curves

pytestmark = pytest.mark.gpu

SEEDS = (0, 1, 2)


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


def detector(seed, device, *, anchor_sizes=(8, 14, 32, 64), prior_probability=0.01, **variant) -> Variant:
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


def test_without_the_prior_probability_background_swamps_the_first_steps(device, run_dir, metrics, progress):
    """At probability 1/2 every one of hundreds of anchors is half wrong: the loss is about background
    alone."""
    steps, curves = 60, {}
    bar = progress(2 * steps * len(SEEDS), "prior probability")
    for seed in SEEDS:
        losses = {}
        for name, prior in (("prior 0.01", 0.01), ("prior 0.5", 0.5)):
            model = detector(seed, device, prior_probability=prior)
            optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
            reports = trained(model, bars(8 * steps, seed, device), bar, optimizer=optimizer)
            losses[name] = [report.classification for report in reports]
            above = sum(loss > losses["prior 0.01"][0] for loss in losses[name])
            curves[f"{name}, seed {seed}"] = (range(steps), losses[name])
            metrics.row(seed=seed, prior=prior, first=losses[name][0], steps_above=above)
        with_prior, without = losses["prior 0.01"], losses["prior 0.5"]
        # over 3 seeds: 28 to 39 times, 15 to 17 steps; a head that ignores the prior: once, 0 to 3 steps
        ratio = without[0] / with_prior[0]
        assert ratio >= 10, f"seed {seed}: the first loss is {ratio:.1f} times that with the prior"
        assert above >= 5, f"seed {seed}: after {above} steps the loss is where it starts with the prior"
    learning_curves(run_dir / "prior_probability.png", {"classification loss": curves}, log_y=True)


def background_share(model, loader, gamma) -> float:
    """Of the classification loss, the part from background anchors that are right already (probability <
    0.1)."""
    easy, total = 0.0, 0.0
    model.eval()
    with torch.no_grad():
        for images, gt_boxes, gt_labels in loader:
            output, anchors = model(images)
            logits, anchors = torch.cat(output.cls_logits, dim=1), torch.cat(anchors)
            for row, boxes, labels in zip(logits, gt_boxes, gt_labels):
                matched = match_anchors(box_iou(boxes, anchors))
                targets = torch.zeros_like(row)
                foreground = (matched >= 0).nonzero()[:, 0]
                targets[foreground, labels[matched[foreground]]] = 1
                loss = sigmoid_focal_loss(row, targets, alpha=0.25, gamma=gamma)
                loss[matched == -2] = 0
                total += loss.sum().item()
                easy += loss[(matched == -1)[:, None] & (row.sigmoid() < 0.1)].sum().item()
    return easy / total


def test_focal_loss_takes_its_signal_from_hard_anchors_and_cross_entropy_from_easy_ones(
    device, run_dir, metrics, progress
):
    """The same model, a quarter of the way: what part of either loss comes from background that is right
    already?"""
    steps, shares = 40, {}
    bar = progress(steps * len(SEEDS), "focal loss")
    gammas = (0.0, 0.5, 1.0, 2.0, 3.0)
    for seed in SEEDS:
        model = detector(seed, device)
        trained(model, bars(8 * steps, seed, device), bar)
        unseen = bars(64, 100 + seed, device)
        by_gamma = [background_share(model, unseen, gamma) for gamma in gammas]
        shares[f"seed {seed}"] = (gammas, by_gamma)
        metrics.row(seed=seed, **{f"gamma_{gamma}": share for gamma, share in zip(gammas, by_gamma)})
        # over 3 seeds: 0.76 to 0.84 at gamma 0, 0.02 to 0.03 at 2; a loss that ignores gamma: equal shares
        assert by_gamma[0] >= 0.3, f"seed {seed}: easy background is {by_gamma[0]:.0%} of the cross-entropy"
        assert by_gamma[3] <= 0.1, f"seed {seed}: easy background is {by_gamma[3]:.0%} of the focal loss"
        assert by_gamma == sorted(by_gamma, reverse=True), f"seed {seed}: the share falls with gamma: {by_gamma}"
    learning_curves(run_dir / "easy_background.png", {"share of easy background": shares}, xlabel="gamma")


def test_without_low_quality_matches_small_objects_are_never_learnt(device, run_dir, metrics, progress):
    """No anchor overlaps a bar of 5 × 10 pixels by half if the smallest one has 16 × 32 pixels' area."""
    steps, points = 130, {"with": [], "without": []}
    bar = progress(2 * steps * len(SEEDS), "low-quality matches")
    for seed in SEEDS:
        for name, allowed in (("with", True), ("without", False)):
            model = detector(seed, device, anchor_sizes=(16, 24, 32, 64), allow_low_quality_matches=allowed)
            trained(model, bars(8 * steps, seed, device, widths=(4, 6)), bar)
            small = evaluate_detector(model, bars(48, 100 + seed, device, widths=(4, 6)))
            points[name].append(small.ap50)
            metrics.row(seed=seed, low_quality_matches=allowed, ap=small.ap, ap50=small.ap50)
    learning_curves(
        run_dir / "low_quality_matches.png",
        {"AP50 of small bars": {name: (SEEDS, values) for name, values in points.items()}},
        xlabel="seed",
    )
    # over 3 seeds: 0.64 to 0.86 with, 0.00 without; a matching that knows only one of the two: equal figures
    assert min(points["with"]) >= 0.5, f"AP50 of small bars with low-quality matches: {points['with']}"
    assert max(points["without"]) <= 0.1, f"AP50 of small bars without them: {points['without']}"
