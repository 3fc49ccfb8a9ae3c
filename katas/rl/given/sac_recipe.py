"""The recipe of the SAC checks: how Pendulum is learned, and judged."""

import copy
import math

import torch

from katas.rl.evaluation import evaluate_policy
from katas.rl.given.environments import FromGymnasium
from katas.rl.given.networks import GaussianActor, TwinCritics, on_cpu_seed
from katas.rl.replay_buffer import ReplayBuffer
from katas.rl.sac_training import train_sac

NUM_ENVS, STEPS, RANDOM_STEPS, UPDATES_PER_STEP = 8, 1000, 50, 4  # 8,000 steps of an environment, 4,000 updates
BATCH_SIZE, LEARNING_RATE, TAU = 128, 3e-3, 0.01


def pendulum_by_sac(seed, device, *, make_critics=TwinCritics, temperature=None, on_step=None):
    """An actor trained on Pendulum-v1. A `temperature` stays as it is; None learns it, from 1 on."""
    envs = FromGymnasium("Pendulum-v1", NUM_ENVS, seed=seed, device=device)
    sizes = envs.observation_size, envs.action_size
    actor = on_cpu_seed(2 * seed, lambda: GaussianActor(*sizes), device)
    critics = on_cpu_seed(2 * seed + 1, lambda: make_critics(*sizes), device)
    log_temperature = torch.tensor(math.log(temperature or 1.0), device=device).requires_grad_(temperature is None)
    stored = {"action_shape": (envs.action_size,), "action_dtype": torch.float32, "device": device}
    buffer = ReplayBuffer(NUM_ENVS * STEPS, (envs.observation_size,), **stored)
    learned = None if temperature else torch.optim.Adam([log_temperature], LEARNING_RATE)
    train_sac(
        actor, critics, copy.deepcopy(critics), log_temperature, envs, buffer,
        actor_optimizer=torch.optim.Adam(actor.parameters(), LEARNING_RATE, fused=True),
        critic_optimizer=torch.optim.Adam(critics.parameters(), LEARNING_RATE, fused=True),
        temperature_optimizer=learned, steps=STEPS, generator=torch.Generator(device).manual_seed(seed),
        batch_size=BATCH_SIZE, tau=TAU, random_steps=RANDOM_STEPS, updates_per_step=UPDATES_PER_STEP, on_step=on_step,
    )  # fmt: skip
    return actor


def pendulum_return(actor, seed, device, *, episodes=100) -> float:
    """The mean return of the actor's mean actions, in new episodes."""
    envs = FromGymnasium("Pendulum-v1", 50, seed=1_000_000 + seed, device=device)
    returns = evaluate_policy(lambda x: envs.action_limit * actor(x)[0].tanh(), envs, episodes=episodes)
    return float(returns.mean())
