"""How fast: an optimizer's step, beside PyTorch's plain loop. `pytest katas/warmup -m benchmark`

Twenty weights of 64 × 64 × 3 × 3. PyTorch's own runs without `foreach` and `fused`, which update all weights at once.
The solution keeps a promise: at most twice that loop's time, as the median ratio of rounds taken in turns.
"""

import importlib

import pytest
import torch

from katas.lab.checks.speed import in_turns, ratio, told

pytestmark = [pytest.mark.benchmark, pytest.mark.usefixtures("one_thread")]
DEVICES = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
TREES = {"yours": "katas", "solution": "solutions"}
OPTIONS = {"SGD": dict(lr=0.01, momentum=0.9, weight_decay=1e-4), "AdamW": dict(lr=1e-3)}


def step_of(who: str, name: str, device: str):
    weights = [torch.nn.Parameter(torch.randn(64, 64, 3, 3, device=device)) for _ in range(20)]
    for weight in weights:
        weight.grad = torch.randn_like(weight)
    if who == "PyTorch":
        return getattr(torch.optim, name)(weights, **OPTIONS[name], foreach=False, fused=False).step
    return getattr(importlib.import_module(f"{TREES[who]}.warmup.optimizers"), name)(weights, **OPTIONS[name]).step


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", OPTIONS)
def test_speed(record_property, name, device):
    times = in_turns({who: step_of(who, name, device) for who in (*TREES, "PyTorch")}, device)
    record_property("speed", f"a step of {name} on {device}: {told(times)}")


@pytest.mark.parametrize("name", OPTIONS)
def test_the_solution_is_about_as_fast_as_pytorchs_loop(name, record_property):
    found = ratio(in_turns({who: step_of(who, name, "cpu") for who in ("solution", "PyTorch")}), "solution", "PyTorch")
    record_property("speed", f"{name} on cpu, solution: {found:.2f} times PyTorch's loop")
    assert found <= 2, f"{found:.2f} times PyTorch's loop; promised is at most 2"
