"""ema: an average of the weights beside the model, swapped in to sample and out again to train.

Checked against the recurrence, on numbers and on a model with something of everything. Out of scope: buffers that are
not persistent, models with different parameters.
"""

import copy
import io

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from katas.diffusion.ema import EMA
from katas.diffusion.given.modules import Everything, settings, values
from katas.lab.expect import expect_close, expect_equal, expect_refused
from katas.lab.laws import STANDING_LAWS
from katas.lab.strategies import normal, rng


def train(model, ema=None):
    """Three steps of gradient descent; with `ema`, an update and a swap between each gradient and its step."""
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.01)
    for _ in range(3):
        optimizer.zero_grad()
        (model(normal(4, 3)) - 1).square().mean().backward()
        if ema is not None:
            ema.update(model)
            with ema.swapped_into(model):
                pass
        optimizer.step()


def swappable():
    """A model and an average that differ everywhere."""
    model = Everything()
    ema = EMA(model, decay=0.5)
    model.move_on(rng(4))
    ema.update(model)
    model.move_on(rng(5))
    return model, ema


def average_of(start, *weights, decay=0.3):
    model = nn.ParameterList([start])
    ema = EMA(model=model, decay=decay)
    for weight in weights:
        model[0].data = weight
        ema.update(model=model)
    return ema.model[0]


# --- the decay and the average ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("decay, num_updates, expected", [
    (0.3, 1, 2 / 11), (0.3, 2, 3 / 12), (0.3, 3, 0.3), (0.3, 1000, 0.3), (0, 1, 0),
    (0.999, 8990, 0.999), (0.999, 10**6, 0.999), (0.9999, 10**6, 0.9999),
])  # fmt: skip
def test_the_decay_warms_up(decay, num_updates, expected):
    got = EMA(Everything(), decay=decay).decay_at(num_updates=num_updates)
    expect_close(got, expected, "min(decay, (1 + n) / (10 + n))")


def test_two_updates_by_hand():
    start, one = torch.tensor([[0.0], [1.0]]).double()
    # d = 2/11, then 3/12: 2/11 · 0 + 9/11 · 1 = 9/11, then 1/4 · 9/11 + 3/4 · 1 = 42/44
    expect_close(average_of(start, one, one, decay=0.999), [42 / 44], "2/11, then 3/12 of the average is kept")


@given(st.sampled_from([0, 0.2, 0.3, 0.9]), st.lists(st.floats(-1e5, 1e5), min_size=1, max_size=14))
def test_the_average_agrees_with_the_recurrence(decay, weights):
    expected, *rest = weights
    for n, weight in enumerate(rest, start=1):
        d = min(decay, (1 + n) / (10 + n))
        expected = d * expected + (1 - d) * weight
    got = average_of(*(torch.tensor([w], dtype=torch.float64) for w in weights), decay=decay)
    expect_close(got, [expected], "d · average + (1 − d) · weight, update after update")


def test_parameters_are_averaged_and_buffers_copied():
    model, generator = Everything(), rng(1)
    ema, expected = EMA(model, decay=0.2), values(model)
    copied = {"codes", *(name for name, _ in model.named_buffers())}
    for d in (2 / 11, 0.2, 0.2):
        model.move_on(generator)
        for name, now in values(model).items():
            expected[name] = now if name in copied else d * expected[name] + (1 - d) * now
        ema.update(model)
    expect_close(values(ema.model), expected, "floating parameters, frozen ones too, are averaged; all else is copied")


def test_the_averaged_model_is_ready_to_sample():
    model = Everything().train()
    ema = EMA(model, decay=0)  # the average is the last model
    assert type(ema.model) is Everything and ema.num_updates == 0, "a model of the same class; no update so far"
    expect_equal(values(ema.model), values(model), "without updates the average is the model")
    model.move_on(rng(3))
    ema.update(model)
    got, expected = ema.model(normal(5, 3)), copy.deepcopy(model).eval()(normal(5, 3))
    expect_close(got.detach(), expected.detach(), "evaluation mode, with the buffers of the last update")
    assert not got.requires_grad, "parameters of the average take no gradient"


