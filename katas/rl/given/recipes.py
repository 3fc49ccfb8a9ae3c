"""The recipes of the checks: which environment, which network, which numbers."""

import torch

from katas.lab.checks.budget import Work, work_of
from katas.rl.cartpole import VectorCartPole
from katas.rl.evaluation import evaluate_policy
from katas.rl.given.environments import FromGymnasium, Recorded
from katas.rl.given.mountain_car import MountainCar, by_potential
from katas.rl.given.networks import ActorCritic, on_cpu_seed
from katas.rl.ppo_training import train_ppo
from katas.rl.reinforce_training import train_reinforce

EPISODES = 100  # of an evaluation


def work(recipe, options: dict, num_envs: int, device) -> Work:
    """Of the training of one seed, counted in an update of one minibatch, before anything is learned."""
    steps = options["minibatch_size"] // num_envs
    part = work_of(lambda: recipe(0, device, updates=1, rollout_steps=steps))
    return part.times(options["updates"] * options["rollout_steps"] / steps)


def work_of_reinforce(device) -> Work:
    """An upper bound: every episode is taken for one of the longest, of 500 steps."""
    envs = Recorded(FromGymnasium("CartPole-v1", CARTPOLE_ENVS, seed=0, device=device))
    part = work_of(lambda: trained(train_reinforce, envs, 0, device, **CARTPOLE_REINFORCE | {"updates": 1}))
    return part.times(CARTPOLE_REINFORCE["updates"] * 500 / len(envs.ended))


class Curve:
    """A callback: moves the bar, lets the learning rate fall to 0 on a line, and keeps the mean return of each update.

    `returns` holds nan for an update in which no episode ended.
    """

    def __init__(self, envs: Recorded, optimizer: torch.optim.Optimizer, updates: int, bar=None):
        self.envs, self.optimizer, self.updates, self.bar = envs, optimizer, updates, bar
        self.rates = [group["lr"] for group in optimizer.param_groups]
        self.returns: list[float] = []

    def __call__(self, report):
        ended = self.envs.returns()
        self.returns.append(sum(ended) / len(ended) if ended else float("nan"))
        for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = rate * (1 - (report.update + 1) / self.updates)
        if self.bar is not None:
            self.bar.update(1)
            self.bar.set_postfix_str(f"return {self.returns[-1]:.0f}")


def earned(act, envs) -> float:
    """The mean return of `act(observations)` in new episodes."""
    return float(evaluate_policy(act, envs, episodes=EPISODES).mean())


def judges_of(name: str, seed: int, device):
    """Environments that no training has seen, with their true rewards."""
    envs = FromGymnasium(name, 10, seed=10_000 + seed, device=device)
    return MountainCar(envs) if name == MountainCar.name else envs


def judged(model: ActorCritic, name: str, seed: int, device) -> float:
    """The mean return of the most likely actions."""
    return earned(lambda observations: model(observations).logits.argmax(dim=1), judges_of(name, seed, device))


def trained(
    train, envs, seed: int, device, *, updates: int, lr: float, hidden=(64, 64), model=None, bar=None, **options
):
    """A network trained by `train` in these environments, and the mean returns by update. A `model` is trained on."""
    envs = Recorded(envs)
    if model is None:
        model = on_cpu_seed(seed, lambda: ActorCritic(envs.observation_size, envs.num_actions, hidden), device)
    optimizer = torch.optim.Adam(model.parameters(), lr=lr, eps=1e-5, fused=True)
    curve = Curve(envs, optimizer, updates, bar)
    generator = torch.Generator(device).manual_seed(seed)
    train(model, envs, optimizer, updates=updates, generator=generator, on_update=curve, **options)
    return model, curve.returns


# PPO on CartPole-v1: 60 updates of 8 environments by 256 steps are 122,880 steps
CARTPOLE_PPO = dict(updates=60, lr=2e-3, rollout_steps=256, epochs=10, minibatch_size=256)
CARTPOLE_ENVS = 8


def cartpole_by_ppo(seed: int, device, bar=None, **options):
    envs = FromGymnasium("CartPole-v1", CARTPOLE_ENVS, seed=seed, device=device)
    return trained(train_ppo, envs, seed, device, bar=bar, **CARTPOLE_PPO | options)


# PPO on 2,048 CartPoles in tensors: 20 updates of 32 steps
MANY_CARTPOLES_PPO = dict(updates=20, lr=5e-3, hidden=(32, 32), rollout_steps=32, epochs=8, minibatch_size=8192)
MANY_CARTPOLES = 2048


def many_cartpoles_by_ppo(seed: int, device, bar=None, **options):
    envs = VectorCartPole(MANY_CARTPOLES, generator=torch.Generator(device).manual_seed(seed))
    return trained(train_ppo, envs, seed, device, bar=bar, **MANY_CARTPOLES_PPO | options)


# REINFORCE on CartPole-v1: 100 updates of 8 episodes
CARTPOLE_REINFORCE = dict(updates=100, lr=5e-3)


def cartpole_by_reinforce(seed: int, device, bar=None, **options):
    envs = FromGymnasium("CartPole-v1", CARTPOLE_ENVS, seed=seed, device=device)
    return trained(train_reinforce, envs, seed, device, bar=bar, **CARTPOLE_REINFORCE | options)


# PPO on Acrobot-v1: 16 environments by 128 steps
ACROBOT_PPO = dict(updates=75, lr=2e-3, rollout_steps=128, epochs=4, minibatch_size=512, entropy_coefficient=0.01)
ACROBOT_ENVS = 16


def acrobot_by_ppo(seed: int, device, bar=None, **options):
    envs = FromGymnasium("Acrobot-v1", ACROBOT_ENVS, seed=seed, device=device)
    return trained(train_ppo, envs, seed, device, bar=bar, **ACROBOT_PPO | options)


# PPO on MountainCar-v0: 90 updates of 8 environments by 64 steps are 46,080 steps
MOUNTAIN_CAR_PPO = dict(updates=90, lr=3e-3, rollout_steps=64, epochs=10, minibatch_size=64, entropy_coefficient=0.01)
MOUNTAIN_CARS = 8


def mountain_car_by_ppo(seed: int, device, bar=None, *, hint=by_potential, **options):
    envs = MountainCar(FromGymnasium(MountainCar.name, MOUNTAIN_CARS, seed=seed, device=device), hint)
    return trained(train_ppo, envs, seed, device, bar=bar, **MOUNTAIN_CAR_PPO | options)


# PPO on 256 CartPoles in tensors, for the dynamics
SHORT_PPO = dict(updates=40, lr=3e-3, hidden=(32, 32), rollout_steps=32, epochs=5, minibatch_size=2048)
SOME_CARTPOLES = 256


def short_ppo(envs, seed: int, device, bar=None, **options):
    return trained(train_ppo, envs, seed, device, bar=bar, **SHORT_PPO | options)
