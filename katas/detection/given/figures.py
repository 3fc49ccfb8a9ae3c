"""The pictures of the README, drawn from the solutions. `python -m katas figures detection`

Each function draws on a `Figure`; `finished_run.png` beside them is made by the full check.
"""

import torch
from matplotlib.patches import Rectangle

from katas.detection.anchors import base_anchors, grid_anchors
from katas.detection.box_losses import giou_loss, smooth_l1_loss
from katas.detection.boxes import box_iou, generalized_box_iou
from katas.detection.focal_loss import sigmoid_focal_loss
from katas.detection.matching import match_anchors
from katas.detection.nms import nms, soft_nms
from katas.detection.precision_recall import interpolated_precision, precision_recall_curve
from katas.lab.checks.plots import new_figure, save

GREEN, RED, GREY, BLUE, AMBER = "#1a9850", "#d73027", "#999999", "#2166ac", "#e08214"


def draw_boxes(axis, boxes, color, **style) -> None:
    for x1, y1, x2, y2 in boxes.tolist():
        axis.add_patch(
            Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, edgecolor=color, **({"linewidth": 1.2} | style))
        )


def image_axes(axis, width, height, title) -> None:
    axis.set(xlim=(0, width), ylim=(height, 0), aspect="equal", xticks=[], yticks=[])
    axis.set_title(title, fontsize=9)


def boxes(path) -> None:
    """IoU and GIoU of a box that slides over another and away from it."""
    shift = torch.linspace(0, 30, 121)
    moving = torch.tensor([[0.0, 0, 10, 8]]) + shift[:, None] * torch.tensor([1.0, 0, 1, 0])
    fixed = torch.tensor([[0.0, 0, 10, 8]])
    figure, (axis,) = new_figure(1, 1, size=(4.4, 2.5))
    axis.plot(shift, box_iou(moving, fixed)[:, 0], color=BLUE, label="IoU")
    axis.plot(shift, generalized_box_iou(moving, fixed)[:, 0], color=AMBER, label="GIoU")
    axis.axvline(10, color=GREY, linewidth=0.8, linestyle=":")
    axis.text(10.4, 0.75, "from here on apart", fontsize=7, color=GREY)
    axis.set_xlabel("shift in pixels, of a box 10 wide", fontsize=8)
    axis.legend(fontsize=8, frameon=False)
    save(figure, path)


