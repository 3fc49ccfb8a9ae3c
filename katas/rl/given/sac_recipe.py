"""The recipes of the SAC checks: how Pendulum, a walk and a lottery are learned, and judged."""

import copy
import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from katas.lab.checks.budget import Work, work_of
from katas.rl.evaluation import evaluate_policy
from katas.rl.given.environments import FromGymnasium
from katas.rl.given.networks import GaussianActor, TwinCritics, mlp, on_cpu_seed
from katas.rl.given.tasks import Lottery
from katas.rl.replay_buffer import ReplayBuffer
from katas.rl.sac import squashed_gaussian_sample
from katas.rl.sac_training import train_sac

NUM_ENVS, STEPS, RANDOM_STEPS, UPDATES_PER_STEP = 8, 1000, 50, 4  # 8,000 steps of an environment, 4,000 updates
WALK_STEPS, LOTTERY_STEPS = 600, 300  # for the dynamics
BATCH_SIZE, LEARNING_RATE, TAU = 128, 3e-3, 0.01


class Trained(NamedTuple):
    actor: nn.Module
    critics: nn.Module
    temperature: float


def by_sac(
    envs, seed, device, *, steps, random_steps, updates_per_step=1, gamma=0.99, make_critics=TwinCritics,
    temperature=None, on_step=None,
) -> Trained:  # fmt: skip
    """What SAC learns in these environments. A `temperature` stays as it is; None learns it, from 1 on."""
    sizes = envs.observation_size, envs.action_size
    actor = on_cpu_seed(2 * seed, lambda: GaussianActor(*sizes), device)
    critics = on_cpu_seed(2 * seed + 1, lambda: make_critics(*sizes), device)
    log_temperature = torch.tensor(math.log(temperature or 1.0), device=device).requires_grad_(temperature is None)
    stored = {"action_shape": (envs.action_size,), "action_dtype": torch.float32, "device": device}
    buffer = ReplayBuffer(envs.num_envs * steps, (envs.observation_size,), **stored)
    learned = None if temperature else torch.optim.Adam([log_temperature], LEARNING_RATE)
    train_sac(
        actor, critics, copy.deepcopy(critics), log_temperature, envs, buffer,
        actor_optimizer=torch.optim.Adam(actor.parameters(), LEARNING_RATE, fused=True),
        critic_optimizer=torch.optim.Adam(critics.parameters(), LEARNING_RATE, fused=True),
        temperature_optimizer=learned, steps=steps, generator=torch.Generator(device).manual_seed(seed), gamma=gamma,
        batch_size=BATCH_SIZE, tau=TAU, random_steps=random_steps, updates_per_step=updates_per_step, on_step=on_step,
    )  # fmt: skip
    return Trained(actor, critics, float(log_temperature.exp()))


def pendulum_by_sac(seed, device, *, steps=None, **options) -> Trained:
    envs = FromGymnasium("Pendulum-v1", NUM_ENVS, seed=seed, device=device)
    numbers = dict(
        steps=STEPS if steps is None else steps, random_steps=RANDOM_STEPS, updates_per_step=UPDATES_PER_STEP
    )
    return by_sac(envs, seed, device, **numbers, **options)


def walk_by_sac(envs, seed, device, *, temperature, on_step) -> Trained:
    """No step is random: only what the temperature pays for explores."""
    numbers = dict(steps=WALK_STEPS, random_steps=0, gamma=0.95)
    return by_sac(envs, seed, device, temperature=temperature, on_step=on_step, **numbers)


def pendulum_return(actor, seed, device, *, episodes=100) -> float:
    """The mean return of the actor's mean actions, in new episodes."""
    envs = FromGymnasium("Pendulum-v1", 50, seed=1_000_000 + seed, device=device)
    returns = evaluate_policy(lambda x: envs.action_limit * actor(x)[0].tanh(), envs, episodes=episodes)
    return float(returns.mean())


def work(device) -> Work:
    """Of the training of one seed on Pendulum: an upper bound, as in `dqn_recipe.work`."""
    before, learning = BATCH_SIZE // NUM_ENVS - 1, 4
    return work_of(lambda: pendulum_by_sac(0, device, steps=before + learning)).times(STEPS / learning)


class OneCritic(nn.Module):
    """One network where two are asked for: the smaller of both is its only value."""

    def __init__(self, observation_size: int, action_size: int, hidden: tuple[int, ...] = (64, 64)):
        super().__init__()
        self.only = mlp(observation_size + action_size, *hidden, 1, activation=nn.ReLU)

    def forward(self, observations: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        values = self.only(torch.cat([observations, actions], dim=-1))[..., 0]
        return values, values


def lottery_by_sac(seed, device, *, make_critics, on_step) -> float:
    """What the critics promise for the actions of the policy, where nothing is worth anything."""
    envs = Lottery(64, generator=torch.Generator(device).manual_seed(seed))
    numbers = dict(steps=LOTTERY_STEPS, random_steps=0, updates_per_step=2, gamma=0.98, temperature=0.01)
    actor, critics = by_sac(envs, seed, device, make_critics=make_critics, on_step=on_step, **numbers)[:2]
    generator = torch.Generator(device).manual_seed(1_000_000 + seed)
    with torch.no_grad():
        observations = torch.randn(2000, envs.observation_size, generator=generator, device=device)
        actions, _ = squashed_gaussian_sample(*actor(observations), generator=generator)
        return float(torch.minimum(*critics(observations, actions)).mean())
