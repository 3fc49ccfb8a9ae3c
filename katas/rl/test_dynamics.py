"""Dynamics: what changes when one thing is different, and why. Each check leaves a picture under runs/rl/.

Everything is shown with your own code, over several seeds, on CartPoles in tensors.
"""

from statistics import mean

import pytest
import torch

from katas.lab.checks.plots import learning_curves
from katas.rl.cartpole import VectorCartPole
from katas.rl.given import recipes
from katas.rl.given.environments import Confused

pytestmark = [pytest.mark.gpu, pytest.mark.usefixtures("one_thread")]

SEEDS = (0, 1, 2)


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
