"""The recipes of the warm-up checks: batches, a classifier of digits, and deep networks with and without help."""

from collections.abc import Iterator
from itertools import chain, islice, repeat
from statistics import mean

import torch
from torch import Tensor, nn

from katas.lab.digits import NUM_CLASSES, Digits, small_digits
from katas.warmup.augmentation import random_flip_crop
from katas.warmup.cross_entropy import cross_entropy
from katas.warmup.initialisation import kaiming_normal_
from katas.warmup.lr_schedules import warmup_cosine
from katas.warmup.optimizers import SGD, AdamW
from katas.warmup.resnet import ResNet
from katas.warmup.training import fit

DIGIT_EPOCHS, FEW_EPOCHS, MNIST_EPOCHS, CIFAR_EPOCHS = 30, 200, 4, 30


class Batches:
    """Batches (images, labels) on the device of the images, shuffled anew at every pass if there is a generator."""

    def __init__(
        self, data: Digits, batch_size: int, *, generator=None, padding: int = 0, flip_probability: float = 0.0
    ):
        self.data, self.batch_size, self.generator = data, batch_size, generator
        self.padding, self.flip_probability = padding, flip_probability

    def __len__(self) -> int:
        return -(-len(self.data.labels) // self.batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        images, labels = self.data
        device, count = images.device, len(labels)
        moves = self.generator is not None
        order = torch.randperm(count, generator=self.generator, device=device) if moves else torch.arange(count)
        for chosen in order.to(device).split(self.batch_size):
            batch = images[chosen]
            if moves:
                options = dict(flip_probability=self.flip_probability)
                batch = random_flip_crop(batch, self.padding, self.generator, **options)
            yield batch, labels[chosen]


def on(device, data: Digits) -> Digits:
    return Digits(*(part.to(device) for part in data))


def digits_of(device) -> tuple[Digits, Digits]:
    """scikit-learn's, to train on and to judge by."""
    return on(device, small_digits("train")), on(device, small_digits("test"))


def classifier(seed: int, device, *, in_channels: int = 1, widths=(16, 32)) -> ResNet:
    torch.manual_seed(seed)
    return ResNet(NUM_CLASSES, in_channels=in_channels, widths=widths).to(device)


def trained(
    model: nn.Module,
    train: Digits,
    test: Digits,
    seed: int,
    *,
    epochs: int,
    batch_size=64,
    lr=3e-3,
    on_epoch=None,
    **moves,
):
    """The reports of all epochs; by AdamW, with a warm-up of an epoch and a cosine to 0."""
    generator = torch.Generator(train.images.device).manual_seed(seed)
    batches = Batches(train, batch_size, generator=generator, **moves)
    plan = dict(warmup_steps=len(batches), total_steps=epochs * len(batches))
    return fit(
        model, batches, Batches(test, 500), AdamW(model.parameters(), lr=lr, weight_decay=0.05), epochs=epochs,
        max_grad_norm=1.0, rate_factor=lambda step: warmup_cosine(step, **plan), on_epoch=on_epoch,
    )  # fmt: skip


# --- learning rates ---------------------------------------------------------------------------------------------------

RANGE_BATCHES, LOWEST_RATE, HIGHEST_RATE, RATE_STEPS = 200, 1e-4, 100.0, 126


def three_layers(seed: int, device) -> nn.Module:
    """On the pixels of a small digit, without a norm."""
    torch.manual_seed(seed)
    sizes = (64, 64), (64, 64)
    hidden = [part for size in sizes for part in (nn.Linear(*size), nn.ReLU())]
    return nn.Sequential(nn.Flatten(), *hidden, nn.Linear(64, NUM_CLASSES)).to(device)


def some_batches(train: Digits, seed: int, count: int) -> list[tuple[Tensor, Tensor]]:
    batches = Batches(train, 64, generator=torch.Generator(train.images.device).manual_seed(seed))
    return list(islice(chain.from_iterable(repeat(batches)), count))


def loss_of(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    return cross_entropy(model(images), labels)


def loss_after(model: nn.Module, batches: list[tuple[Tensor, Tensor]], rate: float) -> float:
    """Of plain SGD at one rate: the mean of the last sixth of its losses."""
    optimizer, losses = SGD(model.parameters(), lr=rate), []
    for batch in batches:
        loss = loss_of(model, *batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    return mean(torch.stack(losses[-max(1, len(losses) // 6) :]).tolist())


# --- depth ------------------------------------------------------------------------------------------------------------

DEPTH, WIDTH, DEEP_EPOCHS = 40, 64, 8


class Layer(nn.Module):
    """Linear and ReLU; with a norm between them, and a shortcut around them, if asked."""

    def __init__(self, norm: bool, residual: bool):
        super().__init__()
        self.linear, self.residual = nn.Linear(WIDTH, WIDTH, bias=False), residual
        self.norm = nn.BatchNorm1d(WIDTH) if norm else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        out = self.norm(self.linear(x)).relu()
        return x + out if self.residual else out


def deep_network(seed: int, device, *, kaiming: bool = False, norm: bool = False, residual: bool = False) -> nn.Module:
    """DEPTH layers between a first and a last one, on the pixels of a small digit."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    layers = [Layer(norm, residual) for _ in range(DEPTH)]
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, WIDTH), *layers, nn.Linear(WIDTH, NUM_CLASSES))
    if kaiming:
        for layer in layers:
            kaiming_normal_(layer.linear.weight, generator=generator)
    return model.to(device)
