"""ppo: the clipped losses, the distance that the policy has moved, and minibatches.

Checked against loops on Python floats, and against the exact KL divergence of choices. Out of scope: the loop, the
entropy bonus, adaptive penalties.
"""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from katas.lab.expect import expect_close, expect_equal, expect_refused
from katas.lab.laws import STANDING_LAWS, device_is_followed, global_rng_is_untouched, gradients_are_right
from katas.lab.strategies import normal, rng, seeds
from katas.rl.ppo import approximate_kl, clipped_policy_loss, clipped_value_loss, minibatches

F64 = torch.float64


def f64(*numbers):
    return torch.tensor(numbers, dtype=F64)


# --- the definitions --------------------------------------------------------------------------------------------------


def rows(*tensors):
    return zip(*(tensor.tolist() for tensor in tensors), strict=True)


def policy_loss(log_probs, old_log_probs, advantages, clip_range):
    total = 0.0
    for new, old, advantage in rows(log_probs, old_log_probs, advantages):
        ratio = math.exp(new - old)
        total += min(ratio * advantage, min(max(ratio, 1 - clip_range), 1 + clip_range) * advantage)
    return -total / len(advantages)


def value_loss(values, old_values, returns, clip_range):
    total = 0.0
    for new, old, wanted in rows(values, old_values, returns):
        clipped = old + min(max(new - old, -clip_range), clip_range)
        total += max((new - wanted) ** 2, (clipped - wanted) ** 2)
    return total / len(returns) / 2


# --- worked examples --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("law, ratio, advantage, loss, slope", [
    ("good, still inside: learns", 1.1, 3.0, -3.3, -3.3),
    ("good, already 1.5 times as likely: the gain ends at 1.25, no gradient", 1.5, 3.0, -3.75, 0.0),
    ("good, but less likely now: learns at full strength", 0.5, 3.0, -1.5, -1.5),
    ("bad, still inside: learns", 0.9, -2.0, 1.8, 1.8),
    ("bad, already half as likely: the gain ends at 0.75, no gradient", 0.5, -2.0, 1.5, 0.0),
    ("bad, but more likely now: learns at full strength", 1.5, -2.0, 3.0, 3.0),
])  # fmt: skip
def test_the_policy_loss_by_hand(law, ratio, advantage, loss, slope):
    old = f64(-1.5, -0.5)
    new = (old + f64(math.log(ratio), 0)).requires_grad_()
    got = clipped_policy_loss(log_probs=new, old_log_probs=old, advantages=f64(advantage, 0), clip_range=0.25)
    got.backward()
    expect_close(2 * got, loss, f"{law}: -min(ratio · A, clipped ratio · A), as a mean over two")
    expect_close(2 * new.grad, [slope, 0.0], f"{law}: the gradient is -ratio · A or 0")


@pytest.mark.parametrize("law, value, wanted, loss, slope", [
    ("inside the range: half the square", 4.2, 5.0, 0.32, -0.8),
    ("past the range, and nearer to the return: no gain, no gradient", 4.9, 5.0, 0.125, 0.0),
    ("past the range, away from the return: the larger error counts", 3.0, 5.0, 2.0, -2.0),
    ("shot past the return: the larger error counts", 9.0, 5.0, 8.0, 4.0),
])  # fmt: skip
def test_the_value_loss_by_hand(law, value, wanted, loss, slope):
    values = f64(value, 7).requires_grad_()
    got = clipped_value_loss(values=values, old_values=f64(4, 7), returns=f64(wanted, 7), clip_range=0.5)
    got.backward()
    expect_close(2 * got, loss, f"{law}: max of both squares / 2, as a mean over two")
    expect_close(2 * values.grad, [slope, 0.0], f"{law}: the gradient")


def test_the_distance_by_hand():
    # ratios 2, 1/4 and 1: 1 - log 2, 2 log 2 - 3/4, and 0
    new, old = f64(math.log(0.6), math.log(0.1), -1.0), f64(math.log(0.3), math.log(0.4), -1.0)
    got = approximate_kl(log_probs=new.requires_grad_(), old_log_probs=old)
    expect_close(got, (0.25 + math.log(2)) / 3, "the mean of ratio - 1 - log ratio")
    assert not got.requires_grad, "it is a number to watch, not a loss"


@pytest.mark.parametrize("clip", [0.2, 0.05])
def test_the_defaults_are_those_of_the_paper(clip):
    options = {} if clip == 0.2 else {"clip_range": clip}
    got = clipped_policy_loss(f64(1.0), f64(0.0), f64(2.0), **options)
    expect_close(got, -2 * (1 + clip), "clip_range is 0.2 unless told otherwise")
    got = clipped_value_loss(f64(5.0), f64(0.0), f64(9.0), **options)
    expect_close(got, (9 - clip) ** 2 / 2, "clip_range is 0.2 unless told otherwise")


# --- agreement with the definitions, and laws -------------------------------------------------------------------------


@given(seeds(), st.sampled_from([1, 2, 7, 1000]), st.sampled_from([1e-3, 0.3, 20]), st.sampled_from([0.1, 0.2, 3]))
def test_losses_agree_with_the_definitions(seed, count, scale, clip_range):
    one, two, three = scale * normal(3, count, seed=seed)
    far = -2000 * (seed % 2)  # as floats such probabilities are 0; their logarithms still have a difference
    got = clipped_policy_loss(far + one, far + two, three, clip_range=clip_range)
    wanted = policy_loss(one, two, three, clip_range)
    expect_close(got, wanted, "policy: the smaller of both gains", rtol=1e-6, atol=1e-6 * scale)
    got = clipped_value_loss(one, two, three, clip_range=clip_range)
    expect_close(got, value_loss(one, two, three, clip_range), "value: the larger of both errors", rtol=1e-9, atol=0)


