"""What the specs of REINFORCE and PPO ask of their loops alike.

`trained(updates, **options)` trains a `Line` in scripted environments and returns the model, the environments and the
reports.
"""

import copy
import math
import re
from collections.abc import Callable

import pytest
import torch
from torch import nn

from katas.lab.expect import expect_equal
from katas.rl.given.probes import Rules
from katas.rl.given.watched import TERMINATED, Line


def callback_comes_last_and_may_change_rates(trained: Callable) -> None:
    __tracebackhide__ = True
    optimizer, weights = torch.optim.SGD((model := Line()).parameters(), lr=0.1), []
    start = [float(model.slope), float(model.height)]

    def stop(report):
        weights.append([float(model.slope), float(model.height)])
        optimizer.param_groups[0]["lr"] = 0.0

    trained(3, model=model, optimizer=optimizer, on_update=stop)
    assert weights[0] != start, "the callback comes after the update"
    assert weights[0] == weights[1] == weights[2], "a learning rate of 0, set by the callback, holds from then on"


def goes_on_from_a_first_update(trained: Callable) -> None:
    __tracebackhide__ = True
    *_, reports = trained(7, first_update=5)
    assert [report.update for report in reports] == [5, 6], "the updates first_update to updates - 1"
    assert trained(2, first_update=2)[1].seen == [], "nothing left to do"


def a_loss_that_is_not_finite_changes_nothing(trained: Callable, envs, what: str, bad: float) -> None:
    """The values or the rewards of update 2 are `bad`."""
    __tracebackhide__ = True
    model, kept = Line(), []
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)

    def spoil(report):
        if report.update == 1:
            if what == "values":
                model.height.data.fill_(bad)
            else:
                envs.script = [[([bad] * 9, TERMINATED)] * 9] * envs.num_envs
            kept.append(copy.deepcopy((model.state_dict(), optimizer.state_dict()["state"])))

    with pytest.raises(FloatingPointError) as raised:
        trained(5, model=model, optimizer=optimizer, envs=envs, on_update=spoil)
    assert re.search(r"\b2\b", str(raised.value)), f"the {what} of update 2 are {bad}; the error says: {raised.value}"
    state = (model.state_dict(), optimizer.state_dict()["state"])
    expect_equal(state, kept[0], "weights and momentum are as they were after the last good step")


def expect_learned(model: nn.Module, rules: Rules, gamma: float) -> None:
    """The exact value of every observation of a probe, and its best action."""
    __tracebackhide__ = True
    for observation in rules.observations:
        with torch.no_grad():
            logits, (value,) = model(torch.tensor([[observation]]))
        exact = rules.value(observation, gamma)
        assert math.isclose(value, exact, abs_tol=0.1), f"the value of {observation}: {value:.3f}, exact {exact:g}"
        if rules.best_action is not None:
            sure = float(logits.softmax(dim=-1)[0, rules.best_action(observation)])
            assert sure > 0.9, f"the best action at {observation} has the probability {sure:.2f}"
