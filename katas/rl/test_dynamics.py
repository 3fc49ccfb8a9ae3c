"""Dynamics: what changes when one thing is different, and why. Each check leaves a picture under runs/rl/.

Everything is shown with your own code, over several seeds.
"""

from statistics import mean, median

import pytest
import torch

from katas.lab.checks.plots import learning_curves
from katas.rl.cartpole import VectorCartPole
from katas.rl.given import dqn_recipe, mountain_car, recipes, sac_recipe
from katas.rl.given.environments import Confused, Recorded, Scaled
from katas.rl.given.networks import TwinCritics
from katas.rl.given.tasks import Walk

pytestmark = [pytest.mark.gpu, pytest.mark.usefixtures("one_thread")]

SEEDS, MORE_SEEDS = (0, 1, 2), range(8)
HACK_UPDATES = 60  # with either hint
UNIT = 0.01  # of a reward
MOUNTAIN_CAR = mountain_car.MountainCar.name


def carts(seed, device, **options):
    return VectorCartPole(recipes.SOME_CARTPOLES, generator=torch.Generator(device).manual_seed(seed), **options)


def test_a_time_limit_is_no_end(device, run_dir, metrics, progress):
    """CartPoles stopped after 50 steps. Balanced for ever, a pole is worth 1 / (1 - γ) = 50.

    Taken for terminated, the same observation is followed by 50 rewards or by one. It does not show the clock, so the
    value function learns a mean of what is left.
    """
    bar, panels = progress(recipes.SHORT_PPO["updates"] * len(SEEDS) * 2, "time limits"), {}
    values = {"truncated": [], "taken for terminated": []}
    for name, found in values.items():
        for seed in SEEDS:
            envs = carts(seed, device, max_steps=50)
            model, _ = recipes.short_ppo(envs if name == "truncated" else Confused(envs), seed, device, bar, gamma=0.98)
            with torch.no_grad():
                found.append(float(model(torch.zeros(1, 4, device=device)).values))
            metrics.row(seed=seed, taken_for=name, value=found[-1])
        panels[name] = (list(SEEDS), found)
    learning_curves(run_dir / "values.png", {"value of an upright pole; the truth is 50": panels}, xlabel="seed")
    right, wrong = (mean(found) for found in values.values())
    # Right code, seeds 0 to 2: 49.2, 49.3, 49.3; taken for terminated 26.1, 26.3, 26.7
    assert right > 45, f"truncated: the value of an upright pole is {right:.1f} on average, the truth is 50"
    assert wrong < 37, f"taken for terminated: {wrong:.1f} on average"


def test_a_target_network_holds_still_what_is_chased(device, run_dir, metrics, progress):
    """Without one, a value that is too large is the target of its neighbour at once, and both climb.

    Rewards of 1 and γ = 0.98: nothing is worth more than 50.
    """
    kinds, steps = {"slow target network": {}, "none": {"tau": 1.0}}, dqn_recipe.SHORT_STEPS
    bar, curves, largest = progress(steps * len(SEEDS) * len(kinds), "target network"), {}, {}
    for name, options in kinds.items():
        for seed in SEEDS:
            reports = []

            def on_step(report, reports=reports):
                reports.append(report)
                bar.update(1)

            dqn_recipe.cartpole_by_dqn(seed, device, steps=steps, on_step=on_step, **options)
            values = [report.mean_q / dqn_recipe.UNIT for report in reports if report.loss == report.loss]
            curves[f"{name}, seed {seed}"] = (range(steps - len(values), steps), values)
            largest.setdefault(name, []).append(max(values))
            metrics.row(target_network=name, seed=seed, largest_mean_value=max(values))
    learning_curves(run_dir / "values.png", {"mean value of the sampled actions; at most 50": curves}, log_y=True)
    # Right code, seeds 0 to 7: 31 to 35; without one 294 to 1.5 million
    assert median(largest["slow target network"]) < 50, f"with a target network, by seed: {largest}"
    assert median(largest["none"]) > 100, f"without one, by seed: {largest}"


def test_advantages_on_one_scale(device, run_dir, metrics, progress):
    """CartPole with rewards in another unit, and a coefficient of 0.1 for the entropy.

    Advantages that are not normalised carry the unit. A hundred times smaller, they weigh less than the entropy.
    """
    kinds = {"normalised": True, "not normalised": False}
    bar, curves, last = progress(recipes.SHORT_PPO["updates"] * len(SEEDS) * len(kinds), "advantages"), {}, {}
    for name, normalise in kinds.items():
        for seed in SEEDS:
            envs = Scaled(carts(seed, device), UNIT)
            options = dict(normalise=normalise, entropy_coefficient=0.1)
            _, returns = recipes.short_ppo(envs, seed, device, bar, **options)
            steps = [number / UNIT for number in returns]
            curves[f"{name}, seed {seed}"] = (range(len(steps)), steps)
            last.setdefault(name, []).append(mean(steps[-5:]))
            metrics.row(advantages=name, seed=seed, mean_return=last[name][-1])
    learning_curves(run_dir / "returns.png", {"steps of an episode; a reward is 0.01": curves}, xlabel="update")
    # Right code, seeds 0 to 7: 470 to 500; not normalised 88 to 113
    right, wrong = (mean(found) for found in last.values())
    assert right > 350, f"normalised: {right:.0f} steps on average"
    assert wrong < right - 150, f"not normalised: {wrong:.0f} steps on average, normalised {right:.0f}"


