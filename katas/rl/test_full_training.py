"""Full checks: your learners, trained end to end. `pytest katas/rl -m gpu`

Nothing is downloaded: the environments are gymnasium's, and your own CartPole in tensors. Learning curves and metrics
are left under runs/rl/; stop a check with Ctrl-C, and what it has so far stays there.

Every claim is the median over seeds: single runs of reinforcement learning differ more than methods do.
"""

from statistics import mean, median

import pytest
import torch

from katas.lab.checks.plots import learning_curves
from katas.rl.given import dqn_recipe, mountain_car, recipes, sac_recipe

pytestmark = [pytest.mark.gpu, pytest.mark.usefixtures("one_thread")]

SEEDS = (0, 1, 2)
MOUNTAIN_CAR_SEEDS = 7


@pytest.fixture
def over_seeds(device, run_dir, metrics, progress, budget):
    """`over_seeds(recipe, environment, updates, work)`: the mean return of 100 episodes after training, by seed.

    `work` is that of one seed. Further arguments are the recipe's.
    """

    def run(recipe, environment: str, updates: int, work, seeds=SEEDS, **options) -> list[float]:
        bar, curves, found = progress(updates * len(seeds), recipe.__name__), {}, []
        with budget(work=work.times(len(seeds))):
            for seed in seeds:
                model, returns = recipe(seed, device, bar, **options)
                found.append(recipes.judged(model, environment, seed, device))
                metrics.row(seed=seed, mean_return=found[-1])
                curves[f"seed {seed}"] = (range(len(returns)), returns)
                learning_curves(run_dir / "returns.png", {"mean return of an update": curves}, xlabel="update")
        return found

    return run


def test_ppo_balances_cartpole(over_seeds, device):
    work = recipes.work(recipes.cartpole_by_ppo, recipes.CARTPOLE_PPO, recipes.CARTPOLE_ENVS, device)
    returns = over_seeds(recipes.cartpole_by_ppo, "CartPole-v1", recipes.CARTPOLE_PPO["updates"], work)
    # Right code, seeds 0 to 9: 500 for each, after 122,880 steps
    assert median(returns) >= 475, f"mean returns of 100 episodes, by seed: {returns}"


def test_ppo_balances_thousands_of_carts(over_seeds, device):
    work = recipes.work(recipes.many_cartpoles_by_ppo, recipes.MANY_CARTPOLES_PPO, recipes.MANY_CARTPOLES, device)
    returns = over_seeds(recipes.many_cartpoles_by_ppo, "CartPole-v1", recipes.MANY_CARTPOLES_PPO["updates"], work)
    # Right code, seeds 0 to 7: 499 to 500
    assert median(returns) >= 475, f"mean returns of 100 episodes, by seed: {returns}"


def test_reinforce_balances_cartpole(over_seeds, device):
    updates, work = recipes.CARTPOLE_REINFORCE["updates"], recipes.work_of_reinforce(device)
    returns = over_seeds(recipes.cartpole_by_reinforce, "CartPole-v1", updates, work)
    # Right code, seeds 0 to 7: 500 for each, after about 280,000 steps
    assert median(returns) >= 400, f"mean returns of 100 episodes, by seed: {returns}"


def test_ppo_swings_the_acrobot_up(over_seeds, device):
    work = recipes.work(recipes.acrobot_by_ppo, recipes.ACROBOT_PPO, recipes.ACROBOT_ENVS, device)
    returns = over_seeds(recipes.acrobot_by_ppo, "Acrobot-v1", recipes.ACROBOT_PPO["updates"], work)
    # Right code, seeds 0 to 7: -81 to -91
    assert median(returns) >= -100, f"mean returns of 100 episodes, by seed: {returns}"


@pytest.mark.parametrize("hint", [mountain_car.by_potential, None], ids=["potential", "no hint"])
def test_mountain_car_needs_a_potential(over_seeds, device, hint):
    recipe, options = recipes.mountain_car_by_ppo, recipes.MOUNTAIN_CAR_PPO
    work = recipes.work(recipe, options, recipes.MOUNTAIN_CARS, device)
    name, seeds = mountain_car.MountainCar.name, range(MOUNTAIN_CAR_SEEDS)
    returns = over_seeds(recipe, name, options["updates"], work, seeds=seeds, hint=hint)
    # Right code, seeds 0 to 7: -111 to -133, mean -118. Without: six times -200, -187, and -111 by luck; in a run with
    # other minibatches two of seven had that luck
    if hint:
        assert mean(returns) >= -130, f"true mean returns of 100 episodes, by seed: {returns}"
    else:
        assert mean(returns) <= -135, f"without a hint few seeds find the flag in as many steps: {returns}"


def test_dqn_balances_cartpole(device, metrics, progress, budget):
    seeds, found = (*SEEDS, 3, 4), []
    bar = progress(dqn_recipe.STEPS * len(seeds), "CartPole by DQN")
    with budget(work=dqn_recipe.work(device).times(len(seeds))):
        for seed in seeds:
            online = dqn_recipe.cartpole_by_dqn(seed, device, on_step=lambda report: bar.update(1))
            judges = recipes.judges_of("CartPole-v1", seed, device)
            found.append(recipes.earned(lambda x, online=online: online(x).argmax(dim=1), judges))
            metrics.row(seed=seed, mean_return=found[-1])
    # Right code, seeds 0 to 7: 450 (459 in another run), 500, 500, 496, 500, 309, 500, 500
    assert median(found) >= 450, f"mean returns of 100 episodes, by seed: {found}"


def test_sac_swings_the_pendulum_up(device, metrics, progress, budget):
    bar, found = progress(sac_recipe.STEPS * len(SEEDS), "pendulum"), []
    with budget(work=sac_recipe.work(device).times(len(SEEDS))):
        for seed in SEEDS:
            actor, *_ = sac_recipe.pendulum_by_sac(seed, device, on_step=lambda report: bar.update(1))
            found.append(sac_recipe.pendulum_return(actor, seed, device))
            metrics.row(seed=seed, mean_return=found[-1])
    # Right code, seeds 0 to 7: -145 to -158. With two updates a step instead of four, seeds 0 to 2: -176, -705, -152
    assert median(found) >= -200, f"mean returns of 100 episodes, by seed: {found}"
