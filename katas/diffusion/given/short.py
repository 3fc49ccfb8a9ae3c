"""The full checks and dynamics in seconds, for `--short`."""

from katas.diffusion.given import judge, recipes
from katas.lab.checks.recorder import LossRecorder
from katas.lab.plugin.short import always, at_most, first

MODULES = (recipes, judge, judge.Judge, LossRecorder)
CHANGES = dict(
    small_digits=first(40), mnist=first(40), SEEDS=(0,), NUM_POINTS=100, POINT_TIMESTEPS=30, POINT_STEPS=2,
    SAMPLING_BATCH_SIZE=20, DIGIT_STEPS=2, LABELS=lambda labels: labels[:20], judge_of=always(steps=5),
    check_digits=always(steps=2, sets=1), point_model=always(steps=2), point_flow=always(steps=2),
    cosine_beta_schedule=at_most(30), every=1,
    agreement=lambda real: lambda self, images, labels: 1.0,  # a judge that was trained for five steps knows nothing
)  # fmt: skip
