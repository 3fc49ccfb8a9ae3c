"""The average by names, and a swap that exchanges what the parameters point at."""

from contextlib import contextmanager
from copy import deepcopy

import torch


class EMA:
    def __init__(self, model, *, decay=0.999):
        if decay < 0 or decay >= 1:
            raise ValueError("decay")
        self.model, self.decay, self.num_updates = deepcopy(model), decay, 0
        self.model.eval()
        for parameter in self.model.parameters():
            parameter.requires_grad = False

    def decay_at(self, num_updates):
        warm = (1 + num_updates) / (10 + num_updates)
        return warm if warm < self.decay else self.decay

    def update(self, model):
        self.num_updates += 1
        d = self.decay_at(self.num_updates)
        theirs = dict(model.named_parameters())
        for name, parameter in self.model.named_parameters():
            mean = d * parameter.data + (1 - d) * theirs[name].data
            parameter.data = mean if parameter.is_floating_point() else theirs[name].data.clone()
        buffers = dict(model.named_buffers())
        for name, buffer in self.model.named_buffers():
            buffer.data = buffers[name].data.clone()

    @contextmanager
    def swapped_into(self, model):
        def tensors(of):
            return [*of.parameters(), *of.buffers()]

        own = [tensor.data for tensor in tensors(model)]
        for tensor, average in zip(tensors(model), tensors(self.model), strict=True):
            tensor.data = average.data.clone()
        try:
            yield
        finally:
            for tensor, data in zip(tensors(model), own, strict=True):
                tensor.data = data

    def state_dict(self):
        return {"num_updates": torch.tensor(self.num_updates), "model": deepcopy(self.model.state_dict())}

    def load_state_dict(self, state):
        self.num_updates = int(state["num_updates"])
        self.model.load_state_dict(deepcopy(state["model"]))