def test_a_bonus_is_hacked(device, run_dir, metrics, progress):
    """A car that has learned to reach the flag by a potential, and learns on with a bonus for being far to the right.

    The flag ends the episode, and with it the bonus. So the car learns to stay away from it.
    """
    updates = HACK_UPDATES
    bar, before, after, curves = progress(2 * updates * len(SEEDS), "bonus"), [], [], {}
    for seed in SEEDS:
        model, _ = recipes.mountain_car_by_ppo(seed, device, bar, updates=updates)
        before.append(recipes.judged(model, MOUNTAIN_CAR, seed, device))
        options = dict(model=model, hint=mountain_car.by_bonus, updates=updates)
        _, shaped = recipes.mountain_car_by_ppo(100 + seed, device, bar, **options)
        after.append(recipes.judged(model, MOUNTAIN_CAR, seed, device))
        curves[f"seed {seed}"] = (range(updates), shaped)
        metrics.row(seed=seed, true_return_before=before[-1], true_return_after=after[-1])
    true = {"before": (list(SEEDS), before), "after": (list(SEEDS), after)}
    panels = {"true return, by seed": true, "return with the bonus, by update": curves}
    learning_curves(run_dir / "returns.png", panels, xlabel="")
    # Right code, seeds 0 to 5: true returns -111 to -134, then -199 to -200; with the bonus 29 to 43, then 65 to 76
    firsts, lasts = ([known(shaped, part) for _, shaped in curves.values()] for part in (slice(5), slice(-5, None)))
    assert mean(lasts) > mean(firsts), f"returns with the bonus rise: from {firsts} to {lasts}"
    assert mean(after) < mean(before) - 30, f"true returns fall: from {before} to {after}"


def test_one_critic_promises_too_much(device, run_dir, metrics, progress):
    """A lottery: every reward is noise, so every action is worth 0.

    The policy looks for actions that the critic likes, and finds its errors. The lower one of two has fewer to find.
    """
    kinds, seeds = {"one critic": sac_recipe.OneCritic, "two critics": TwinCritics}, MORE_SEEDS
    bar, found = progress(sac_recipe.LOTTERY_STEPS * len(seeds) * len(kinds), "critics"), {}
    for name, make_critics in kinds.items():
        for seed in seeds:
            options = dict(make_critics=make_critics, on_step=lambda report: bar.update(1))
            found.setdefault(name, []).append(sac_recipe.lottery_by_sac(seed, device, **options))
            metrics.row(critics=name, seed=seed, promised=found[name][-1])
    curves = {name: (list(seeds), numbers) for name, numbers in found.items()}
    learning_curves(run_dir / "promises.png", {"promised for actions that are worth 0": curves}, xlabel="seed")
    # Right code, seeds 0 to 15: one 0.01 to 0.33, mean 0.19; two -0.15 to 0.17, mean 0.00
    one, two = (mean(numbers) for numbers in found.values())
    assert one > 0.06, f"one critic promises {one:.2f} on average: {found}"
    assert two < one - 0.06, f"the lower one of two promises {two:.2f}, one {one:.2f}: {found}"


def test_a_temperature_is_a_price(device, run_dir, metrics, progress):
    """A walk whose prize is far away. Where entropy is worth nothing, standing still is best; where it is worth more
    than the prize, so is wandering about for ever."""
    kinds, steps = {"0.001": 0.001, "10": 10.0, "learned": None}, sac_recipe.WALK_STEPS
    bar, curves, last = progress(steps * len(SEEDS) * len(kinds), "temperature"), {}, {}
    for name, temperature in kinds.items():
        for seed in SEEDS:
            envs, returns = Recorded(Walk(16, device=device)), []

            def on_step(report, envs=envs, returns=returns):
                bar.update(1)
                if report.step % 50 == 49:
                    returns.append(mean(envs.returns() or [float("nan")]))

            sac_recipe.walk_by_sac(envs, seed, device, temperature=temperature, on_step=on_step)
            curves[f"{name}, seed {seed}"] = (range(50, steps + 1, 50), returns)
            last.setdefault(name, []).append(mean(returns[-2:]))
            metrics.row(temperature=name, seed=seed, mean_return=last[name][-1])
    learning_curves(run_dir / "returns.png", {"mean return; the best is 9.6": curves})
    # Right code, seeds 0 to 7: learned 9.6, at 10 0.5 to 2.1, at 0.001 -0.01. At 0.01 one of eight seeds arrives
    low, high, learned = (mean(found) for found in last.values())
    assert learned > 8, f"a learned temperature earns {learned:.1f} on average"
    assert low < 2, f"0.001 is too low to ever leave: {low:.1f} on average"
    assert high < 5, f"10 is too high to ever arrive: {high:.1f} on average"


def known(returns: list[float], part: slice) -> float:
    """The mean of those updates in which an episode ended."""
    return mean([number for number in returns[part] if number == number] or [float("nan")])
