"""A replay buffer for specs: plain lists, and a memory of what was sampled."""

from typing import NamedTuple

import torch

from katas.rl.replay_buffer import ReplayBuffer, Transitions


class Stored(NamedTuple):
    """One transition, in Python numbers."""

    observation: tuple[float, ...]
    action: int
    reward: float
    next_observation: tuple[float, ...]
    terminated: bool


class ListBuffer(ReplayBuffer):
    """Used like a `ReplayBuffer` that is never full, and owes it nothing. Its numbers keep their digits (float64).

    `rows` is everything stored, oldest first. `sampled` has a list of observations for each sample that was drawn.
    """

    capacity = 10**9

    def __init__(self):
        self.rows: list[Stored] = []
        self.sampled: list[list[tuple[float, ...]]] = []

    def __len__(self) -> int:
        return len(self.rows)

    def add(self, observations, actions, rewards, next_observations, terminated, *, valid=None) -> None:
        self.shape = observations.shape[1:]
        columns = (observations.flatten(1), actions, rewards, next_observations.flatten(1), terminated)
        devices = {str(part.device) for part in (*columns, valid) if part is not None}
        if len(devices) > 1:
            raise RuntimeError(f"the parts of a step lie on more than one device: {sorted(devices)}")
        kept = [True] * len(rewards) if valid is None else valid.tolist()
        for keep, before, action, reward, after, end in zip(kept, *(part.tolist() for part in columns), strict=True):
            if keep:
                self.rows.append(Stored(tuple(before), action, reward, tuple(after), bool(end)))

    def sample(self, batch_size: int, *, generator: torch.Generator) -> Transitions:
        if not 1 <= batch_size <= len(self):
            raise ValueError(f"batch_size must lie between 1 and the number stored, {len(self)}, got {batch_size}")
        places = torch.randint(len(self), (batch_size,), generator=generator, device=generator.device).tolist()
        rows = [self.rows[place] for place in places]
        self.sampled.append([row.observation for row in rows])
        dtypes = (torch.float64, torch.int64, torch.float64, torch.float64, torch.bool)
        columns = zip(*rows, strict=True)
        parts = Transitions(
            *(torch.tensor(c, dtype=dtype, device="cpu") for c, dtype in zip(columns, dtypes, strict=True))
        )
        before, after = (part.reshape(-1, *self.shape) for part in (parts.observations, parts.next_observations))
        return parts._replace(observations=before, next_observations=after)
