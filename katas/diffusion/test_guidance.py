"""guidance: labels that are dropped at random while training, and predictions pushed along what the label changes.

The definition asks the model twice for each sample, with and without its label. How the random draws are made, and
which half of the batch comes first, is up to you. Out of scope: a scale for each sample.
"""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from katas.diffusion.guidance import drop_labels, guided_noise
from katas.lab.expect import expect_close, expect_equal, expect_refused
from katas.lab.laws import STANDING_LAWS
from katas.lab.strategies import normal, rng, seeds

NULL = 4
EFFECT = torch.tensor([0.3, -1.1, 2.0, 0.7, -0.4], dtype=torch.float64)  # of labels 0 ... 3 and of NULL

sizes = st.sampled_from([((1,), 1), ((3,), 1e-3), ((3, 1), 1), ((1000, 2), 1e5), ((4, 4), 1), ((2, 4, 3, 2), 1)])


# --- the definition ---------------------------------------------------------------------------------------------------


def model(x, t, labels):
    """Each row has an answer of its own: it depends on all of x, t and the label, and on nothing else."""
    effect = EFFECT.to(x)[labels] * (1 + t) + EFFECT.to(x)[t % 5]
    return x.sin() + (x + 2) * effect.reshape(-1, *[1] * (x.dim() - 1))


def guided_one_by_one(x, t, labels, scale, null_label=NULL):
    answers = []
    for i in range(len(x)):
        row, null = slice(i, i + 1), torch.full((1,), null_label)
        answers.append((1 - scale) * model(x[row], t[row], null) + scale * model(x[row], t[row], labels[row]))
    return torch.cat(answers)


def case(*shape, seed=0):
    t, labels = (torch.randint(high, shape[:1], generator=rng(seed + high)) for high in (1000, NULL))
    return normal(*shape, seed=seed), t, labels


# --- dropping labels --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("probability, expected", [(0, [3, 0, 7, 3, 10]), (1, [10, 10, 10, 10, 10])])
def test_probability_0_drops_none_and_1_all(probability, expected):
    labels = torch.tensor([3, 0, 7, 3, 10])  # one of them is null already
    got = drop_labels(labels=labels, null_label=10, drop_probability=probability, generator=rng())
    expect_equal(labels, [3, 0, 7, 3, 10], "the caller's labels stay what they were: write into a new tensor")
    expect_equal(got, expected, f"drop_probability = {probability} is the share of labels that become null")


@given(st.lists(st.integers(0, 5), min_size=1, max_size=8), st.sampled_from([-1, 0, 5, 1000]), st.floats(0, 1), seeds())
def test_a_label_stays_or_becomes_the_null_label(labels, null_label, probability, seed):
    labels = torch.tensor(labels)
    got = drop_labels(labels.clone(), null_label, probability, generator=rng(seed))
    expect_equal(got, torch.where(got == null_label, null_label, labels), "a label, or null in its place")


def many_batches(probability, count=2000, size=10):
    """Which labels were dropped, (count, size). Neighbours share a label, and one generator serves all batches."""
    labels, generator = torch.arange(size) // 2, rng(1)
    batches = [drop_labels(labels.clone(), 99, probability, generator=generator) for _ in range(count)]
    return (torch.stack(batches) == 99).double()


@pytest.mark.parametrize("probability", [0.1, 0.75])
def test_every_place_is_dropped_at_the_given_rate(probability):
    # 2000 draws per place, 6 standard deviations: ten places are wrongly refused with probability 2e-8
    tolerance, expected = 6 * (probability * (1 - probability) / 2000) ** 0.5, [probability] * 10
    law = "the share of batches in which a place was dropped"
    expect_close(many_batches(probability).mean(dim=0), expected, law, atol=tolerance, rtol=0)


def test_labels_are_dropped_independently():
    # Ten independent labels: 10 * 0.3 * 0.7 = 2.1 (0 if always the same number is dropped, 4.2 if pairs go together,
    # 21 if all or none). Its standard deviation over 2000 batches is 0.065: 6 of them, 2e-9.
    variance = many_batches(0.3).sum(dim=1).var()
    expect_close(float(variance), 2.1, "how many of a batch are dropped is binomial", atol=0.4, rtol=0)


