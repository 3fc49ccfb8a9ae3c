"""The pictures of the README, drawn from the solutions. `python -m katas figures active_learning`"""

from types import SimpleNamespace

import torch
import torch.nn.functional as F

from katas.active_learning.calibration import fit_temperature
from katas.active_learning.given import comparison, recipes
from katas.active_learning.given.frames import frames
from katas.active_learning.uncertainty import entropy, least_confidence, margin
from katas.lab.checks.plots import detections_sheet, learning_curves, new_figure, save


def camera(path) -> None:
    """Two thirds of a drive: what the robot saw, and the digits in it."""
    drive = frames(3, kind="pool", seed=2)
    shown = range(50, 66)
    truths = [
        SimpleNamespace(boxes=drive.boxes[i], labels=drive.labels[i], scores=torch.ones(len(drive.labels[i])))
        for i in shown
    ]
    detections_sheet(path, [drive.images[i] for i in shown], truths, columns=8)


def scores(path) -> None:
    """Three scores of three classes, over the triangle of their probabilities."""
    a, b = torch.meshgrid(torch.linspace(0, 1, 201), torch.linspace(0, 3**0.5 / 2, 175), indexing="xy")
    third = b / (3**0.5 / 2)
    second = a - third / 2
    probs = torch.stack((1 - second - third, second, third), dim=-1).double()
    inside = (probs >= 0).all(dim=-1)
    probs = torch.where(inside[..., None], probs, torch.tensor([1.0, 0, 0], dtype=torch.float64))
    figure, axes = new_figure(1, 3, size=(2.2, 2.1))
    for axis, score in zip(axes, (least_confidence, margin, entropy), strict=True):
        worth = score(probs.log())
        worth = torch.where(inside, worth / worth.max(), torch.nan)
        axis.contourf(a, b, worth, levels=12, cmap="viridis")
        axis.set(aspect="equal", xticks=[], yticks=[])
        axis.spines[:].set_visible(False)
        axis.set_title(score.__name__.replace("_", " "), fontsize=8, pad=12)
        for x, y, name in ((0, 0, "class 0"), (1, 0, "class 1"), (0.5, 3**0.5 / 2, "class 2")):
            axis.annotate(name, (x, y), fontsize=6, ha="center", va="bottom" if y else "top")
    save(figure, path)


def copies(path) -> None:
    """How many different digits a batch of twenty holds, mean of four seeds."""
    found = [recipes.bought_among_copies(seed, "cpu") for seed in range(4)]
    names = ("mutual information", "margin", "BatchBALD", "BADGE", "random", "k-center")
    means = [sum(one[name][0] for one in found) / len(found) for name in names]
    figure, (axis,) = new_figure(1, 1, size=(5.0, 2.0))
    axis.barh(names, means, color="#1f77b4")
    axis.axvline(recipes.LARGE_BATCH, color="black", linewidth=0.8)
    axis.set_xlabel(f"different digits among {recipes.LARGE_BATCH} that are bought", fontsize=8)
    axis.set_xticks(range(0, recipes.LARGE_BATCH + 1, 5))
    axis.tick_params(labelsize=8)
    axis.spines[["top", "right"]].set_visible(False)
    save(figure, path)


def calibration(path) -> None:
    """Accuracy against confidence of one small classifier, before and after its temperature."""
    pool, test = recipes.digits("cpu")
    start = recipes.start_of(0, "cpu", 6)
    model = recipes.fitted_classifier(pool.images[start], pool.labels[start], 0)
    with torch.no_grad():
        logits = model(test.images)
    half = torch.arange(len(logits)) % 2 == 0
    temperature = float(fit_temperature(logits[half], test.labels[half]))
    figure, axes = new_figure(1, 2, size=(2.6, 2.3))
    for axis, (title, t) in zip(axes, (("as trained", 1.0), (f"T = {temperature:.1f}", temperature)), strict=True):
        confidence, predicted = F.softmax(logits[~half] / t, dim=1).max(dim=1)
        right, bins = (predicted == test.labels[~half]).float(), (confidence * 5).ceil().clamp(1, 5)
        held = [n for n in range(1, 6) if (bins == n).sum() >= 5]
        x = [float(confidence[bins == n].mean()) for n in held]
        axis.plot([0, 1], [0, 1], color="grey", linewidth=0.8)
        axis.plot(x, [float(right[bins == n].mean()) for n in held], marker="o", markersize=3, linewidth=1.2)
        axis.set(xlim=(0, 1.02), ylim=(0, 1.02), aspect="equal")
        axis.set_title(title, fontsize=8)
        axis.set_xlabel("confidence", fontsize=7)
        axis.set_ylabel("accuracy", fontsize=7)
        axis.tick_params(labelsize=6)
    save(figure, path)


def curves(path) -> None:
    """Accuracy on digits against the number of labels, mean of three seeds."""
    task, drawn = recipes.digits_task("cpu"), {}
    for name in ("random", "entropy", "margin", "BADGE"):
        runs = [comparison.run(task, name, seed) for seed in range(3)]
        labels = comparison.numbers_of_labels(runs[0]).tolist()
        drawn[name] = (labels, comparison.scores_of(runs).mean(dim=0).tolist())
    learning_curves(path, {"accuracy on unseen digits, mean of 3 seeds": drawn}, xlabel="labels")


FIGURES = {
    "camera.png": camera,
    "scores.png": scores,
    "copies.png": copies,
    "calibration.png": calibration,
    "curves.png": curves,
}
