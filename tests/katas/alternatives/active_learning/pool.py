"""pool, with an array of ranks: `when[i]` tells as the how-manieth example i was bought, -1 that it was not."""

import copy

import numpy as np
import torch


class ActivePool:
    def __init__(self, size, oracle):
        if size < 0:
            raise ValueError("size is negative")
        self.when, self.answers, self.oracle = np.full(size, -1), [None] * size, oracle

    @property
    def labelled(self):
        order = np.argsort(self.when, kind="stable")
        return torch.from_numpy(order[np.count_nonzero(self.when < 0) :].astype(np.int64))

    @property
    def labels(self):
        return [self.answers[index] for index in self.labelled.tolist()]

    @property
    def unlabelled(self):
        return torch.from_numpy(np.flatnonzero(self.when < 0).astype(np.int64))

    def buy(self, positions):
        left, seen = self.unlabelled.tolist(), set()
        for position in positions.tolist():
            if position in seen or position not in range(len(left)):
                raise ValueError(f"positions: {position}")
            seen.add(position)
        chosen = [left[position] for position in positions.tolist()]
        self._label(chosen)
        return torch.tensor(chosen, dtype=torch.int64, device="cpu")

    def seed(self, indices):
        left = self.unlabelled.tolist()
        for index in indices.tolist():
            if index not in left:
                raise ValueError(f"indices: {index}")
            left.remove(index)
        self._label(indices.tolist())

    def _label(self, chosen):
        when, answers = self.when.copy(), list(self.answers)
        for index in reversed(chosen):  # nobody promised in which order the oracle is asked
            answers[index] = self.oracle(index)
        for index in chosen:
            when[index] = when.max(initial=-1) + 1
        self.when, self.answers = when, answers

    def state_dict(self):
        return {"when": self.when.tolist(), "answers": list(self.answers)}

    def load_state_dict(self, state):
        if len(state["when"]) != len(self.when):
            raise ValueError("size")
        self.when, self.answers = np.array(state["when"], dtype=int), copy.deepcopy(state["answers"])


def stratified_seed(labels, per_class, *, num_classes, generator):
    if per_class < 0 or num_classes < 1:
        raise ValueError("per_class" if per_class < 0 else "num_classes")
    order = torch.rand(len(labels), generator=generator, device=generator.device).argsort().tolist()
    taken = {label: [] for label in range(num_classes)}
    for index in order:
        members = taken[int(labels[index])]
        if len(members) < per_class:
            members.append(index)
    for label, members in taken.items():
        if len(members) < per_class:
            raise ValueError(f"labels: too few of class {label}")
    chosen = sorted(index for members in taken.values() for index in members)
    return torch.tensor(chosen, dtype=torch.int64, device=labels.device)