def test_the_average_and_the_model_share_no_memory():
    model, generator = Everything(), rng(1)
    ema = EMA(model)
    for _ in range(2):  # as it was made, and after an update
        before = values(ema.model)
        model.move_on(generator)
        expect_equal(values(ema.model), before, "a change of the model does not change the average")
        ema.update(model)
    before = values(model)
    ema.model.move_on(generator)
    expect_equal(values(model), before, "a change of the average does not change the model")


def test_the_model_is_left_as_it_is():
    model = Everything().train()
    model.norm.eval()  # a frozen batch norm
    numbers, state = values(model), settings(model)
    ema = EMA(model)
    assert settings(model) == state, "EMA(model) changes modes or requires_grad of the model"
    ema.update(model)
    with ema.swapped_into(model):
        assert settings(model) == state, "inside, modes, requires_grad or the parameters are others"
    assert settings(model) == state, "afterwards, modes, requires_grad or the parameters are others"
    expect_equal(values(model), numbers, "neither the average nor an update nor a swap changes the model")
    assert ema.model.first.weight is ema.model.second.weight, "tied parameters of the average are still tied"


# --- swapping ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("updates", [0, 1])
def test_inside_the_model_is_the_average(updates):
    model, ema = (Everything(seed=5), EMA(Everything(seed=6))) if updates == 0 else swappable()
    own, average = values(model), values(ema.model)
    with ema.swapped_into(model=model), ema.swapped_into(Everything(seed=8)):
        expect_equal(values(model), average, "inside, parameters and buffers are those of the average")
        expect_equal(values(ema.model), average, "inside, the average is what it was")
        train(model.train())
        model.mask = ~model.mask  # a new tensor under the old name, as many modules do it
        expect_equal(values(ema.model), average, "training the model inside does not change the average")
    expect_equal(values(model), own, "afterwards the model has its own numbers again, to the bit")


def test_the_weights_come_back_after_an_exception():
    model, ema = swappable()
    own = values(model)
    with pytest.raises(KeyboardInterrupt), ema.swapped_into(model):
        raise KeyboardInterrupt
    expect_equal(values(model), own, "after an exception the model has its own numbers again")


def test_training_goes_on_as_if_without_average():
    train(swapped := Everything(), EMA(Everything(seed=9), decay=0.5))
    train(plain := Everything())
    expect_equal(values(swapped), values(plain), "updates and swaps before a step do not change it")


# --- saving, refusals, standing laws ----------------------------------------------------------------------------------


def test_a_resumed_average_is_the_uninterrupted_one():
    model, generator = Everything(), rng(5)
    straight, first, resumed = (EMA(Everything(seed), decay=0.9) for seed in (0, 0, 3))
    for step in range(7):
        model.move_on(generator)
        straight.update(model)
        (first if step < 2 else resumed).update(model)
        if step == 1:  # within the warm-up
            torch.save(first.state_dict(), file := io.BytesIO())
            file.seek(0)
            resumed.num_updates = 50  # an older state sets the count back
            resumed.load_state_dict(state=torch.load(file, weights_only=True))
    expect_equal(values(resumed.model), values(straight.model), "interrupted or not, to the bit")
    assert resumed.num_updates == 7, f"7 updates in all, not {resumed.num_updates}"


def test_a_state_dict_is_a_copy_both_ways():
    model, ema = swappable()
    other, state, saved = EMA(Everything(seed=9)), ema.state_dict(), values(ema.model)
    expect_equal(dict(state["model"]), saved, "`model` is the state dict of the averaged model, buffers included")
    other.load_state_dict(state)
    expect_equal(values(other.model), saved, "loaded, buffers included")
    ema.update(model), other.update(model)
    expect_equal(dict(state["model"]), saved, "later updates do not change an older state dict")


@pytest.mark.parametrize("decay", [-0.1, 1, 1.5])
def test_a_decay_outside_0_to_1_is_refused(decay):
    expect_refused("decay", lambda: EMA(Everything(), decay=decay))


@pytest.mark.parametrize("law", STANDING_LAWS)
def test_standing_laws(law):
    law(average_of, normal(2, 3), normal(2, 3, seed=1), normal(2, 3, seed=2))
