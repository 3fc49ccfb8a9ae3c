"""guidance: labels that are dropped at random while training, and predictions pushed along what the label
changes.

Each label is dropped by its own draw from the generator that is given. The guided prediction is linear in the
scale, on samples of any rank; the model is called once, with both halves of the batch. Which half comes
first, and how the random draws are made, is up to you. Out of scope: a scale for each sample.
"""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from katas.diffusion.guidance import drop_labels, guided_noise
from katas.lab.expect import expect_close, expect_equal
from katas.lab.laws import STANDING_LAWS
from katas.lab.strategies import seeds

NULL = 4
SHAPES = [(), (1,), (3,), (2, 2), (2, 3, 1)]  # samples of any rank, numbers and single channels among them
EFFECT = torch.tensor([0.3, -1.1, 2.0, 0.7, -0.4], dtype=torch.float64)  # of labels 0 … 3 and of NULL


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def model(x, t, labels):
    """Every row has an answer of its own: it depends on all of x, t and the label, and on nothing else."""
    effect = EFFECT.to(x)[labels] * (1 + t) + EFFECT.to(x)[t % 5]
    return x.sin() + (x + 2) * effect.reshape(-1, *[1] * (x.dim() - 1))


def case(batch, shape, seed=0):
    x = torch.randn(batch, *shape, generator=rng(seed), dtype=torch.float64)
    t, labels = (torch.randint(high, (batch,), generator=rng(seed + high)) for high in (1000, NULL))
    return x, t, labels


def guided(x, t, labels, *, scale, null_label=NULL):
    return guided_noise(model, x, t, labels, scale=scale, null_label=null_label)


# --- worked examples ----------------------------------------------------------------------------------------


def test_scale_three_goes_three_times_as_far_as_the_label_does():
    def two_numbers(x, t, labels):
        return torch.where(labels == 9, 1.0, 5.0).to(x).expand_as(x)

    x, t, labels = torch.zeros(1, dtype=torch.float64), torch.tensor([7]), torch.tensor([2])
    got = guided_noise(two_numbers, x, t, labels, scale=3, null_label=9)
    # with the label 5, without it 1: 1 + 3 · (5 - 1) = 13
    expect_close(got, [13], "without + scale · (with - without)")


def test_drop_probability_0_keeps_all_labels_and_1_drops_all():
    labels = torch.tensor([3, 0, 7, 3, 10])  # one of them says null already
    kept = drop_labels(labels, 10, 0, generator=rng())
    expect_equal(kept, labels, "probability 0 changes nothing")
    dropped = drop_labels(labels, 10, 1, generator=rng())
    expect_equal(dropped, [10] * 5, "probability 1 leaves only null labels")


# --- dropping labels ----------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 5), min_size=1, max_size=8), st.sampled_from([-1, 0, 5, 1000]), st.floats(0, 1), seeds())
def test_a_label_stays_what_it_is_or_becomes_the_null_label(labels, null_label, probability, seed):
    labels = torch.tensor(labels, dtype=torch.int64)
    got = drop_labels(labels, null_label, probability, generator=rng(seed))
    expect_equal(got, torch.where(got == null_label, null_label, labels), "a label, or null in its place")


def many_batches(probability, batches=2000, size=10):
    """Which labels were dropped, (batches, size): one generator goes from batch to batch."""
    labels, generator = torch.arange(size) // 2, rng(1)
    return torch.stack(
        [drop_labels(labels, NULL + 99, probability, generator=generator) != labels for _ in range(batches)]
    ).double()


@pytest.mark.parametrize("probability", [0.1, 0.75])
def test_every_place_of_the_batch_is_dropped_at_the_given_rate(probability):
    rates = many_batches(probability).mean(dim=0)
    # 2000 draws a place: 6 standard deviations; ten places are wrongly refused with probability 2e-8
    tolerance = 6 * (probability * (1 - probability) / 2000) ** 0.5
    expected = torch.full((10,), probability, dtype=torch.float64)
    expect_close(rates, expected, "the share of batches in which a place was dropped", atol=tolerance, rtol=0)


def test_labels_are_dropped_independently_of_each_other():
    variance = many_batches(0.3).sum(dim=1).var()
    # Ten independent labels: 10 · 0.3 · 0.7 = 2.1 (0 if always the same number is dropped, 4.2 if pairs go
    # together, 21 if all or none). Its standard deviation over 2000 batches is 0.065: 6 of them, 2e-9.
    expected = torch.tensor(2.1, dtype=torch.float64)
    expect_close(variance, expected, "how many of a batch are dropped is binomial", atol=0.4, rtol=0)


