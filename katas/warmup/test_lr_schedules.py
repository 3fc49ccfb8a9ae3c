"""lr_schedules: a warm-up, a cosine, and the rates of an optimizer's groups.

Checked against the formula in exact fractions of the way. Out of scope: restarts, rates that are tensors.
"""

import itertools
import math
from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from katas.lab.expect import expect_close, expect_refused
from katas.warmup.lr_schedules import apply_learning_rate, warmup_cosine

PLANS = st.tuples(st.integers(0, 30), st.integers(0, 300)).map(lambda plan: (plan[0], plan[0] + plan[1]))
RATIOS = st.sampled_from([0, 0.0, 0.1, 0.5, 1])


# --- the definition ---------------------------------------------------------------------------------------------------


def factor(step, warmup, total, least):
    if step < warmup:
        return float(Fraction(step + 1, warmup))
    progress = float(Fraction(step - warmup, total - warmup)) if step < total else 1.0
    return least + (1 - least) * (1 + math.cos(math.pi * progress)) / 2


# --- the factor -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step, expected, law", [
    (0, 0.25, "the first step is a quarter: (0 + 1) / 4, not 0"), (1, 0.5, "then a half"), (3, 1.0, "(3 + 1) / 4"),
    (4, 1.0, "after the warm-up the cosine begins at 1"), (6, 0.75 + 0.25 * math.sqrt(0.5), "a quarter of the cosine"),
    (8, 0.75, "half-way between 1 and 0.5"), (12, 0.5, "the end"), (13, 0.5, "it stays there"), (20, 0.5, "for ever"),
])  # fmt: skip
def test_four_steps_up_and_eight_down_to_a_half(step, expected, law):
    got = warmup_cosine(step=step, warmup_steps=4, total_steps=12, min_ratio=0.5)
    expect_close(got, expected, law)


@given(st.integers(0, 1000), PLANS, RATIOS)
def test_every_step_agrees_with_the_definition(step, plan, least):
    got = warmup_cosine(step, warmup_steps=plan[0], total_steps=plan[1], min_ratio=least)
    expect_close(
        got, factor(step, *plan, least), f"step {step} of {plan[1]}, {plan[0]} of them warm-up", atol=1e-12, rtol=0
    )


@given(PLANS, RATIOS)
def test_both_ends_are_exact(plan, least):
    (warmup, total), given = plan, dict(warmup_steps=plan[0], total_steps=plan[1], min_ratio=least)
    if warmup < total:
        assert warmup_cosine(warmup, **given) == 1.0, "exactly 1 when the warm-up is over"
    for step in (total, total + 1, 2 * total + 1, 10**6):
        assert warmup_cosine(step, **given) == least, f"exactly min_ratio at step {step} of {total}"


@given(PLANS, RATIOS)
def test_it_rises_and_then_falls(plan, least):
    warmup, total = plan
    factors = [
        warmup_cosine(step, warmup_steps=warmup, total_steps=total, min_ratio=least) for step in range(total + 5)
    ]
    assert all(a < b for a, b in itertools.pairwise(factors[:warmup])), "each step of the warm-up is larger"
    assert all(a >= b for a, b in itertools.pairwise(factors[warmup:])), "and never again after it"
    assert all(min(least, 1 / max(1, warmup)) <= value <= 1 for value in factors), f"between the ends: {factors}"


def test_it_falls_to_0_by_default():
    expect_close(warmup_cosine(10, warmup_steps=2, total_steps=10), 0, "min_ratio is 0 by default")


def test_it_is_what_lambda_lr_asks_for():
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.5)
    plan = dict(warmup_steps=3, total_steps=9, min_ratio=0.1)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: warmup_cosine(step, **plan))
    rates = []
    for _ in range(12):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step(), scheduler.step()
    expect_close(rates, [0.5 * factor(step, 3, 9, 0.1) for step in range(12)], "the rate of each step")


# --- the groups -------------------------------------------------------------------------------------------------------


def two_groups(*rates):
    return torch.optim.SGD([{"params": [nn.Parameter(torch.zeros(2))], "lr": rate} for rate in rates])


def test_every_group_has_its_own_rate():
    optimizer = two_groups(0.1, 2.0)
    for share in (0.5, 0.5, 1.0, 0.25, 0.0, 0.5):
        apply_learning_rate(optimizer=optimizer, base_rates=[0.1, 2.0], factor=share)
        got = [group["lr"] for group in optimizer.param_groups]
        expect_close(got, [0.1 * share, 2.0 * share], "its base rate times the factor, however often it is called")


def test_the_base_rates_stay_as_they_are():
    optimizer, base = two_groups(0.1, 2.0), [0.1, 2.0]
    apply_learning_rate(optimizer, base, 0.5)
    assert base == [0.1, 2.0], f"the list belongs to the caller: {base}"
    assert all("params" in group and group["momentum"] == 0 for group in optimizer.param_groups), "nothing else changes"


# --- refusals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name, call", [
    ("step", lambda: warmup_cosine(-1, warmup_steps=2, total_steps=5)),
    ("warmup_steps", lambda: warmup_cosine(0, warmup_steps=6, total_steps=5)),
    ("warmup_steps", lambda: warmup_cosine(0, warmup_steps=-1, total_steps=5)),
    ("min_ratio", lambda: warmup_cosine(0, warmup_steps=2, total_steps=5, min_ratio=-0.1)),
    ("min_ratio", lambda: warmup_cosine(9, warmup_steps=2, total_steps=5, min_ratio=1.1)),
    ("base_rates", lambda: apply_learning_rate(two_groups(1.0, 2.0), [1.0], 0.5)),
    ("base_rates", lambda: apply_learning_rate(two_groups(1.0), [1.0, 2.0], 0.5)),
])  # fmt: skip
def test_what_does_not_fit_is_refused(name, call):
    expect_refused(name, call)


def test_nothing_is_set_where_a_rate_is_missing():
    optimizer = two_groups(1.0, 2.0)
    expect_refused("base_rates", lambda: apply_learning_rate(optimizer, [1.0], 0.5))
    assert [group["lr"] for group in optimizer.param_groups] == [1.0, 2.0], "refused before anything is done"
