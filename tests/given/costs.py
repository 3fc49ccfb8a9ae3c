"""What the full checks of a topic cost on a GTX 1060, projected from their recipes on the solutions: JSON, in seconds.

python -m tests.given.costs
"""

import json
import sys

from katas.lab import trees

sys.meta_path.insert(0, trees.KataFinder(["solutions"], check_annotations=False))

from katas.rl.given import dqn_recipe, recipes, sac_recipe  # noqa: E402
from katas.splatting.given import recipes as splatting_recipes  # noqa: E402


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


if __name__ == "__main__":
    print(json.dumps(rl() | splatting()))
