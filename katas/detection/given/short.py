"""The full checks and dynamics in seconds, for `--short`."""

from katas.detection.given import recipes
from katas.lab.checks.recorder import LossRecorder
from katas.lab.plugin.short import always, at_most, nothing

MODULES = (recipes, LossRecorder)
CHANGES = dict(
    SEEDS=(0,), SCENES=16, VOC_EPOCHS=1,
    digit_scenes=at_most(16), bar_scenes=at_most(16), train_detector=always(epochs=1), every=1,
    learning_curves=nothing,  # a curve has fewer steps than it says
)  # fmt: skip
