"""clipping: one norm over all gradients, and what happens to them.

Checked against Python's `math.hypot`, and `torch.nn.utils.clip_grad_norm_` where that is finite. Out of scope: sparse
gradients, other norms.
"""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from katas.lab.expect import expect_close, expect_equal, expect_refused
from katas.lab.laws import global_rng_is_untouched
from katas.lab.strategies import normal, seeds
from katas.warmup.clipping import clip_grad_norm_

F64, INF, NAN = torch.float64, math.inf, math.nan
SHAPES = st.lists(st.sampled_from([(), (1,), (3,), (2, 4), (2, 3, 1, 2), (0, 3)]), min_size=1, max_size=5)


def parameters(*gradients, dtype=F64):
    """Parameters with these gradients; None for no gradient."""
    made = []
    for gradient in gradients:
        values = None if gradient is None else torch.as_tensor(gradient, dtype=dtype)
        made.append(nn.Parameter(torch.ones_like(values) if values is not None else torch.ones(2, dtype=dtype)))
        made[-1].grad = values
    return made


def gradients_of(params):
    return [parameter.grad for parameter in params]


# --- the definition ---------------------------------------------------------------------------------------------------


def joint_norm(params) -> float:
    return math.hypot(*[value for p in params if p.grad is not None for value in p.grad.double().flatten().tolist()])


# --- the norm and the gradients ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("max_norm, expected, law", [
    (6.5, [[1.5, 2.0], [6.0]], "13 / 6.5 = 2: everything is halved, whichever tensor is large"),
    (13.0, [[3, 4], [12]], "a norm of exactly max_norm is left alone"),
    (100, [[3, 4], [12]], "gradients are never scaled up"),
    (0, [[0, 0], [0]], "a norm of at most 0: nothing is left"),
    (INF, [[3, 4], [12]], "no limit: the norm is only told"),
])  # fmt: skip
def test_three_numbers_by_hand(max_norm, expected, law):
    params = parameters([3.0, 4.0], [12.0])  # 9 + 16 + 144 = 13²
    norm = clip_grad_norm_(parameters=params, max_norm=max_norm)
    expect_close(norm, 13.0, "the norm before clipping comes back, over all tensors together")
    expect_close(gradients_of(params), expected, law)


@given(seeds(), SHAPES, st.sampled_from([1e-3, 1, 1e4]), st.sampled_from([0.3, 1.0, 3.0]), st.integers(0, 5))
def test_clipping_agrees_with_the_definition(seed, shapes, unit, share, without):
    made = [unit * normal(*shape, seed=seed + place) for place, shape in enumerate(shapes)]
    params = parameters(*[None if place == without else gradient for place, gradient in enumerate(made)])
    expected = joint_norm(params)
    before = [None if g is None else g.clone() for g in gradients_of(params)]
    got = clip_grad_norm_(params, share * expected)
    expect_close(got.double() / unit, expected / unit, "the root of the sum of all squares")
    for gradient, old in zip(gradients_of(params), before, strict=True):
        assert (gradient is None) == (old is None), "a parameter without a gradient stays without one"
        if gradient is not None:
            expect_close(gradient / unit, old * min(1, share) / unit, "all scaled by the same factor, never up")


def test_it_is_as_in_pytorch():
    for max_norm in (0.5, 2.0, 50.0):
        mine, theirs = (parameters(*[normal(4, 3, seed=n) for n in range(5)]) for _ in range(2))
        expected = nn.utils.clip_grad_norm_(theirs, max_norm)
        expect_close(clip_grad_norm_(mine, max_norm), expected, "the norm")
        expect_close(gradients_of(mine), gradients_of(theirs), "the gradients", rtol=1e-5, atol=0)


# --- what may be given ------------------------------------------------------------------------------------------------


def test_a_generator_or_a_single_tensor_will_do():
    params = parameters([3.0, 4.0], [12.0])
    expect_close(clip_grad_norm_((p for p in params), 6.5), 13.0, "a generator, as of model.parameters(), is read once")
    expect_close(gradients_of(params), [[1.5, 2.0], [6.0]], "and all of its gradients are scaled")
    (single,) = parameters([3.0, 4.0])
    expect_close(clip_grad_norm_(single, 1.0), 5.0, "one tensor is one parameter, not a list of rows")
    expect_close(single.grad, [0.6, 0.8], "and it is clipped")


