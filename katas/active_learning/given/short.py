"""The full checks and dynamics in seconds, for `--short`."""

from katas.active_learning.given import detector, recipes
from katas.lab.checks.recorder import LossRecorder

MODULES = (recipes, detector, LossRecorder)
CHANGES = dict(
    SEEDS=(0,), COLD_SEEDS=(0,), DIGIT_SEEDS=(0, 1), FRAME_SEEDS=(0, 1), DIGIT_STEPS=2, DIGIT_BUDGET=40, STEPS=2,
    DRIVES_BEFORE=1, STEPS_BEFORE=2, POOL_DRIVES=1, TEST_DRIVES=1, FIRST_FRAMES=4, FRAME_BATCH=2, FRAME_BUDGET=6,
    ORIGINALS=10, COPIES=2, LARGE_BATCH=3, CONFIGURATIONS=20, MEMBERS=2, every=1,
)  # fmt: skip
