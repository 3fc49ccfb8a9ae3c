"""The recipe of the DQN check: how CartPole is trained."""

import copy

import torch
from torch import Tensor, nn

from katas.lab.checks.budget import Work, work_of
from katas.rl.dqn_training import train_dqn
from katas.rl.given.environments import FromGymnasium, Scaled
from katas.rl.given.networks import on_cpu_seed
from katas.rl.replay_buffer import ReplayBuffer

NUM_ENVS, STEPS = 8, 8000  # 64,000 transitions
SHORT_STEPS = 1000  # for the dynamics
UNIT = 1 / 50  # of a reward
LEARNING_RATE, SETTLE_FROM = 1e-3, 0.3
OPTIONS = {
    "batch_size": 128, "gamma": 0.98, "updates_per_step": 2, "target_every": 1, "tau": 0.05, "epsilon_decay_steps": 800,
}  # fmt: skip


class QNetwork(nn.Module):
    """The values of both actions. The angle is ten times smaller than the other three numbers, and is scaled up."""

    def __init__(self, observation_size: int, num_actions: int, width: int = 128):
        super().__init__()
        self.register_buffer("scale", torch.tensor([1.0, 1.0, 10.0, 1.0]))
        self.values = nn.Sequential(
            nn.Linear(observation_size, width), nn.ReLU(),
            nn.Linear(width, width), nn.ReLU(), nn.Linear(width, num_actions),
        )  # fmt: skip

    def forward(self, observations: Tensor) -> Tensor:
        return self.values(observations * self.scale)


def work(device) -> Work:
    """Of the training of one seed: an upper bound, for the steps before it learns are counted with those after it."""
    before, learning = OPTIONS["batch_size"] // NUM_ENVS - 1, 6
    part = work_of(lambda: cartpole_by_dqn(0, device, steps=before + learning, learning_starts=1))
    return part.times(STEPS / learning)


def cartpole_by_dqn(
    seed: int, device: torch.device | str, *, steps: int | None = None, on_step=None, **options
) -> nn.Module:
    """The online network after training by double DQN. `options` are those of `train_dqn`, in place of `OPTIONS`.

    A reward is 1 / 50, so the largest return at gamma = 0.98 is 1. The slope of the Huber loss is at most 1, and a fall
    is one transition of a hundred: with rewards of 1 its error is some 40, but pulls as if it were 1.

    Near the optimum both actions are worth almost the same in most states. The learning rate falls to 0 so that the
    noise of single updates does not decide between them at the end.
    """
    steps = STEPS if steps is None else steps
    envs = Scaled(FromGymnasium("CartPole-v1", NUM_ENVS, seed=seed, device=device), UNIT)
    online = on_cpu_seed(seed, lambda: QNetwork(envs.observation_size, envs.num_actions), device)
    target, buffer = copy.deepcopy(online), ReplayBuffer(50_000, (envs.observation_size,), device=device)
    optimizer = torch.optim.Adam(online.parameters(), lr=LEARNING_RATE, fused=True)

    def settle(report) -> None:
        left = 1 - (report.step + 1) / steps
        optimizer.param_groups[0]["lr"] = LEARNING_RATE * min(1.0, left / (1 - SETTLE_FROM))
        if on_step is not None:
            on_step(report)

    generator = torch.Generator(device).manual_seed(seed)
    options = OPTIONS | options | {"steps": steps, "generator": generator, "on_step": settle}
    train_dqn(online, target, envs, buffer, optimizer, **options)
    return online
