"""Full checks: your classifier, trained within minutes of a GTX 1060. `pytest katas/warmup -m gpu`

scikit-learn's digits need no data. MNIST and CIFAR-10 need `--data DIR` (or `--download`). Metrics and learning curves
are left under runs/warmup/.
"""

from statistics import mean

import pytest
import torch
import torchvision

from katas.lab.checks.budget import flops_of
from katas.lab.checks.plots import learning_curves
from katas.lab.data import DataError, DataMissing
from katas.lab.digits import Digits, mnist
from katas.warmup.cross_entropy import cross_entropy
from katas.warmup.given import recipes
from katas.warmup.training import evaluate

pytestmark = [pytest.mark.gpu, pytest.mark.usefixtures("one_thread")]
SEEDS = (0, 1, 2, 3, 4)
WIDTHS = (16, 32, 64)


def curves(path, by_seed):
    panels = {"loss": {}, "accuracy": {}}
    for seed, reports in by_seed.items():
        epochs = [report.epoch + 1 for report in reports]
        panels["loss"][f"training, seed {seed}"] = (epochs, [report.train.loss for report in reports])
        panels["accuracy"][f"test, seed {seed}"] = (epochs, [report.test.accuracy for report in reports])
    learning_curves(path, panels, xlabel="epoch")


def flops_of_an_epoch(model, train) -> float:
    images, labels = train.images[:64], train.labels[:64]
    flops = flops_of(lambda: cross_entropy(model(images), labels).backward()) * len(train.labels) / len(labels)
    model.zero_grad()
    return flops


@pytest.fixture
def train_one(device, metrics, progress, budget):
    """`train_one(model, train, test, seed, epochs=…)`: the reports, with progress, metrics and the cost."""

    def train(model, train, test, seed, *, epochs, name, max_seconds=5 * 60.0, **options):
        bar = progress(epochs, f"{name}, seed {seed}")

        def on_epoch(report):
            metrics.row(seed=seed, epoch=report.epoch + 1, loss=report.train.loss, accuracy=report.test.accuracy)
            bar.update(1)

        with budget(flops=epochs * flops_of_an_epoch(model, train), max_seconds=max_seconds):
            return recipes.trained(model, train, test, seed, epochs=epochs, on_epoch=on_epoch, **options)

    return train


def test_digits(device, run_dir, train_one):
    train, test = recipes.digits_of(device)
    by_seed = {
        seed: train_one(
            recipes.classifier(seed, device), train, test, seed, epochs=recipes.DIGIT_EPOCHS, name="digits", padding=1
        )
        for seed in SEEDS
    }
    curves(run_dir / "curves.png", by_seed)
    found = [reports[-1].test.accuracy for reports in by_seed.values()]
    # Right code, seeds 0 to 7, CPU: 0.987 to 1.000, mean 0.993, standard error of a mean of five 0.002
    assert mean(found) >= 0.985, f"accuracy on digits that were never seen, five seeds: {found}"


def test_sixteen_digits_are_overfitted(device, run_dir, train_one):
    train, _ = recipes.digits_of(device)
    few = Digits(train.images[:16], train.labels[:16])
    model = recipes.classifier(0, device)
    reports = train_one(model, few, few, 0, epochs=recipes.FEW_EPOCHS, name="sixteen digits", batch_size=16, lr=1e-2)
    curves(run_dir / "curves.png", {0: reports})
    loss = evaluate(model, recipes.Batches(few, 16)).loss
    # Right code, seeds 0 to 3, CPU: 3.3e-4 to 4.7e-4
    assert loss < 1e-3, f"sixteen digits, overfitted: loss {loss:.2e}"


def test_mnist(device, run_dir, train_one, data_dir, download, record_property):
    try:
        train, test = (recipes.on(device, mnist(data_dir, split, download=download)) for split in ("train", "test"))
    except DataMissing as error:
        pytest.skip(str(error))
    model = recipes.classifier(0, device, widths=WIDTHS)
    options = dict(epochs=recipes.MNIST_EPOCHS, name="MNIST", batch_size=128, padding=2, max_seconds=3 * 60.0)
    reports = train_one(model, train, test, 0, **options)
    curves(run_dir / "curves.png", {0: reports})
    told = f"accuracy on MNIST's test digits: {reports[-1].test.accuracy:.4f} (hoped for: 0.994)"
    record_property("found", told)
    assert reports[-1].test.accuracy >= 0.98, told


def test_cifar10(device, run_dir, train_one, data_dir, download, record_property):
    train, test = (recipes.on(device, cifar10(data_dir, split, download)) for split in ("train", "test"))
    model = recipes.classifier(0, device, in_channels=3, widths=(32, 64, 128))
    options = dict(epochs=recipes.CIFAR_EPOCHS, name="CIFAR-10", batch_size=128, padding=4, flip_probability=0.5)
    reports = train_one(model, train, test, 0, **options, max_seconds=15 * 60.0)
    curves(run_dir / "curves.png", {0: reports})
    told = f"accuracy on CIFAR-10's test images: {reports[-1].test.accuracy:.4f} (hoped for: 0.92)"
    record_property("found", told)
    # Nobody has run this recipe on the data: 0.92 is told, not asked for. Guessing reaches 0.10.
    assert reports[-1].test.accuracy >= 0.3, told


def cifar10(data_dir, split: str, download: bool) -> Digits:
    """Images (N, 3, 32, 32) in [0, 1], less their mean, and labels."""
    try:
        data = torchvision.datasets.CIFAR10(data_dir, train=split == "train", download=download)
    except (RuntimeError, OSError) as error:
        if download:
            raise DataError(f"CIFAR-10 could not be fetched into {data_dir}: {error}") from error
        pytest.skip(f"CIFAR-10 is missing: expected cifar-10-batches-py in {data_dir}. --data DIR, or --download")
    images = torch.from_numpy(data.data).permute(0, 3, 1, 2).float() / 255
    return Digits((images - 0.47) / 0.25, torch.tensor(data.targets))
