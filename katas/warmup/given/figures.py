"""The pictures of the README, drawn from the solutions. `python -m katas figures warmup`"""

import torch
from torch import nn

from katas.lab.checks.plots import new_figure, save
from katas.lab.digits import small_digits
from katas.warmup.augmentation import random_flip_crop
from katas.warmup.cross_entropy import log_softmax
from katas.warmup.given import recipes
from katas.warmup.initialisation import activation_scales
from katas.warmup.lr_schedules import warmup_cosine
from katas.warmup.optimizers import SGD, AdamW

GREEN, RED, GREY, BLUE, AMBER = "#1a9850", "#d73027", "#999999", "#2166ac", "#e08214"


def labelled(axis, x: str, y: str) -> None:
    axis.set_xlabel(x, fontsize=8)
    axis.set_ylabel(y, fontsize=8)
    axis.tick_params(labelsize=7)
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(fontsize=7, frameon=False)


def stable(path) -> None:
    """The loss of a wrong answer, in float32, over how sure the network was of the right one's rival."""
    gaps = torch.linspace(0, 200, 401)
    logits = torch.stack([torch.zeros_like(gaps), gaps], dim=1)
    with_epsilon = -(logits.softmax(1) + 1e-12).log()[:, 0]
    naive = -(logits.exp() / logits.exp().sum(1, keepdim=True)).log()[:, 0]
    figure, (axis,) = new_figure(1, 1, size=(4.4, 2.3))
    axis.plot(gaps, -log_softmax(logits)[:, 0], color=BLUE, label="log_softmax")
    axis.plot(gaps, with_epsilon, color=AMBER, label="log(softmax + 1e-12): no gradient beyond 28")
    axis.plot(gaps, naive, color=RED, linestyle="--", label="log(exp / sum of exp): NaN beyond 88")
    labelled(axis, "gap between the wrong logit and the right one", "loss")
    save(figure, path)


def sizes(path) -> None:
    """Through forty layers, at the start."""
    train, _ = recipes.digits_of(torch.device("cpu"))
    figure, (axis,) = new_figure(1, 1, size=(4.4, 2.3))
    for name, options, color in (
        ("PyTorch's default", {}, RED), ("Kaiming", {"kaiming": True}, BLUE), ("batch norm", {"norm": True}, GREEN),
    ):  # fmt: skip
        model = recipes.deep_network(0, torch.device("cpu"), **options)
        model[-1] = nn.Identity()
        found = activation_scales(model, train.images[:200])
        linear = [size for key, size in found.items() if key.endswith("linear")]
        axis.plot(range(1, len(linear) + 1), linear, color=color, label=name)
    axis.set(yscale="log")
    labelled(axis, "layer", "root mean square")
    save(figure, path)


def schedule(path) -> None:
    figure, (axis,) = new_figure(1, 1, size=(4.4, 2.1))
    plan = dict(warmup_steps=20, total_steps=160)
    for least, color in ((0.0, BLUE), (0.1, AMBER)):
        factors = [warmup_cosine(step, min_ratio=least, **plan) for step in range(200)]
        axis.plot(factors, color=color, label=f"min_ratio {least:g}")
    for step in (20, 160):
        axis.axvline(step, color=GREY, linewidth=0.8, linestyle=":")
    labelled(axis, "step", "factor")
    save(figure, path)


def paths(path) -> None:
    """On a long valley: 25 times as steep across as along."""
    figure, (axis,) = new_figure(1, 1, size=(4.8, 2.6))
    x, y = torch.meshgrid(torch.linspace(-2.3, 0.7, 100), torch.linspace(-1.2, 1.2, 100), indexing="xy")
    axis.contour(x, y, x**2 + 25 * y**2, levels=[0.1, 0.5, 1.5, 4, 9, 18, 30], colors=GREY, linewidths=0.4)
    for name, make, color in (
        ("SGD", lambda w: SGD(w, lr=0.035), RED),
        ("momentum 0.8", lambda w: SGD(w, lr=0.012, momentum=0.8), BLUE),
        ("AdamW", lambda w: AdamW(w, lr=0.12, betas=(0.8, 0.99), weight_decay=0), GREEN),
    ):
        weight = nn.Parameter(torch.tensor([-2.0, 0.9]))
        optimizer, way = make([weight]), [[-2.0, 0.9]]
        for _ in range(40):
            optimizer.zero_grad()
            (weight[0] ** 2 + 25 * weight[1] ** 2).backward()
            optimizer.step()
            way.append(weight.tolist())
        axis.plot(*torch.tensor(way).T, "o-", color=color, markersize=2, linewidth=0.9, label=name)
    labelled(axis, "along", "across")
    save(figure, path)


def moved(path) -> None:
    """One digit, and what becomes of it."""
    image = small_digits("train").images[3:4]
    batch = random_flip_crop(image.expand(7, 1, 8, 8), 2, torch.Generator().manual_seed(1), flip_probability=0.0)
    figure, axes = new_figure(1, 8, size=(0.9, 1.0))
    for axis, one in zip(axes, torch.cat([image, batch]), strict=True):
        axis.imshow(one[0], cmap="gray_r", vmin=0, vmax=1)
        axis.set(xticks=[], yticks=[])
    save(figure, path)


FIGURES = {
    "stable.png": stable, "sizes.png": sizes, "schedule.png": schedule, "paths.png": paths, "moved.png": moved,
}  # fmt: skip