@pytest.mark.parametrize("params", [[], parameters(None, None)], ids=["no parameters", "no gradients"])
def test_without_gradients_the_norm_is_0(params):
    got = clip_grad_norm_(params, 1.0)
    assert float(got) == 0 and got.shape == (), f"a 0 in a tensor: {got!r}"


@pytest.mark.parametrize("max_norm", [1.0, 0.0])
def test_gradients_of_zeros_stay_zeros(max_norm):
    params = parameters([0.0, 0.0], [[0.0]])
    expect_close(clip_grad_norm_(params, max_norm), 0.0, "the norm of zeros")
    expect_equal(gradients_of(params), [[0, 0], [[0]]], "1 / 0 is not multiplied in")


def test_gradients_are_scaled_in_place():
    params = parameters([3.0, 4.0], [12.0])
    before, weights = [id(g) for g in gradients_of(params)], [p.clone() for p in params]
    memory = [g.data_ptr() for g in gradients_of(params)]
    got = clip_grad_norm_(params, 1.0)
    assert [id(g) for g in gradients_of(params)] == before, "p.grad is the same tensor as before"
    assert [g.data_ptr() for g in gradients_of(params)] == memory, "in the same memory"
    expect_equal(list(params), weights, "the weights are not touched")
    assert not got.requires_grad, "nothing is recorded"


# --- magnitudes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value, dtype, rtol", [
    (1e30, torch.float32, 1e-5), (1e-30, torch.float32, 1e-5), (1e4, torch.float16, 2e-3), (1e-4, torch.float16, 2e-3),
    (1e20, torch.bfloat16, 1e-2), (100, torch.float32, 1e-5),
])  # fmt: skip
def test_squares_neither_overflow_nor_vanish(value, dtype, rtol):
    params = parameters([3 * value], [4 * value], dtype=dtype)
    norm = clip_grad_norm_(params, 2.5 * value)
    expect_close(norm.double() / value, 5.0, f"the squares of {value:g} do not fit into {dtype}", rtol=rtol, atol=0)
    expected = [1.5, 2.0]
    expect_close([float(p.grad) / value for p in params], expected, "halved", rtol=rtol, atol=0)
    assert all(p.grad.dtype == dtype for p in params) and norm.dtype == dtype, "dtypes are kept"


def test_a_half_precision_layer_among_others():
    params = parameters([3e4], dtype=torch.float16) + parameters([4e4])
    norm = clip_grad_norm_(params, 0.01)
    expect_close(norm, 5e4, "the norm has the dtype of the first gradient", dtype=torch.float16, rtol=1e-3, atol=0)
    expect_close(params[0].grad, [0.006], "a factor of 2e-7 is none in float16", dtype=torch.float16, rtol=2e-3, atol=0)
    expect_close(params[1].grad, [0.008], "another gradient keeps its own dtype, and all of its digits")


def test_many_small_gradients_add_up():
    params = parameters(torch.full((200_000,), 0.01), dtype=torch.float16)
    expect_close(float(clip_grad_norm_(params, 100.0)), 0.01 * math.sqrt(200_000), "20 in float16", rtol=3e-3, atol=0)


@pytest.mark.parametrize("bad", [NAN, INF, -INF])
def test_a_norm_that_is_not_finite_is_told_and_changes_nothing(bad):
    params = parameters([3.0, bad], [12.0])
    got = clip_grad_norm_(params, 1.0)
    assert not math.isfinite(got), f"the norm says that something is wrong: {got}"
    expect_equal(gradients_of(params), [[3, bad], [12]], "no gradient is changed: they tell where it went wrong")


# --- promises of all katas --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("max_norm", [-1.0, -1e-9, NAN])
@pytest.mark.parametrize("params", [[], parameters([3.0])], ids=["none", "one"])
def test_a_negative_norm_is_refused(max_norm, params):
    expect_refused("max_norm", lambda: clip_grad_norm_(params, max_norm))


def test_nothing_random_is_touched():
    global_rng_is_untouched(lambda: clip_grad_norm_(parameters([3.0, 4.0], [12.0]), 6.5))
