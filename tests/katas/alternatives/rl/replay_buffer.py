"""replay_buffer, row by row, with the newest row last: a full buffer moves up by one place."""

import torch

from solutions.rl.replay_buffer import Transitions


class ReplayBuffer:
    def __init__(
        self,
        capacity,
        observation_shape,
        *,
        action_shape=(),
        action_dtype=torch.int64,
        observation_dtype=torch.float32,
        device="cpu",
    ):
        if capacity <= 0:
            raise ValueError(f"capacity = {capacity}")
        shapes = [observation_shape, action_shape, (), observation_shape, ()]
        dtypes = [observation_dtype, action_dtype, torch.float32, observation_dtype, torch.bool]
        self.memory = Transitions(
            *(
                torch.empty(capacity, *shape, dtype=dtype, device=device)
                for shape, dtype in zip(shapes, dtypes, strict=True)
            )
        )
        self.capacity, self.stored = capacity, 0
        self.kind = dict(observation_shape=list(observation_shape), action_shape=list(action_shape))
        self.kind |= dict(action_dtype=str(action_dtype), observation_dtype=str(observation_dtype), capacity=capacity)

    def __len__(self):
        return self.stored

    def add(self, observations, actions, rewards, next_observations, terminated, *, valid=None):
        rows = Transitions(observations, actions, rewards, next_observations, terminated)
        valid = [True] * len(rewards) if valid is None else valid.tolist()
        for name, part, memory in zip(rows._fields, rows, self.memory, strict=True):
            if part.shape[1:] != memory.shape[1:] or len(part) != len(valid):
                raise ValueError(f"{name}: {part.shape}")
            if not torch.can_cast(part.dtype, memory.dtype):
                raise ValueError(f"{name}: {part.dtype}")
        for reward, kept in zip(rewards.float().tolist(), valid, strict=True):
            if kept and not abs(reward) < float("inf"):
                raise ValueError(f"rewards: {reward}")
        for index, kept in enumerate(valid):
            if kept:
                self._append([part[index] for part in rows])

    def _append(self, row):
        if self.stored == self.capacity:
            for memory in self.memory:
                memory[:-1] = memory[1:].clone()
            self.stored -= 1
        for memory, number in zip(self.memory, row, strict=True):
            memory[self.stored].copy_(number.detach())
        self.stored += 1

    def sample(self, batch_size, *, generator):
        if batch_size < 1 or batch_size > self.stored:
            raise ValueError(f"batch_size = {batch_size}")
        chances = torch.ones(self.stored, device=generator.device)
        index = torch.multinomial(chances, batch_size, replacement=True, generator=generator)
        return Transitions(*(memory.index_select(0, index.to(memory.device)) for memory in self.memory))

    def state_dict(self):
        return {"kind": dict(self.kind), "stored": self.stored, "memory": [memory.clone() for memory in self.memory]}

    def load_state_dict(self, state):
        for name in self.kind:
            if self.kind[name] != state["kind"][name]:
                raise ValueError(f"{name} differs")
        self.stored = state["stored"]
        for memory, saved in zip(self.memory, state["memory"], strict=True):
            memory.copy_(saved)
