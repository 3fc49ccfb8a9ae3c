"""Pictures of a run. Every function writes one PNG file and keeps nothing: no window, no global figure."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator
from torch import Tensor

FOUND, MISSED, WRONG = "#3ddc84", "#ffb000", "#ff4d4d"

Curve = tuple[Sequence[float], Sequence[float]]  # x values, y values


def learning_curves(
    path: Path, panels: Mapping[str, Mapping[str, Curve]], *, xlabel: str = "step", log_y: bool = False
) -> Path:
    """One panel for each entry of `panels`: its title, and its curves by name.

    `{"loss": {"seed 0": (steps, losses)}}`
    """
    figure, axes = new_figure(1, len(panels), size=(4.2, 3.0))
    for axis, (title, curves) in zip(axes, panels.items(), strict=True):
        for name, (x, y) in curves.items():
            axis.plot(x, y, label=name, linewidth=1.2, marker="o" if len(x) <= 12 else None, markersize=3)
            if all(isinstance(one, int) for one in x):
                axis.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))  # there is no seed 0.5
        axis.set_title(title, fontsize=9)
        axis.set_xlabel(xlabel, fontsize=8)
        axis.set_yscale("log" if log_y else "linear")
        axis.tick_params(which="both", labelsize=7)
        axis.grid(alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)
        if len(curves) > 1:
            axis.legend(fontsize=7, frameon=False)
    return save(figure, path)


def detections_sheet(
    path: Path,
    images: Sequence[Tensor],
    detections: Sequence,
    truths: Sequence[tuple[Tensor, Tensor]] | None = None,
    *,
    columns: int = 6,
    score_thresh: float = 0.4,
    names: Sequence[str] | None = None,
) -> Path:
    """The images (3, H, W), uint8 or in [0, 1], with what was detected in each: boxes, class and score.

    With `truths` (boxes, labels) a detection is green if it is right (IoU ≥ 0.5 and the class) and red if
    not; a truth that was not found is drawn dashed.
    """
    rows = -(-len(images) // columns)
    figure, axes = new_figure(rows, columns, size=(1.7, 1.7))
    for axis in axes:
        axis.axis("off")
    for index, (image, found) in enumerate(zip(images, detections, strict=True)):
        axis = axes[index]
        axis.imshow(_as_picture(image), interpolation="nearest")
        truth = None if truths is None else truths[index]
        right, hit = _judge(found, truth, score_thresh)
        for box, score, label, good in zip(
            found.boxes.tolist(), found.scores.tolist(), found.labels.tolist(), right, strict=True
        ):
            if score >= score_thresh:
                name = str(label) if names is None else names[label]
                _draw(axis, box, FOUND if good else WRONG, f"{name} {score:.2f}".replace("0.", "."))
        for box, known in zip([] if truth is None else truth[0].tolist(), hit, strict=True):
            if not known:
                _draw(axis, box, MISSED, "", linestyle="--")
    return save(figure, path)


def image_grid(path: Path, images: Tensor, *, columns: int = 10, titles: Sequence[str] | None = None) -> Path:
    """Grey images (N, 1, H, W) in [0, 1], row after row; `titles` above each, if given."""
    rows = -(-len(images) // columns)
    figure, axes = new_figure(rows, columns, size=(0.7, 0.85 if titles else 0.7))
    for axis in axes:
        axis.axis("off")
    for index, image in enumerate(images):
        axes[index].imshow(
            image[0].detach().cpu().clamp(0, 1).numpy(), cmap="gray_r", vmin=0, vmax=1, interpolation="nearest"
        )
        if titles:
            axes[index].set_title(titles[index], fontsize=6, pad=2)
    return save(figure, path)


def point_clouds(path: Path, clouds: Mapping[str, Tensor]) -> Path:
    """Sets of points (N, 2) side by side, by title, to the same scale."""
    figure, axes = new_figure(1, len(clouds), size=(2.4, 2.5))
    limit = 1.05 * max(float(points.abs().quantile(0.999)) for points in clouds.values())
    for axis, (title, points) in zip(axes, clouds.items(), strict=True):
        axis.scatter(*points.detach().cpu().T.numpy(), s=1.5, linewidths=0, alpha=0.6)
        axis.set(xlim=(-limit, limit), ylim=(-limit, limit), aspect="equal", xticks=[], yticks=[])
        axis.set_title(title, fontsize=8)
    return save(figure, path)


def save(figure: Figure, path: Path, *, dpi: int = 110) -> Path:
    """Writes the figure as a PNG file; missing folders are made."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=dpi)
    return path


def new_figure(rows: int, columns: int, *, size: tuple[float, float]) -> tuple[Figure, list]:
    """A figure of rows × columns panels, each of `size` inches, and its axes in reading order."""
    figure = Figure(figsize=(size[0] * columns, size[1] * rows), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, list(np.ravel(figure.subplots(rows, columns, squeeze=False)))


def _as_picture(image: Tensor) -> np.ndarray:
    image = image.detach().cpu().permute(1, 2, 0)
    return image.numpy() if not image.is_floating_point() else image.clamp(0, 1).numpy()


def _draw(axis, box, color: str, text: str, linestyle: str = "-") -> None:
    x1, y1, x2, y2 = (number - 0.5 for number in box)  # imshow counts from the first pixel's middle
    style = dict(fill=False, color=color, linewidth=1.1, linestyle=linestyle)
    axis.add_patch(Rectangle((x1, y1), x2 - x1, y2 - y1, **style))
    if text:
        above = y1 > 8
        axis.text(
            x1, y1 - 1 if above else y2 + 1, text, fontsize=6, color="white", va="bottom" if above else "top",
            bbox=dict(facecolor=color, alpha=0.75, pad=0.6, linewidth=0),
        )  # fmt: skip


def _judge(found, truth, score_thresh: float) -> tuple[list[bool], list[bool]]:
    """For each detection whether it is right, by falling score; for each truth whether it was found."""
    if truth is None:
        return [True] * len(found.boxes), []
    boxes, labels = truth[0].tolist(), truth[1].tolist()
    hit, right = [False] * len(boxes), [False] * len(found.boxes)
    for index in found.scores.argsort(descending=True).tolist():
        box, label = found.boxes[index].tolist(), int(found.labels[index])
        overlaps = [0.0 if hit[t] or labels[t] != label else _iou(box, boxes[t]) for t in range(len(boxes))]
        best = max(range(len(boxes)), key=overlaps.__getitem__, default=None)
        if best is not None and overlaps[best] >= 0.5 and found.scores[index] >= score_thresh:
            right[index] = hit[best] = True
    return right, hit


def _iou(box, other) -> float:
    width = min(box[2], other[2]) - max(box[0], other[0])
    height = min(box[3], other[3]) - max(box[1], other[1])
    inside = max(width, 0) * max(height, 0)
    areas = [(b[2] - b[0]) * (b[3] - b[1]) for b in (box, other)]
    return inside / (sum(areas) - inside) if inside else 0.0
