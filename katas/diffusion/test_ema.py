"""ema: an average of the weights beside the model, swapped in to sample and out again to train.

Parameters are averaged, with a short memory at first; buffers are copied. The average and the model never
share memory, and training goes on after a swap as if there had been none. Out of scope: buffers that are not
persistent, models with different parameters.
"""

import copy
import io
import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from katas.diffusion.ema import EMA
from katas.lab.expect import expect_close, expect_equal
from katas.lab.laws import STANDING_LAWS


class Model(nn.Module):
    """Something of everything: tied and frozen parameters, buffers that are floats, integers and booleans."""

    def __init__(self, seed=0):
        super().__init__()
        self.first, self.second, self.norm = nn.Linear(3, 3), nn.Linear(3, 3), nn.BatchNorm1d(3)
        self.second.weight = self.first.weight
        self.frozen = nn.Parameter(torch.ones(3), requires_grad=False)
        self.register_buffer("mask", torch.tensor([False, True, False]))
        self.double()
        self.move_on(torch.Generator().manual_seed(seed))

    @torch.no_grad()
    def move_on(self, generator):
        """Every parameter and buffer becomes something else, in place, as training would do it."""
        for tensor in itertools.chain(self.parameters(), self.buffers()):
            drawn = torch.rand(tensor.shape, generator=generator, dtype=torch.float64)
            if tensor.dtype == torch.bool:
                tensor.logical_not_()
            else:
                tensor.copy_(drawn if tensor.is_floating_point() else (1000 * drawn).long())

    def forward(self, x):
        return self.second(self.norm(self.first(x)).relu() * self.mask) + self.frozen


def is_parameter(name):
    return not name.endswith(("mask", "running_mean", "running_var", "num_batches_tracked"))


def values(model):
    """The numbers that a model has now, parameters and buffers, as copies."""
    return copy.deepcopy(dict(model.state_dict()))


def modes_of(model):
    return [module.training for module in model.modules()]


