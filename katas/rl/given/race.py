"""A race to a balanced CartPole: your PPO against stable-baselines3's, on one thread.

A learner is judged after every 2,048 steps, by the mean return of 100 episodes of its most likely actions. The clock
stands still meanwhile, and stops at 475. `pip install stable-baselines3` for this race only.
"""

import contextlib
import importlib
import math
import time
from collections.abc import Callable

from torch import Tensor

from katas.rl.given import recipes
from katas.rl.given.environments import FromGymnasium
from katas.rl.ppo_training import train_ppo

GOAL, EVERY, NUM_ENVS = 475, 2048, recipes.CARTPOLE_ENVS


class Arrived(Exception):
    """Ends a training from inside its callback."""


class Clock:
    """Seconds of this thread, without those of the judging."""

    def __init__(self, seed: int):
        self.seed, self.seconds, self.start = seed, 0.0, time.thread_time()

    def judge(self, act: Callable[[Tensor], Tensor]) -> None:
        self.seconds += time.thread_time() - self.start
        if recipes.earned(act, FromGymnasium("CartPole-v1", recipes.EPISODES, seed=10_000 + self.seed)) >= GOAL:
            raise Arrived
        self.start = time.thread_time()


def yours(seed: int) -> float:
    """Seconds until the goal, NaN if the training ends before."""
    clock = Clock(seed)

    def train(model, envs, optimizer, *, on_update, **options):
        def judged(report):
            on_update(report)
            clock.judge(lambda observations: model(observations).logits.argmax(dim=1))

        train_ppo(model, envs, optimizer, on_update=judged, **options)

    with contextlib.suppress(Arrived):
        envs = FromGymnasium("CartPole-v1", NUM_ENVS, seed=seed)
        recipes.trained(train, envs, seed, "cpu", **recipes.CARTPOLE_PPO)
        return math.nan
    return clock.seconds


def stable_baselines3(seed: int) -> float:
    """The same for its PPO, with the settings tuned for CartPole in rl-baselines3-zoo (hyperparams/ppo.yml)."""
    library = importlib.import_module("stable_baselines3")
    callbacks, env_util = (importlib.import_module(f"stable_baselines3.common.{n}") for n in ("callbacks", "env_util"))
    clock = Clock(seed)

    class Judge(callbacks.BaseCallback):
        def _on_step(self) -> bool:
            return True

        def _on_rollout_start(self) -> None:
            if self.num_timesteps and self.num_timesteps % EVERY == 0:
                clock.judge(lambda observations: self.model.policy._predict(observations, deterministic=True))

    with contextlib.suppress(Arrived):
        tuned = dict(n_steps=32, batch_size=256, gae_lambda=0.8, gamma=0.98, n_epochs=20, ent_coef=0.0)
        falling = dict(learning_rate=lambda left: 0.001 * left, clip_range=lambda left: 0.2 * left)
        envs = env_util.make_vec_env("CartPole-v1", 8, seed=seed)
        library.PPO("MlpPolicy", envs, seed=seed, device="cpu", **tuned, **falling).learn(100_000, callback=Judge())
        return math.nan
    return clock.seconds
