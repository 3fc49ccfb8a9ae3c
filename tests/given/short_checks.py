"""The full checks cut down to seconds: they run all of their lines, and reach nothing. For `tests.given.pretend_gpu`.

    python -m pytest --assert=plain katas/diffusion -m gpu --impl solutions \
        -p tests.given.pretend_gpu -p tests.given.short_checks

Modules that are imported from here on are compiled without their assertions, for what these ask is out of reach (as
`python -O` does it, which would compile PyTorch as well).
"""

import importlib.machinery
import sys

import pytest

from katas.lab.checks.budget import Work


def _first(count):
    """A function's result, cut to so many rows."""
    return lambda real: lambda *args, **kwargs: type(found := real(*args, **kwargs))(*(part[:count] for part in found))


def _at_most(count):
    """The first argument, cut."""
    return lambda real: lambda number, **kwargs: real(min(number, count), **kwargs)


def _with(**options):
    return lambda real: lambda *args, **kwargs: real(*args, **(kwargs | options))


def _replace(module, **changes) -> None:
    for name, change in changes.items():
        if hasattr(module, name):
            setattr(module, name, change(getattr(module, name)) if callable(change) else change)


def _uncounted(training_flops):
    return lambda *args: 1e9  # the counter of operations takes apart what is pretended


def _nothing(real):
    return lambda *args, **kwargs: None


DIFFUSION = dict(
    training_flops=_uncounted, small_digits=_first(40), SEEDS=(0,), NUM_POINTS=100, POINT_TIMESTEPS=30, POINT_STEPS=2,
    SAMPLING_BATCH_SIZE=20, DIGIT_STEPS=2, LABELS=lambda labels: labels[:20], judge_of=_with(steps=5),
    check_digits=_with(steps=2, sets=1), point_model=_with(steps=2),
)  # fmt: skip
DETECTION = dict(
    training_flops=_uncounted, SEEDS=(0,), SCENES=16, digit_scenes=_at_most(16), bar_scenes=_at_most(16),
    train_detector=_with(epochs=1), learning_curves=_nothing,  # a curve has fewer steps than it says
)  # fmt: skip


def _no_work(real):
    return lambda *args: Work()


def _smaller(**changes):
    return lambda options: options | changes


FEW = _smaller(updates=2, rollout_steps=4, epochs=1)
RL = dict(
    SEEDS=(0,), EPISODES=10, MANY_CARTPOLES=50, CARTPOLE_PPO=FEW, ACROBOT_PPO=FEW, MANY_CARTPOLES_PPO=FEW,
    SHORT_PPO=FEW, CARTPOLE_REINFORCE=_smaller(updates=2), MOUNTAIN_CAR_PPO=FEW, MOUNTAIN_CAR_SEEDS=1, HACK_UPDATES=2,
    OPTIONS=_smaller(batch_size=8, learning_starts=8), STEPS=4, SHORT_STEPS=4, BATCH_SIZE=8, RANDOM_STEPS=2,
    MORE_SEEDS=(0,), WALK_STEPS=50, LOTTERY_STEPS=4, work=_no_work, work_of_reinforce=_no_work,
    pendulum_return=_with(episodes=50),
)  # fmt: skip
SPLATTING = dict(
    SEEDS=(0,), PHOTO_STEPS=2, PHOTO_GAUSSIANS=50, PHOTO_SIZE=(24, 16), SMALL_PHOTO=(24, 16), FEW=20, SHORT_STEPS=3,
    RESET_STEPS=8, GAPS=(0.02, 0.1, 0.5, 2.0), COUNTS=(5, 10), SIDE=16, SCENE_SIZE=16, SCENE_STEPS=3, SCENE_POINTS=30,
    SCENE_VIEWS=4, HELD_OUT_VIEWS=4, COLMAP_STEPS=3, FRAMES=2, work_of_photograph=_no_work, work_of_scene=_no_work,
)  # fmt: skip

ACTIVE_LEARNING = dict(
    SEEDS=(0,), COLD_SEEDS=(0,), DIGIT_SEEDS=(0, 1), FRAME_SEEDS=(0, 1), DIGIT_STEPS=2, DIGIT_BUDGET=40, STEPS=2,
    DRIVES_BEFORE=1, STEPS_BEFORE=2, POOL_DRIVES=1, TEST_DRIVES=1, FIRST_FRAMES=4, FRAME_BATCH=2, FRAME_BUDGET=6,
    ORIGINALS=10, COPIES=2, LARGE_BATCH=3, CONFIGURATIONS=20, MEMBERS=2,
)  # fmt: skip


def pytest_configure():
    def without_assertions(loader, name):
        return loader.source_to_code(loader.get_data(loader.path), loader.path, _optimize=1)

    importlib.machinery.SourceFileLoader.get_code = without_assertions


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    items[:] = [
        item for item in items if getattr(item, "callspec", None) is None or not item.callspec.params.get("seed")
    ]
    for topic, changes in (
        ("diffusion", DIFFUSION),
        ("detection", DETECTION),
        ("rl", RL),
        ("splatting", SPLATTING),
        ("active_learning", ACTIVE_LEARNING),
    ):
        for part in (
            "given.recipes",
            "given.sac_recipe",
            "given.dqn_recipe",
            "given.detector",
            "test_full_training",
            "test_dynamics",
        ):
            module = sys.modules.get(f"katas.{topic}.{part}")
            if module is not None:
                _replace(module, **changes)
    for part in ("given.recipes", "test_full_training"):
        if module := sys.modules.get(f"katas.diffusion.{part}"):
            _replace(module, cosine_beta_schedule=_at_most(30))
    if recorder := sys.modules.get("katas.lab.checks.recorder"):
        recorder.LossRecorder.every = 1
    if judge := sys.modules.get("katas.diffusion.given.judge"):
        judge.Judge.agreement = lambda self, images, labels: 1.0  # one that was trained for five steps knows nothing