def test_the_generator_alone_decides():
    labels, generator = torch.arange(100), rng(5)
    first = drop_labels(labels, 100, 0.5, generator=generator)
    repeated = drop_labels(labels, 100, 0.5, generator=rng(5))
    expect_equal(repeated, first, "the same seed drops the same labels")
    again = drop_labels(labels, 100, 0.5, generator=generator)
    assert not torch.equal(first, again), "the next batch loses the same labels: the generator must go on"


@pytest.mark.parametrize("bad", [-0.1, 1.1])
def test_an_impossible_probability_is_refused(bad):
    with pytest.raises(ValueError, match="drop_probability"):
        drop_labels(torch.tensor([1, 2]), NULL, bad, generator=rng())


# --- guiding ------------------------------------------------------------------------------------------------


@given(st.integers(1, 4), st.sampled_from(SHAPES), st.floats(-3, 8), seeds())
def test_guidance_agrees_with_two_calls_for_each_sample(batch, shape, scale, seed):
    x, t, labels = case(batch, shape, seed)
    expected = torch.empty_like(x)
    for i in range(batch):
        one = slice(i, i + 1)
        conditional = model(x[one], t[one], labels[one])
        unconditional = model(x[one], t[one], torch.tensor([NULL]))
        expected[one] = (1 - scale) * unconditional + scale * conditional
    got = guided(x, t, labels, scale=scale)
    expect_close(got, expected, "each sample with its own x, t and label")


@pytest.mark.parametrize("shape", SHAPES)
def test_scale_1_is_conditional_and_scale_0_unconditional(shape):
    x, t, labels = case(3, shape)
    without = model(x, t, torch.full_like(labels, NULL))
    expect_close(guided(x, t, labels, scale=1), model(x, t, labels), "scale 1: the label, no guidance")
    expect_close(guided(x, t, labels, scale=0), without, "scale 0: as if there were no label")


@given(st.floats(-3, 8), seeds())
def test_a_sample_without_a_label_is_not_guided(scale, seed):
    x, t, labels = case(3, (2,), seed)
    labels[1] = NULL
    got = guided(x, t, labels, scale=scale)[1]
    expect_close(got, model(x, t, labels)[1], "with and without are the same")


@pytest.mark.parametrize("scale", [0, 1, 3])
def test_the_model_is_called_once_for_both_answers(scale):
    calls = []

    def counted(x, t, labels):
        calls.append((tuple(x.shape), sorted(t.tolist()), sorted(labels.tolist())))
        return model(x, t, labels)

    x, labels = torch.zeros(3, 2, dtype=torch.float64), torch.tensor([2, 0, 3])
    guided_noise(counted, x, torch.tensor([5, 6, 7]), labels, scale=scale, null_label=NULL)
    expected = [((6, 2), [5, 5, 6, 6, 7, 7], [0, 2, 3, NULL, NULL, NULL])]
    assert calls == expected, f"one pass, each row with and without its label\n  {calls}\n  not {expected}"
    calls.clear()
    guided_noise(counted, x, torch.tensor([5, 6, 7]), torch.full((3,), NULL), scale=scale, null_label=NULL)
    assert [shape for shape, _, _ in calls] == [(6, 2)], f"without labels, too, one pass of six rows: {calls}"


def test_label_0_may_stand_for_no_label():
    x, t, labels = case(3, (2,))
    labels = labels.clamp(min=1)
    expected = 3 * model(x, t, labels) - 2 * model(x, t, torch.zeros_like(labels))
    expect_close(guided(x, t, labels, scale=3, null_label=0), expected, "0 is a null label like any other")


@pytest.mark.parametrize("law", STANDING_LAWS[:5])
def test_standing_laws(law):
    def drop(labels):
        return drop_labels(labels, NULL, 0.5, generator=rng(3))

    x, t, labels = case(3, (2, 4))
    law(drop, labels)
    law(guided, x, t, labels, scale=2.5)


def test_a_small_probability_is_not_rounded():
    labels = torch.zeros(1_000_000, dtype=torch.int64)
    share = float(drop_labels(labels, 1, 0.003, generator=rng()).double().mean())
    # 3,000 of a million give or take 55: seven deviations are a false alarm in a hundred billion generators; 1/256: 0.0039
    assert abs(share - 0.003) < 0.0004, f"of a million labels 0.3 % are dropped, not {share:.2%}"