def test_a_small_probability_is_not_rounded():
    share = drop_labels(torch.zeros(1_000_000, dtype=torch.int64), 1, 0.003, generator=rng()).double().mean()
    # 3000 of a million, standard deviation 55: 7 of them are a false alarm in 10^11 generators. 1/256 is 0.0039.
    expect_close(float(share), 0.003, "of a million labels 0.3 % are dropped", atol=0.0004, rtol=0)


def test_the_generator_decides_and_goes_on():
    labels, generator = torch.arange(100), rng(5)
    first, second = (drop_labels(labels.clone(), 100, 0.5, generator=generator) for _ in range(2))
    expect_equal(drop_labels(labels.clone(), 100, 0.5, generator=rng(5)), first, "the same seed drops the same labels")
    assert not torch.equal(first, second), "the next batch loses the same labels: the generator must go on"


# --- guiding ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scale, expected", [(1, 5), (0, 1), (3, 13), (-0.5, -1)])
def test_guidance_by_hand(scale, expected):
    # with the label the model answers 5, without it 1: 1 + scale * (5 - 1)
    def two_numbers(x, t, labels):
        return torch.where(labels == 9, 1, 5).to(x)

    sample = {"x": EFFECT[:1], "t": torch.tensor([7]), "labels": torch.tensor([2])}
    got = guided_noise(model=two_numbers, **sample, scale=scale, null_label=9)
    expect_close(got, [expected], "without + scale * (with - without)")


@given(sizes, st.floats(-3, 8), st.sampled_from([NULL, 0]), seeds())
def test_guidance_agrees_with_two_calls_per_sample(sizes, scale, null_label, seed):
    shape, unit = sizes
    x, t, labels = case(*shape, seed=seed)
    got = guided_noise(model, unit * x, t, labels, scale=scale, null_label=null_label)
    expected = guided_one_by_one(unit * x, t, labels, scale, null_label)
    expect_close(got / unit, expected / unit, "each sample with its own x, t and label", rtol=1e-7, atol=1e-7 / unit)


@given(st.floats(-3, 8), seeds())
def test_a_sample_without_a_label_is_not_guided(scale, seed):
    x, t, labels = case(3, 2, seed=seed)
    labels[1] = NULL
    got = guided_noise(model, x, t, labels, scale=scale, null_label=NULL)
    expect_close(got[1], model(x, t, labels)[1], "with and without are the same")


@pytest.mark.parametrize("labels", [[2, 0, 3], [NULL, NULL, NULL]])
@pytest.mark.parametrize("scale", [0, 1, 3])
def test_the_model_is_called_once_for_both_answers(scale, labels):
    calls, t = [], torch.tensor([5, 6, 7])

    def counted(x, t, labels):
        calls.append((tuple(x.shape), sorted(zip(t.tolist(), labels.tolist(), strict=True))))
        return model(x, t, labels)

    guided_noise(counted, normal(3, 2), t, torch.tensor(labels), scale=scale, null_label=NULL)
    expected = [((6, 2), sorted([*zip([5, 6, 7], labels, strict=True), (5, NULL), (6, NULL), (7, NULL)]))]
    assert calls == expected, f"one pass, each row with and without its label\n  {calls}\n  not {expected}"


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_kept(dtype):
    got = guided_noise(lambda x, t, labels: x, torch.ones(2, 3, dtype=dtype), *case(2)[1:], scale=2.5, null_label=NULL)
    expect_equal(got, torch.ones(2, 3, dtype=dtype), "the dtype of x")


# --- promises of all katas --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [-0.1, 1.1, 10])
def test_an_impossible_probability_is_refused(bad):
    expect_refused("drop_probability", lambda: drop_labels(torch.tensor([1, 2]), NULL, bad, generator=rng()))


@pytest.mark.parametrize("law", STANDING_LAWS)
def test_standing_laws(law):
    x, t, labels = case(3, 2, 4)
    law(lambda labels: drop_labels(labels, NULL, 0.5, generator=rng(3)), labels)
    law(guided_noise, model, x, t, labels, scale=2.5, null_label=NULL)
