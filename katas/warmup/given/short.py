"""The full checks and dynamics in seconds, for `--short`."""

from katas.lab.plugin.short import first
from katas.warmup.given import recipes

MODULES = (recipes,)
CHANGES = dict(
    SEEDS=(0,), RATE_SEEDS=(0,), RANGE_BATCHES=4, RATE_STEPS=2, small_digits=first(80), mnist=first(80),
    cifar10=first(80), DIGIT_EPOCHS=1, FEW_EPOCHS=1, MNIST_EPOCHS=1, CIFAR_EPOCHS=1, DEEP_EPOCHS=1, DEPTH=3,
)  # fmt: skip
