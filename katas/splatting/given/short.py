"""The full checks and dynamics in seconds, for `--short`."""

from katas.lab.checks.recorder import LossRecorder
from katas.splatting.given import recipes

MODULES = (recipes, LossRecorder)
CHANGES = dict(
    SEEDS=(0,), PHOTO_STEPS=2, PHOTO_GAUSSIANS=50, PHOTO_SIZE=(24, 16), SMALL_PHOTO=(24, 16), FEW=20, SHORT_STEPS=3,
    RESET_STEPS=8, GAPS=(0.02, 0.1, 0.5, 2.0), COUNTS=(5, 10), SIDE=16, SCENE_SIZE=16, SCENE_STEPS=3, SCENE_POINTS=30,
    SCENE_VIEWS=4, HELD_OUT_VIEWS=4, COLMAP_STEPS=3, FRAMES=2, every=1,
)  # fmt: skip
