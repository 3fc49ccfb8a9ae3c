"""A replay buffer: what happened in the environments, kept to learn from it many times.

Off-policy methods sample old transitions. Successive ones look alike; a random batch of many episodes does not.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor


class Transitions(NamedTuple):
    """Row i of all five parts is one transition.

    There is no `truncated`. A target bootstraps from the next observation unless the transition has `terminated`; where
    a time limit stopped the episode, it bootstraps like anywhere else.
    """

    observations: Shaped[Tensor, "N *obs"]
    actions: Shaped[Tensor, "N *act"]
    rewards: Float[Tensor, " N"]
    next_observations: Shaped[Tensor, "N *obs"]
    terminated: Bool[Tensor, " N"]


class ReplayBuffer:
    """The last `capacity` transitions.

    `memory` is where they are stored: Transitions of `capacity` rows on `device`, allocated once. The shapes are those
    of one observation and one action. Rewards are float32. `len(buffer)` is the number of transitions stored,
    `buffer.capacity` how many there can be, at least 1.
    """

    def __init__(
        self,
        capacity: int,
        observation_shape: tuple[int, ...],
        *,
        action_shape: tuple[int, ...] = (),
        action_dtype: torch.dtype = torch.int64,
        observation_dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        if capacity < 1:
            raise ValueError(f"capacity must be at least 1, got {capacity}")

        def rows(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
            return torch.zeros((capacity, *shape), dtype=dtype, device=device)

        self.memory = Transitions(
            observations=rows(observation_shape, observation_dtype),
            actions=rows(action_shape, action_dtype),
            rewards=rows((), torch.float32),
            next_observations=rows(observation_shape, observation_dtype),
            terminated=rows((), torch.bool),
        )
        self.capacity, self._size, self._next_row = capacity, 0, 0

    def __len__(self) -> int:
        return self._size

    def add(
        self,
        observations: Shaped[Tensor, "N *obs"],
        actions: Shaped[Tensor, "N *act"],
        rewards: Float[Tensor, " N"],
        next_observations: Shaped[Tensor, "N *obs"],
        terminated: Bool[Tensor, " N"],
        *,
        valid: Bool[Tensor, " N"] | None = None,
    ) -> None:
        """Copies one step of N environments, row 0 first, over the oldest transitions once the buffer is full.

        `next_observations` are what the actions led to, also where an episode ended: never the first observation of the
        next episode. Rows that are not `valid` are left out, whatever they hold. (A vector environment of gymnasium
        resets on the step after an end; that step belongs to no episode: `valid=~previous_ends`.) N may exceed the
        capacity.

        Numbers are converted to the dtype of the buffer. A ValueError names what is refused, and nothing is stored:
        rows of another shape; floating numbers for an integer dtype; rewards of valid rows that are not finite in
        float32.
        """
        given = Transitions(observations, actions, rewards, next_observations, terminated)
        self._check(given)
        kept = torch.ones_like(terminated) if valid is None else valid
        rows = [part.detach()[kept].to(memory) for part, memory in zip(given, self.memory, strict=True)]
        if not rows[2].isfinite().all():
            raise ValueError("rewards must be finite numbers of float32")
        count = min(len(rows[0]), self.capacity)
        places = (self._next_row + torch.arange(count, device=rows[0].device)) % self.capacity
        for memory, part in zip(self.memory, rows, strict=True):
            memory[places] = part[len(part) - count :]
        self._next_row = (self._next_row + count) % self.capacity
        self._size = min(self._size + count, self.capacity)

    def _check(self, given: Transitions) -> None:
        for name, part, memory in zip(Transitions._fields, given, self.memory, strict=True):
            shape = (len(given.rewards), *memory.shape[1:])
            if part.shape != shape:
                raise ValueError(f"{name} must have the shape {tuple(shape)}, got {tuple(part.shape)}")
            if part.is_floating_point() and not memory.is_floating_point():
                raise ValueError(
                    f"{name} are stored as {memory.dtype}, which would cut off the decimals of {part.dtype}"
                )

    def sample(self, batch_size: int, *, generator: torch.Generator) -> Transitions:
        """`batch_size` of the stored transitions, each drawn uniformly from all of them, with replacement.

        The tensors are new. `batch_size` lies between 1 and `len(buffer)`: an empty buffer has nothing to sample.
        """
        if not 1 <= batch_size <= len(self):
            raise ValueError(f"batch_size must lie between 1 and the number stored, {len(self)}, got {batch_size}")
        drawn = torch.randint(len(self), (batch_size,), generator=generator, device=generator.device)
        drawn = drawn.to(self.memory.rewards.device)
        return Transitions(*(memory[drawn] for memory in self.memory))

    def state_dict(self) -> dict:
        """A copy of everything that is needed to go on. `torch.load` reads it with `weights_only=True`."""
        stored = {name: part[: len(self)].clone() for name, part in self.memory._asdict().items()}
        return {**self._settings(), "size": self._size, "next_row": self._next_row, "stored": stored}

    def load_state_dict(self, state: dict) -> None:
        """Goes on, with copies, from the `state_dict` of a buffer with the same arguments (`device` may differ).

        Later calls of `add` and `sample` do exactly what they would have done to the saved buffer. A state of another
        `capacity`, `observation_shape`, `action_shape`, `action_dtype` or `observation_dtype` is refused by that name,
        and nothing changes.
        """
        for name, own in self._settings().items():
            if state[name] != own:
                raise ValueError(f"{name} of the saved buffer is {state[name]}, of this one {own}")
        self._size, self._next_row = state["size"], state["next_row"]
        for name, part in self.memory._asdict().items():
            part[: len(self)] = state["stored"][name]

    def _settings(self) -> dict:
        observations, actions, *_ = self.memory
        return {
            "capacity": self.capacity,
            "observation_shape": tuple(observations.shape[1:]),
            "action_shape": tuple(actions.shape[1:]),
            "action_dtype": actions.dtype,
            "observation_dtype": observations.dtype,
        }
