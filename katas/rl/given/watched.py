"""What the specs of loops look at: environments that follow a script and models that keep what they are shown."""

import torch
from torch import Tensor

from katas.rl.given.environments import EnvStep

TERMINATED, TRUNCATED = "terminated", "truncated"


class Scripted:
    """Environments in which everything is written down before; they reset on the next step.

    `script[e]` are the episodes of environment e: (rewards, how it ends). After the last one they begin again. The
    observation of environment e, episode k, step t is (e, k, t), and after the last step t is the number of rewards.
    The reward of the step that resets is 0, or `reset_reward`: nobody should look at it. Whoever makes more than
    `max_steps` steps has missed an end.
    """

    observation_size, action_size, action_limit = 3, None, None

    def __init__(self, *script, num_actions: int | None = 2, dtype=torch.float32, reset_reward: float = 0.0):
        self.script, self.num_envs, self.num_actions = script, len(script), num_actions
        self.dtype, self.reset_reward = dtype, reset_reward
        self.resets, self.actions, self.max_steps = 0, [], 2000

    def reset(self) -> Tensor:
        self.resets += 1
        self.places = [(0, 0)] * self.num_envs  # (episode, step)
        return self._observations()

    def step(self, actions: Tensor) -> EnvStep:
        assert len(self.actions) < self.max_steps, f"{self.max_steps} steps, and no end: which flags end an episode?"
        self.actions.append(actions.clone())
        rewards, endings = [], []
        for e, (k, t) in enumerate(self.places):
            planned, ending = self.script[e][k % len(self.script[e])]
            over = t == len(planned)  # the step that resets
            rewards.append(self.reset_reward if over else planned[t])
            self.places[e] = (k + 1, 0) if over else (k, t + 1)
            endings.append(ending if not over and t + 1 == len(planned) else "")
        flags = (torch.tensor([word in ending for ending in endings], device="cpu") for word in (TERMINATED, TRUNCATED))
        return EnvStep(self._observations(), torch.tensor(rewards, dtype=self.dtype, device="cpu"), *flags)

    def _observations(self) -> Tensor:
        places = [[e, k, t] for e, (k, t) in enumerate(self.places)]
        return torch.tensor(places, dtype=self.dtype, device="cpu")
