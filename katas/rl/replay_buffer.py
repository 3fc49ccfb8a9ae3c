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
        raise NotImplementedError

    def __len__(self) -> int:
        raise NotImplementedError

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
        raise NotImplementedError

    def sample(self, batch_size: int, *, generator: torch.Generator) -> Transitions:
        """`batch_size` of the stored transitions, each drawn uniformly from all of them, with replacement.

        The tensors are new. `batch_size` lies between 1 and `len(buffer)`: an empty buffer has nothing to sample.
        """
        raise NotImplementedError

    def state_dict(self) -> dict:
        """A copy of everything that is needed to go on. `torch.load` reads it with `weights_only=True`."""
        raise NotImplementedError

    def load_state_dict(self, state: dict) -> None:
        """Goes on, with copies, from the `state_dict` of a buffer with the same arguments (`device` may differ).

        Later calls of `add` and `sample` do exactly what they would have done to the saved buffer. A state of another
        `capacity`, `observation_shape`, `action_shape`, `action_dtype` or `observation_dtype` is refused by that name,
        and nothing changes.
        """
        raise NotImplementedError
