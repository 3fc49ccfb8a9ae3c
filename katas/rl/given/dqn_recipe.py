"""The recipe of the DQN check: how CartPole is trained."""

import copy

import torch
from torch import Tensor, nn

from katas.rl.dqn_training import train_dqn
from katas.rl.given.environments import EnvStep, FromGymnasium
from katas.rl.given.networks import on_cpu_seed
from katas.rl.replay_buffer import ReplayBuffer

NUM_ENVS, STEPS = 8, 8000  # 64,000 transitions
LEARNING_RATE, SETTLE_FROM = 1e-3, 0.3
OPTIONS = {
    "batch_size": 128, "gamma": 0.98, "updates_per_step": 2, "target_every": 1, "tau": 0.05, "epsilon_decay_steps": 800,
}  # fmt: skip


class SmallRewards:
    """The same environments with rewards of 1 / 50: the largest return at gamma = 0.98 is 1.

    The slope of the Huber loss is at most 1. A fall is one transition of a hundred. With rewards of 1 its error is some
    40, but pulls as if it were 1.
    """

    def __init__(self, envs):
        self.envs = envs

    def __getattr__(self, name):
        return getattr(self.envs, name)

    def step(self, actions: Tensor) -> EnvStep:
        step = self.envs.step(actions)
        return step._replace(rewards=step.rewards / 50)


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


def cartpole_by_dqn(seed: int, device: torch.device | str, *, on_step=None, **options) -> nn.Module:
    """The online network after training by double DQN. `options` are those of `train_dqn`, in place of `OPTIONS`.

    Near the optimum both actions are worth almost the same in most states. The learning rate falls to 0 so that the
    noise of single updates does not decide between them at the end.
    """
    envs = SmallRewards(FromGymnasium("CartPole-v1", NUM_ENVS, seed=seed, device=device))
    online = on_cpu_seed(seed, lambda: QNetwork(envs.observation_size, envs.num_actions), device)
    target, buffer = copy.deepcopy(online), ReplayBuffer(50_000, (envs.observation_size,), device=device)
    optimizer = torch.optim.Adam(online.parameters(), lr=LEARNING_RATE, fused=True)

    def settle(report) -> None:
        left = 1 - (report.step + 1) / STEPS
        optimizer.param_groups[0]["lr"] = LEARNING_RATE * min(1.0, left / (1 - SETTLE_FROM))
        if on_step is not None:
            on_step(report)

    generator = torch.Generator(device).manual_seed(seed)
    options = OPTIONS | options | {"steps": STEPS, "generator": generator, "on_step": settle}
    train_dqn(online, target, envs, buffer, optimizer, **options)
    return online