def anchors(path) -> None:
    """The shapes of one cell, and the centres of all cells of two levels."""
    figure, axes = new_figure(1, 2, size=(2.7, 2.7))
    shapes = base_anchors(32, (1.0, 2**0.5), (0.5, 1.0, 2.0))
    for row, color in zip(shapes + 48, [BLUE, BLUE, GREY, GREY, AMBER, AMBER], strict=True):
        draw_boxes(axes[0], row[None], color)
    image_axes(axes[0], 96, 96, "one cell: ratio h / w = ½, 1, 2")
    for stride, color in ((8, GREY), (32, RED)):
        cells = grid_anchors((96 // stride, 96 // stride), stride, base_anchors(stride, (1.0,), (1.0,)))
        axes[1].plot(*((cells[:, :2] + cells[:, 2:]) / 2).T, ".", color=color, markersize=2 if stride == 8 else 6)
        draw_boxes(axes[1], cells, color, linewidth=0.2 if stride == 8 else 0.9)
    image_axes(axes[1], 96, 96, "centres: strides 8 and 32")
    save(figure, path)


def matching(path) -> None:
    """Foreground (green) and ignored (grey) anchors of a common, a tiny and a wide object, without and with rescue."""
    truths = torch.tensor([[10.0, 11, 34, 45], [60, 19, 67, 28], [36, 66, 90, 79]])
    levels = ((8, 22), (16, 44))
    grid = torch.cat([grid_anchors((96 // s, 96 // s), s, base_anchors(size, (1,), (1, 1.4))) for s, size in levels])
    figure, axes = new_figure(1, 2, size=(2.7, 2.8))
    for axis, rescue in zip(axes, (False, True), strict=True):
        matched = match_anchors(box_iou(truths, grid), allow_low_quality_matches=rescue)
        draw_boxes(axis, grid[matched == -2], GREY, linewidth=0.6)
        draw_boxes(axis, grid[matched >= 0], GREEN, linewidth=1)
        draw_boxes(axis, truths, "black", linewidth=1.8)
        served = len(matched[matched >= 0].unique())
        how = "with" if rescue else "without"
        image_axes(axis, 96, 96, f"{how} low-quality matches:\n{served} of {len(truths)} objects have an anchor")
    save(figure, path)


def focal_loss(path) -> None:
    """The loss of a positive over the probability it is given."""
    p = torch.linspace(0.01, 0.99, 99, dtype=torch.float64)
    figure, (axis,) = new_figure(1, 1, size=(4.4, 2.5))
    for gamma, color in ((0, GREY), (0.5, BLUE), (2, GREEN), (5, AMBER)):
        loss = sigmoid_focal_loss(torch.logit(p), torch.ones_like(p), alpha=1, gamma=gamma)
        axis.plot(p, loss, color=color, label="γ = 0: cross-entropy" if gamma == 0 else f"γ = {gamma}")
    axis.set(yscale="log", ylim=(1e-5, 6))
    axis.set_xlabel("probability of the right answer", fontsize=8)
    axis.legend(fontsize=7, frameon=False)
    save(figure, path)


def box_losses(path) -> None:
    """Smooth L1 for three β, and the GIoU loss of boxes that slide apart."""
    figure, axes = new_figure(1, 2, size=(2.9, 2.3))
    d = torch.linspace(-2, 2, 201)
    for beta, color in ((0, GREY), (0.11, BLUE), (1, GREEN)):
        axes[0].plot(d, smooth_l1_loss(d, torch.zeros_like(d), beta=beta), color=color, label=f"β = {beta}")
    axes[0].set_title("smooth L1", fontsize=9)
    axes[0].legend(fontsize=7, frameon=False)
    shift = torch.linspace(-25, 25, 201)
    fixed = torch.tensor([[0.0, 0, 10, 8]]).repeat(201, 1)
    axes[1].plot(shift, giou_loss(fixed + shift[:, None] * torch.tensor([1.0, 0, 1, 0]), fixed), color=AMBER)
    axes[1].set_title("GIoU loss, over the shift of a box 10 wide", fontsize=9)
    save(figure, path)


def suppression(path) -> None:
    """Many boxes around two objects: what hard suppression keeps, and how soft suppression lowers scores."""
    generator = torch.Generator().manual_seed(4)
    objects = torch.tensor([[10.0, 20, 50, 80], [36.0, 22, 78, 82]])
    found = objects.repeat_interleave(6, dim=0) + 4 * torch.randn(12, 4, generator=generator)
    scores = torch.rand(12, generator=generator) * 0.6 + 0.4
    kept, soft = nms(found, scores, 0.5), soft_nms(found, scores)
    lowered = torch.empty(12).index_put((soft.indices,), soft.scores)
    figure, axes = new_figure(1, 3, size=(2.2, 2.3))
    for axis, alpha, title in (
        (axes[0], scores, "12 detections, by score"),
        (axes[1], torch.isin(torch.arange(12), kept).float(), f"NMS at 0.5 keeps {len(kept)}"),
        (axes[2], lowered, "soft-NMS lowers scores"),
    ):
        for box, strength in zip(found, alpha.tolist(), strict=True):
            draw_boxes(axis, box[None], BLUE, alpha=max(strength, 0.03), linewidth=1.6)
        image_axes(axis, 92, 100, title)
    save(figure, path)


def judging(path) -> None:
    """A precision-recall curve as it is found, and under its envelope."""
    correct = torch.tensor([1, 1, 0, 1, 1, 1, 0, 0, 1, 0, 1, 1, 0, 0, 1]).bool()
    curve = precision_recall_curve(torch.linspace(0.95, 0.2, 15), correct, num_positives=12)
    points = torch.linspace(0, 1, 101, dtype=torch.float64)
    envelope = interpolated_precision(*curve, points)
    figure, (axis,) = new_figure(1, 1, size=(4.4, 2.5))
    axis.plot(curve.recall, curve.precision, "o-", color=BLUE, markersize=3, linewidth=0.9, label="as found")
    axis.plot(points, envelope, color=AMBER, linewidth=1.2, label="envelope, at 101 recalls")
    axis.set(xlim=(0, 1), ylim=(0, 1.05))
    axis.set_xlabel("recall", fontsize=8)
    axis.set_ylabel("precision", fontsize=8)
    axis.legend(fontsize=8, frameon=False, loc="lower left")
    save(figure, path)


FIGURES = {
    "boxes.png": boxes,
    "anchors.png": anchors,
    "matching.png": matching,
    "focal_loss.png": focal_loss,
    "box_losses.png": box_losses,
    "suppression.png": suppression,
    "judging.png": judging,
}