def train(model, steps=1, between=lambda model: None):
    """Gradient descent on the parameters of the start; `between(model)` comes between gradient and step."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    x = torch.linspace(-2, 3, 12, dtype=torch.float64).reshape(4, 3)
    for _ in range(steps):
        for parameter in trained:
            parameter.grad = None
        (model(x) - x.flip(0)).square().mean().backward()
        between(model)
        for parameter in trained:
            parameter.data -= 0.01 * parameter.grad


class Number(nn.Module):
    def __init__(self, value):
        super().__init__()
        self.weight = nn.Parameter(value)


def average_of(start, *weights, decay=0.3):
    """The average of a model with one parameter that takes these values in turn."""
    model = Number(start)
    ema = EMA(model, decay=decay)
    for weight in weights:
        model.weight.data = weight
        ema.update(model)
    return ema.model.weight


numbers = st.floats(-100, 100)


# --- worked examples ----------------------------------------------------------------------------------------


def test_the_first_updates_forget_the_start_quickly():
    start, one = torch.tensor([0.0], dtype=torch.float64), torch.tensor([1.0], dtype=torch.float64)
    # d = 2/11: 2/11 · 0 + 9/11 · 1 = 9/11.  Then d = 3/12: 1/4 · 9/11 + 3/4 · 1 = 42/44.
    expect_close(average_of(start, one, decay=0.999), [9 / 11], "the first update keeps 2/11 of the start")
    expect_close(average_of(start, one, one, decay=0.999), [42 / 44], "the second keeps 3/12 of the average")


def test_the_decay_grows_until_it_is_the_given_one():
    ema = EMA(Model(), decay=0.3)
    got = [ema.decay_at(n) for n in (1, 2, 3, 4, 1000)]
    expect_close(got, [2 / 11, 3 / 12, 0.3, 0.3, 0.3], "min(decay, (1 + n) / (10 + n)): 4/13 is above 0.3")
    expect_close(EMA(Model()).decay_at(8990), 0.999, "8991/9000 = 0.999, the decay unless told otherwise")
    expect_close(EMA(Model()).decay_at(100_000), 0.999, "and never above it")
    expect_close(EMA(Model(), decay=0.9999).decay_at(10**6), 0.9999, "a decay above the default is not cut")


# --- the average --------------------------------------------------------------------------------------------


@given(st.sampled_from([0, 0.2, 0.3, 0.9]), st.lists(numbers, min_size=1, max_size=6))
def test_the_average_agrees_with_the_recurrence(decay, weights):
    expected, *rest = weights
    for n, weight in enumerate(rest, start=1):
        d = min(decay, (1 + n) / (10 + n))
        expected = d * expected + (1 - d) * weight
    got = average_of(*(torch.tensor([w], dtype=torch.float64) for w in weights), decay=decay)
    expect_close(got, [expected], "d · average + (1 - d) · weight, one update after the other")


def test_every_parameter_is_averaged_and_every_buffer_copied():
    model, generator = Model(), torch.Generator().manual_seed(1)
    ema, expected = EMA(model, decay=0.2), values(model)
    for d in (2 / 11, 0.2, 0.2):
        model.move_on(generator)
        for name, now in values(model).items():
            expected[name] = d * expected[name] + (1 - d) * now if is_parameter(name) else now
        ema.update(model)
    expect_close(values(ema.model), expected, "parameters (frozen ones too) averaged, buffers copied")
    assert ema.num_updates == 3, f"num_updates counts the updates: 3, not {ema.num_updates}"


def test_without_updates_the_average_is_the_model():
    model = Model()
    ema = EMA(model)
    expect_equal(values(ema.model), values(model), "the average starts at the weights of the model")
    assert ema.num_updates == 0, f"no update yet, but num_updates is {ema.num_updates}"
    assert type(ema.model) is Model, f"`model` is a Model like the one it averages, not a {type(ema.model)}"


def test_the_averaged_model_is_ready_to_sample():
    model, x = Model(), torch.randn(5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    ema = EMA(model, decay=0)  # the average is the last model
    model.move_on(torch.Generator().manual_seed(3))
    ema.update(model)
    expected = copy.deepcopy(model).eval()(x)
    expect_close(ema.model(x), expected, "the averaged model is in evaluation mode, with the buffers of now")
    assert not ema.model(x).requires_grad, "the averaged model computes gradients: its parameters take none"


def test_tied_parameters_stay_tied():
    model = Model()
    ema = EMA(model)
    ema.load_state_dict(ema.state_dict())
    with ema.swapped_into(model):
        assert model.first.weight is model.second.weight, "swapped in, the model's tied parameters came apart"
    assert model.first.weight is model.second.weight, "after the swap the model's tied parameters came apart"
    assert ema.model.first.weight is ema.model.second.weight, "the average's tied parameters came apart"


# --- apart from each other ----------------------------------------------------------------------------------


def test_the_average_and_the_model_share_no_memory():
    model, generator = Model(), torch.Generator().manual_seed(1)
    ema = EMA(model)
    for _ in range(2):  # as it was made, and after an update
        before = values(ema.model)
        model.move_on(generator)
        expect_equal(values(ema.model), before, "what is done to the model does not change the average")
        ema.update(model)
    before = values(model)
    ema.model.move_on(generator)
    expect_equal(values(model), before, "what is done to the average does not change the model")


def test_the_model_is_left_as_it_is():
    model = Model().train()
    model.norm.eval()  # a frozen batch norm
    state, modes = values(model), modes_of(model)
    trainable = [parameter.requires_grad for parameter in model.parameters()]
    ema = EMA(model)
    ema.update(model)
    with ema.swapped_into(model):
        assert modes_of(model) == modes, "swapping in changes train or eval mode"
    expect_equal(values(model), state, "neither the average nor an update nor a swap changes the model")
    assert modes_of(model) == modes, "the model is in another mode than before"
    assert [parameter.requires_grad for parameter in model.parameters()] == trainable, "requires_grad changed"


# --- swapping -----------------------------------------------------------------------------------------------


def swappable():
    """A model and an average that differ everywhere."""
    model, generator = Model(), torch.Generator().manual_seed(4)
    ema = EMA(model, decay=0.5)
    model.move_on(generator)
    ema.update(model)
    model.move_on(generator)
    return model, ema


def test_inside_the_model_is_the_average_and_afterwards_itself_again():
    model, ema = swappable()
    own, average = values(model), values(ema.model)
    with ema.swapped_into(model):
        expect_equal(values(model), average, "inside, parameters and buffers are those of the average")
        expect_equal(values(ema.model), average, "inside, the average is what it was")
    expect_equal(values(model), own, "afterwards the model has its own numbers again, to the bit")
    expect_equal(values(ema.model), average, "afterwards the average is what it was")
    assert ema.num_updates == 1, "a swap is no update"


def test_the_model_gets_its_own_weights_back_after_an_exception():
    model, ema = swappable()
    own = values(model)
    with pytest.raises(KeyboardInterrupt):
        with ema.swapped_into(model):
            raise KeyboardInterrupt
    expect_equal(values(model), own, "after an exception too")


def test_training_inside_reaches_neither_the_average_nor_the_model_afterwards():
    model, ema = swappable()
    own, average = values(model), values(ema.model)
    with ema.swapped_into(model.train()):
        train(model)
        expect_equal(values(ema.model), average, "training the model inside does not change the average")
    expect_equal(values(ema.model), average, "training the model inside did not change the average")
    expect_equal(values(model), own, "whatever happened inside, the model has its own weights again")


def test_an_optimizer_goes_on_as_if_there_had_been_no_average():
    plain, swapped = Model(), Model()
    ema = EMA(Model(seed=9), decay=0.5)

    def average_and_sample(model):
        ema.update(model)
        before = list(map(id, model.parameters()))
        with ema.swapped_into(model):
            assert list(map(id, model.parameters())) == before, "inside, the parameters are new tensors"
        assert list(map(id, model.parameters())) == before, "afterwards, the parameters are new tensors"

    train(plain, steps=3)
    train(swapped, steps=3, between=average_and_sample)
    expect_equal(values(swapped), values(plain), "training with updates and swaps between gradient and step")


# --- saving and loading -------------------------------------------------------------------------------------


def test_a_run_that_was_saved_and_loaded_is_the_run_that_was_not_interrupted():
    generator, models = torch.Generator().manual_seed(5), [Model()]
    for _ in range(6):
        models.append(copy.deepcopy(models[-1]))
        models[-1].move_on(generator)
    straight, first, resumed = (EMA(models[seed], decay=0.3) for seed in (0, 0, 3))
    for step, model in enumerate(models):
        straight.update(model)
        (first if step < 2 else resumed).update(model)
        if step == 1:  # within the warm-up
            file = io.BytesIO()
            torch.save(first.state_dict(), file)
            file.seek(0)
            resumed.load_state_dict(torch.load(file, weights_only=True))
            expect_equal(values(resumed.model), values(straight.model), "loaded is what was saved")
    expect_equal(values(resumed.model), values(straight.model), "interrupted or not, to the bit")
    assert resumed.num_updates == straight.num_updates == 7, f"7 updates in all, not {resumed.num_updates}"
    assert not any(modes_of(resumed.model)), "loaded, but in training mode"


def test_a_state_dict_is_a_copy_going_out_and_coming_in():
    model, ema = swappable()
    other, state = EMA(Model(seed=9)), ema.state_dict()
    saved = copy.deepcopy(state["model"])
    other.load_state_dict(state)
    for average in (ema, other):
        average.update(model)
        expect_equal(dict(state["model"]), dict(saved), "updates do not change an older state dict")
    before = values(other.model)
    for value in state["model"].values():
        value.zero_()
    expect_equal(values(other.model), before, "what is done to the state dict does not change the average")


def test_the_saved_average_is_the_state_dict_of_the_model():
    model, ema = swappable()
    state = ema.state_dict()
    assert state["num_updates"] == 1, f"one update so far, not {state['num_updates']}"
    model.load_state_dict(state["model"])
    expect_equal(values(model), values(ema.model), "`model` in the state dict loads into the model itself")


# --- edges --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [-0.1, 1, 1.5])
def test_a_decay_outside_0_to_1_is_refused(bad):
    with pytest.raises(ValueError, match="decay"):
        EMA(Model(), decay=bad)


@pytest.mark.parametrize("law", STANDING_LAWS[:5])
def test_standing_laws(law):
    start = torch.tensor([[1.0, -2.0, 3.0], [0.5, 8.0, -4.0]], dtype=torch.float64)
    law(average_of, start, 2 * start, start - 3)


def test_two_models_may_borrow_the_average_one_inside_the_other():
    one, ema = swappable()
    two = Model(seed=11)
    before = values(one), values(two)
    with ema.swapped_into(one), ema.swapped_into(two):
        pass
    expect_equal((values(one), values(two)), before, "afterwards each model has its own values again")


def test_one_model_may_borrow_the_average_twice_one_inside_the_other():
    model, ema = swappable()
    own, average = values(model), values(ema.model)
    with ema.swapped_into(model):
        with ema.swapped_into(model):
            pass
        expect_equal(values(model), average, "after the inner swap the model has what it had before it")
    expect_equal(values(model), own, "afterwards the model has its own values again")


def test_an_average_that_was_never_updated_is_swapped_in_like_any_other():
    model, ema = Model(seed=5), EMA(Model(seed=6))
    with ema.swapped_into(model):
        expect_equal(values(model), values(ema.model), "inside, the model is the average, after 0 updates, too")


def test_a_buffer_that_is_set_anew_inside_is_put_back():
    model, ema = swappable()
    own = values(model)
    with ema.swapped_into(model):
        model.mask = ~model.mask  # a new tensor under the old name, as many modules do it
        model.norm.running_mean = model.norm.running_mean + 1
    expect_equal(values(model), own, "afterwards the buffers have the model's own values")


def test_an_older_state_sets_the_count_back():
    model, ema = swappable()
    state = copy.deepcopy(ema.state_dict())
    count = state["num_updates"]
    ema.update(model)
    ema.update(model)
    ema.load_state_dict(state)
    assert int(ema.num_updates) == int(count), (
        f"the count is that of the state, {int(count)}, not {int(ema.num_updates)}"
    )
    assert "num_updates" in state, "the state that was handed over is not changed"