def test_the_first_step_is_the_policy_gradient():
    old, advantages = normal(2, 6, seed=1)
    new = old.clone().requires_grad_()
    clipped_policy_loss(new, old, advantages).backward()
    expect_close(new.grad, -advantages / 6, "with unchanged probabilities the gradient is that of REINFORCE")


@pytest.mark.parametrize("move", [1e-4, 0.3])
def test_on_average_the_distance_is_the_kl(move):
    old, new = (torch.log_softmax(logits, dim=-1) for logits in (normal(4), normal(4) + move * normal(4, seed=1)))
    exact = float((old.exp() * (old - new)).sum())
    terms = torch.stack([approximate_kl(new[a : a + 1], old[a : a + 1]) for a in range(4)])
    got = float((old.exp() * terms).sum())
    expect_close(got, exact, "the mean over the old policy's actions is KL(old, new)", rtol=1e-6, atol=0)
    assert (terms >= 0).all(), f"no action has a negative distance: {terms.tolist()}"
    single = approximate_kl(new.float(), old.float())
    assert abs(single - float((torch.expm1(new - old) - (new - old)).mean())) < 1e-3 * single + 1e-8, "in float32 too"


def test_only_the_new_numbers_get_a_gradient():
    for loss in (clipped_policy_loss, clipped_value_loss):
        new, *others = (part.requires_grad_() for part in normal(3, 5).unbind())
        loss(new, *others).backward()
        followed = [part.grad is not None for part in others]
        assert followed == [False, False], f"{loss.__name__}: the second and third argument come from the rollout: data"
        one, two, three = normal(3, 5, seed=3)
        gradients_are_right(lambda new, loss=loss, two=two, three=three: loss(new, two, three, clip_range=0.7), one)
        assert approximate_kl(one.float(), two).dtype == torch.float32, "of the distance as well"
        got = loss(one.float(), two, three)
        assert got.dtype == torch.float32, f"{loss.__name__}: the new numbers decide the dtype, not {got.dtype}"


def test_an_empty_batch_gives_zero():
    got = [clipped_policy_loss(*[f64()] * 3), clipped_value_loss(*[f64()] * 3), approximate_kl(f64(), f64())]
    expect_close(got, [0.0, 0.0, 0.0], "0 and not NaN")


# --- minibatches ------------------------------------------------------------------------------------------------------


@given(seeds(), st.integers(0, 40), st.integers(1, 45), st.integers(1, 4))
def test_every_sample_occurs_once_an_epoch(seed, count, size, epochs):
    got = list(minibatches(num_samples=count, minibatch_size=size, epochs=epochs, generator=rng(seed)))
    sizes = [min(size, count - start) for start in range(0, count, size)]
    assert [len(part) for part in got] == sizes * epochs, f"{count} samples by {size}: {[len(part) for part in got]}"
    for epoch in range(epochs if count else 0):
        drawn = torch.cat(got[epoch * len(sizes) : (epoch + 1) * len(sizes)])
        expect_equal(drawn.sort().values, torch.arange(count), f"epoch {epoch}: every sample once")


def test_every_epoch_has_a_new_order():
    generator = rng(1)
    first, second = (torch.cat(list(minibatches(50, 10, epochs=2, generator=generator))) for _ in range(2))
    epochs = [{frozenset(part.tolist()) for part in order.split(10)} for order in (*first.split(50), *second.split(50))]
    assert all(not one & other for one in epochs for other in epochs if one is not other), "new members in every epoch"
    expect_equal(torch.cat(list(minibatches(50, 10, epochs=2, generator=rng(1)))), first, "the generator alone decides")


@pytest.mark.parametrize("places", [(0, 1), (3, 4)])
def test_every_order_is_equally_likely(places):
    drawn = [torch.cat(list(minibatches(5, 2, epochs=1, generator=rng(n))))[list(places)] for n in range(2000)]
    pairs = (torch.stack(drawn) @ torch.tensor([5, 1])).bincount(minlength=25).reshape(5, 5)
    # 20 pairs, each 100 times with a standard deviation of 9.7: six of them, one false alarm in 20 million
    off = (pairs - 100 * (1 - torch.eye(5))).abs().max()
    assert off < 59, f"samples at places {places}: each pair 100 times expected, not {pairs.tolist()}"


# --- refusals and standing laws ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name, call", [
    *[("clip_range", lambda x=x: clipped_policy_loss(f64(1), f64(1), f64(1), clip_range=x)) for x in (0, -0.1)],
    *[("clip_range", lambda x=x: clipped_value_loss(f64(1), f64(1), f64(1), clip_range=x)) for x in (0, -0.1)],
    ("minibatch_size", lambda: list(minibatches(4, 0, epochs=1, generator=rng()))),
    ("epochs", lambda: list(minibatches(4, 2, epochs=0, generator=rng()))),
])  # fmt: skip
def test_what_is_out_of_range_is_refused(name, call):
    expect_refused(name, call)


@pytest.mark.parametrize("law", STANDING_LAWS)
def test_standing_laws(law):
    law(clipped_policy_loss, *normal(3, 6), clip_range=0.3)
    law(clipped_value_loss, *normal(3, 6), clip_range=0.3)
    law(approximate_kl, *normal(2, 6))
    if law in (global_rng_is_untouched, device_is_followed):
        law(lambda: list(minibatches(7, 3, epochs=2, generator=rng(3))))
