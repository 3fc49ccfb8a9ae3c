"""Speeds: all take turns, the first rounds do not count, and what is told is the median."""

import itertools

import pytest

from katas.lab.checks.speed import in_turns, ratio, told


def test_all_take_turns_and_the_first_rounds_are_left_out():
    calls, clock = [], itertools.count()
    tasks = {name: lambda name=name: calls.append(name) for name in ("yours", "theirs")}
    times = in_turns(tasks, seconds=0, clock=lambda: float(next(clock)))
    assert calls == ["yours", "theirs"] * 4 and times == {"yours": [1.0] * 3, "theirs": [1.0] * 3}


def test_what_is_told_is_the_median():
    times = {"yours": [0.001, 0.002, 9.0], "theirs": [0.004, 0.004, 0.004]}
    assert told(times) == "yours 2 ms, theirs 4 ms"
    assert told(times, 12, "images") == "yours 2 ms (6,000 images a second), theirs 4 ms (3,000 images a second)"
    assert told({"a": [3.0], "b": [0.00025]}) == "a 3 s, b 250 µs"
    assert ratio(times, "theirs", "yours") == pytest.approx(2)
