"""What the full checks of a topic cost on a GTX 1060, projected from their recipes on the solutions: JSON, in seconds.

python -m tests.given.costs
"""

import json
import sys
from collections.abc import Callable
from functools import partial

import torch

from katas.lab import trees

sys.meta_path.insert(0, trees.KataFinder(["solutions"], check_annotations=False))

from katas.active_learning.given import detector  # noqa: E402
from katas.active_learning.given import recipes as active_learning_recipes  # noqa: E402
from katas.lab.checks.budget import Work, work_of  # noqa: E402
from katas.lab.digits import Digits  # noqa: E402
from katas.rl.given import dqn_recipe, recipes, sac_recipe  # noqa: E402
from katas.splatting.given import recipes as splatting_recipes  # noqa: E402
from katas.warmup.given import recipes as warmup_recipes  # noqa: E402


def rl() -> dict[str, float]:
    """Of each full check of reinforcement learning, with the number of trainings that it makes."""
    by_ppo = {
        "PPO, CartPole": (recipes.cartpole_by_ppo, recipes.CARTPOLE_PPO, recipes.CARTPOLE_ENVS, 3),
        "PPO, thousands": (recipes.many_cartpoles_by_ppo, recipes.MANY_CARTPOLES_PPO, recipes.MANY_CARTPOLES, 3),
        "PPO, Acrobot": (recipes.acrobot_by_ppo, recipes.ACROBOT_PPO, recipes.ACROBOT_ENVS, 3),
        "PPO, MountainCar": (recipes.mountain_car_by_ppo, recipes.MOUNTAIN_CAR_PPO, recipes.MOUNTAIN_CARS, 7),
    }
    found = {name: recipes.work(*how, "cpu").times(trainings) for name, (*how, trainings) in by_ppo.items()}
    found["REINFORCE, CartPole"] = recipes.work_of_reinforce("cpu").times(3)
    found["DQN, CartPole"] = dqn_recipe.work("cpu").times(5)
    found["SAC, Pendulum"] = sac_recipe.work("cpu").times(3)
    return {name: work.seconds for name, work in found.items()}


def splatting() -> dict[str, float]:
    """Of each full check of splatting."""
    work = splatting_recipes.work_of_photograph("cpu").times(3), splatting_recipes.work_of_scene("cpu").times(6)
    return dict(zip(("photograph", "scene"), (part.seconds for part in work), strict=True))


def active_learning() -> dict[str, float]:
    """Of one run, a strategy with one seed: on digits of each, on frames of the dearest strategy."""
    on_digits = _work_of_runs(active_learning_recipes.digits_task("cpu"), active_learning_recipes, "DIGIT_STEPS")
    found = {f"digits, {name}": work.seconds for name, work in on_digits.items()}
    less = 16  # a detector that has learned for a few steps is traced on one in so many frames
    before, detector.STEPS_BEFORE, detector.DRIVES_BEFORE = detector.STEPS_BEFORE, 2, 2
    active_learning_recipes.POOL_DRIVES //= less
    active_learning_recipes.TEST_DRIVES //= less
    task = active_learning_recipes.frames_task("cpu")
    dearest = "sum, then k-center"
    runs = _work_of_runs(task._replace(strategies={dearest: task.strategies[dearest]}), detector, "STEPS", less, before)
    return found | {f"frames, {dearest}": runs[dearest].seconds}


def _work_of_runs(task, module, name: str, less: int = 1, steps_before: int = 0) -> dict[str, Work]:
    """By strategy. `module.name` is the number of steps in a training."""
    start, steps = task.initial(0), getattr(module, name)
    rest = torch.tensor(sorted(set(range(len(task.labels))) - set(start.tolist())))

    def fit(number: int):
        setattr(module, name, number)
        return task.fit(start, [task.labels[index] for index in start.tolist()], 0)

    model = fit(6)
    of_two, of_six = (work_of(lambda number=number: fit(number)) for number in (2, 6))
    step = Work(*((six - two) / 4 for six, two in zip(of_six, of_two, strict=True)))
    judged = work_of(lambda: task.evaluate(model))
    rounds = -(-(task.budget - len(start)) // task.batch_size)
    found = {}
    for strategy, positions in task.strategies.items():
        generator = torch.Generator().manual_seed(0)
        bought = work_of(partial(positions, model, start, rest, task.batch_size, generator))
        parts = (
            step.times(steps * (rounds + 1) + steps_before),
            judged.times(less * (rounds + 1)),
            bought.times(less * rounds),
        )
        found[strategy] = Work(*map(sum, zip(*parts, strict=True)))
    return found


def warmup() -> dict[str, float]:
    """The digits of five seeds, MNIST, and the two dynamics that train."""
    small, deep = warmup_recipes.classifier(0, "cpu"), warmup_recipes.deep_network(0, "cpu", norm=True, residual=True)
    large = warmup_recipes.classifier(0, "cpu", widths=(16, 32, 64))
    steps = {
        "digits": (small, 8, 64, 1347 * 5 * warmup_recipes.DIGIT_EPOCHS),
        "MNIST": (large, 28, 128, 60_000 * warmup_recipes.MNIST_EPOCHS),
        "forty layers": (deep, 8, 64, 1347 * 4 * 3 * warmup_recipes.DEEP_EPOCHS),
    }
    found = {}
    for name, (model, side, batch, images) in steps.items():

        def training(number: int, model=model, batch=batch, side=side):
            data = Digits(torch.zeros(number * batch, 1, side, side), torch.zeros(number * batch, dtype=torch.int64))
            warmup_recipes.trained(model, data, Digits(*(part[:1] for part in data)), 0, epochs=1, batch_size=batch)

        found[name] = _work_of_a_step(training).times(images / batch).seconds
    batch = torch.zeros(64, 1, 8, 8), torch.zeros(64, dtype=torch.int64)
    step = _work_of_a_step(lambda number: warmup_recipes.loss_after(small, [batch] * number, 0.1))
    steps = 2 * 5 * (warmup_recipes.RANGE_BATCHES + 3 * warmup_recipes.RATE_STEPS)  # networks, seeds, rates
    return found | {"learning rates": step.times(steps).seconds}


def _work_of_a_step(training: Callable[[int], object]) -> Work:
    training(1)  # an optimizer's state is made once
    one, two = (work_of(partial(training, number)) for number in (1, 2))
    return Work(*(b - a for a, b in zip(one, two, strict=True)))


if __name__ == "__main__":
    print(json.dumps(rl() | splatting() | active_learning() | warmup()))
