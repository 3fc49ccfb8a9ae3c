"""The budget of a GTX 1060: operations, launches, memory, and what is told of them."""

import pytest
import torch

from katas.lab.checks.budget import Cost, Work, budget, flops_of, work_of


def test_projected_time_is_the_larger_of_wall_time_and_operations():
    minute = 4.4e12 * 0.35 * 60
    assert Cost(30, 2 * minute, 10, on_gpu=True).projected_seconds == pytest.approx(120)
    assert Cost(200, 2 * minute, 10, on_gpu=True).projected_seconds == 200
    assert Cost(200, 2 * minute, None, on_gpu=False).projected_seconds == pytest.approx(120), (
        "a CPU's time says nothing"
    )


def test_a_check_over_the_budget_fails_and_says_why():
    Cost(1, 1.0, 2**30, on_gpu=True).check()
    Cost(10**4, 1.0, 1, on_gpu=True).check()  # a slow machine is nobody's fault
    with pytest.raises(AssertionError, match="more than 5.0 min on a GTX 1060.*projected"):
        Cost(1, 5.1 * 4.4e12 * 0.35 * 60, 1, on_gpu=True).check()
    with pytest.raises(AssertionError, match="more than 5.5 GiB"):
        Cost(1, 1.0, 6 * 2**30, on_gpu=True).check()


def test_operations_are_counted_forward_and_backward(capsys):
    x, w = torch.ones(3, 5), torch.ones(5, 7, requires_grad=True)
    assert flops_of(lambda: (x @ w).sum().backward()) == 2 * (2 * 3 * 5 * 7)  # forward, and the gradient of w
    with budget("cpu"):
        x @ w
    assert "projected on a GTX 1060" in capsys.readouterr().out
    with pytest.raises(AssertionError, match="more than 0.0 min"), budget("cpu", flops=1e15, max_seconds=1):
        pass


def test_launches_and_waits_are_counted():
    x, w, mask = torch.ones(3, 5), torch.ones(5, 7, requires_grad=True), torch.tensor([True, False, True])
    work = work_of(lambda: (x @ w).sum().backward())
    assert work.launches == 4, "mm, sum, the 1 that backward starts from, mm; views launch nothing"
    assert work.waits == 0 and work.flops == 2 * (2 * 3 * 5 * 7)
    assert work_of(lambda: x.T[:, 1:].unsqueeze(0)).launches == 0
    assert work_of(lambda: (x.sum().item(), x[mask], float(x[0, 0]))).waits == 3
    assert work_of(lambda: x[torch.tensor([0, 2])]).waits == 0


def test_the_slower_of_card_and_cpu_counts():
    few, many = Work(launches=2, seconds_on_card=0.5), Work(launches=2e6, seconds_on_card=0.5)
    assert few.seconds == 0.5 and many.seconds == pytest.approx(50) and few.times(3).seconds == 1.5
    large = torch.ones(3000, 4000)
    assert work_of(lambda: large + 1).seconds_on_card == pytest.approx(2 * 48e6 / 192e9), "bytes read and written"
    product = work_of(lambda: large @ large.T).seconds_on_card
    assert product == pytest.approx(2 * 3000 * 4000 * 3000 / (4.4e12 * 0.35)), (
        "or the operations, where they take longer"
    )
