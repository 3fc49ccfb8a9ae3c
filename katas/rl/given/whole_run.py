"""A run with something of everything that PPO and SAC consist of, and its update in a few lines."""

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from katas.lab.expect import expect_equal
from katas.lab.strategies import normal, rng

F64 = torch.float64


class Memory:
    """A part that promises little: it hands out its own tensor, keeps the one it gets, and may fail half-way."""

    def __init__(self, capacity: int = 5):
        self.rows, self.added = torch.zeros(capacity, dtype=F64), 0

    def add(self, number: Tensor) -> None:
        self.rows[self.added % len(self.rows)] = number
        self.added += 1

    def state_dict(self) -> dict:
        return {"added": self.added, "rows": self.rows}

    def load_state_dict(self, state: dict) -> None:
        self.added = state["added"]
        if len(state["rows"]) != len(self.rows):
            raise ArithmeticError("rows")
        self.rows = state["rows"]


class Noted:
    """A part whose state is whatever it is given."""

    def __init__(self, note):
        self.note = note

    def state_dict(self) -> dict:
        return {"note": self.note}

    def load_state_dict(self, state: dict) -> None:
        self.note = state["note"]


def network(hidden: int = 4, outputs: int = 2, seed: int = 0, statistics: torch.dtype = F64) -> nn.Sequential:
    layers = nn.Sequential(nn.Linear(3, hidden), nn.BatchNorm1d(hidden), nn.Linear(hidden, outputs)).double()
    for index, weight in enumerate(layers.parameters()):
        weight.data = normal(*weight.shape, seed=seed + index)
    layers[1].running_var = layers[1].running_var.to(statistics)
    return layers


def groups(policy: nn.Sequential) -> list[list[Tensor]]:
    """Its parameters in two groups."""
    return [list(layers.parameters()) for layers in (policy[:2], policy[2:])]


def stepped(optimizer_class, *groups: list[Tensor], **options) -> torch.optim.Optimizer:
    """An optimizer with moments."""
    optimizer = optimizer_class([{"params": group} for group in groups], lr=0.1, **options)
    for parameter in (parameter for group in groups for parameter in group):
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    return optimizer


def whole_run(seed: int = 0, lr: float = 0.05, updates: int = 0, **sizes: int) -> dict[str, Any]:
    """The parts after so many updates. A part is called "step": names are free."""
    policy, log_std = network(seed=seed, **sizes), nn.Parameter(normal(2, seed=seed))
    adam = torch.optim.Adam([{"params": group} for group in groups(policy)], lr=lr)
    parts = {
        "policy": policy, "target": copy.deepcopy(policy), "log_std": log_std, "adam": adam,
        "sgd": torch.optim.SGD([log_std], lr=lr, momentum=0.9), "memory": Memory(), "step": rng(seed),
        "schedule": torch.optim.lr_scheduler.StepLR(adam, 3, gamma=0.5),
    }  # fmt: skip
    return go_on(parts, updates)


def go_on(parts: dict[str, Any], updates: int) -> dict[str, Any]:
    """So many more updates, of which each uses all parts and changes them."""
    policy, target, log_std, memory = (parts[name] for name in ("policy", "target", "log_std", "memory"))
    for _ in range(updates):
        x = torch.randn(6, 3, generator=parts["step"], dtype=F64)
        memory.add(x.mean())
        error = policy(x) - target(x).detach() - memory.rows.mean()
        policy.zero_grad(), parts["sgd"].zero_grad()
        (error.square() / log_std.exp() + log_std).mean().backward()
        for name in ("adam", "sgd", "schedule"):
            parts[name].step()
        for slow, quick in zip(target.parameters(), policy.parameters(), strict=True):
            slow.data.lerp_(quick.data, 0.1)
    return parts


def expect_same_run(got: dict[str, Any], expected: dict[str, Any], law: str) -> None:
    __tracebackhide__ = True
    for name, part in expected.items():
        expect_equal(_numbers(got[name]), _numbers(part), f"{law}: {name}")


def _numbers(part) -> Tensor | list:
    if isinstance(part, torch.Generator):
        return part.get_state()
    state = part.detach() if isinstance(part, Tensor) else part.state_dict()
    return [leaf for leaf in tree_leaves(state) if isinstance(leaf, Tensor | int | float)]
