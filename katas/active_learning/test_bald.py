"""bald: the entropy of the mean prediction, the mean entropy of the members, and what lies between them.

The definition works on Python floats, and has the mutual information as a mean of Kullback-Leibler divergences: no
difference of two entropies. Out of scope: weighted members, log_probs in half precision, K = 0.
"""

import math

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from katas.active_learning.bald import expected_entropy, mutual_information, predictive_entropy
from katas.lab.expect import expect_close, expect_refused
from katas.lab.laws import STANDING_LAWS, gradients_are_finite, gradients_are_right
from katas.lab.strategies import normal, seeds

F64, INF, LN2, LN3 = torch.float64, math.inf, math.log(2), math.log(3)
SCORES = [predictive_entropy, expected_entropy, mutual_information]


def logs(*examples):
    return torch.tensor(examples, dtype=F64).log()


def drawn(*shape, seed=0, spread=1.0, zeros=False):
    """Log-probabilities from logits with this standard deviation; with zeros, unlikely classes have p = 0."""
    logits = spread * normal(*shape, seed=seed)
    least = logits.amax(-1, keepdim=True) - (spread if zeros else INF)
    return logits.masked_fill(logits < least, -INF).log_softmax(-1)


# --- the definition ---------------------------------------------------------------------------------------------------


def by_hand(members):
    """Of one example, K lists of C log-probabilities: the three numbers."""
    probs = [[math.exp(log_p) for log_p in member] for member in members]
    mean = [sum(column) / len(column) for column in zip(*probs, strict=True)]
    total, noise, information = -sum(p * math.log(p) for p in mean if p > 0), 0.0, 0.0
    for ps, log_ps in zip(probs, members, strict=True):
        noise -= sum(p * log_p for p, log_p in zip(ps, log_ps, strict=True) if p > 0) / len(members)
        columns = zip(ps, log_ps, mean, strict=True)
        divergence = sum(p * (log_p - math.log(m)) for p, log_p, m in columns if p > 1e-300)
        information += divergence / len(members)
    return [total, noise, information]


def defined(log_probs):
    numbers = torch.tensor([by_hand(members) for members in log_probs.tolist()], dtype=F64)
    return list(numbers.reshape(-1, 3).T)


# --- worked examples --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("law, members, expected", [
    ("all members know that it is noise: a label teaches nothing", [[0.5, 0.5]] * 3, [LN2, LN2, 0]),
    ("sure members that disagree: a label decides between them", [[1, 0], [0, 1]], [LN2, 0, LN2]),
    # mean 0.7, 0.3; the entropies are 0.1 ln 10 + 0.9 ln 10/9 = 0.325083 and ln 2
    ("probabilities are averaged", [[0.9, 0.1], [0.5, 0.5]], [0.6108643021, 0.5091150769, 0.1017492252]),
    # mean 3/4, 1/4: 2 ln 2 - 3/4 ln 3. The mean of the logarithms would be 0 and -inf.
    ("probabilities are averaged", [[1, 0], [0.5, 0.5]], [2 * LN2 - 0.75 * LN3, LN2 / 2, 1.5 * LN2 - 0.75 * LN3]),
    # mean 2/3, 1/6, 1/6: 2/3 ln 3/2 + 1/3 ln 6; the entropies are 0, 0 and ln 2
    ("three members", [[1, 0, 0], [1, 0, 0], [0, 0.5, 0.5]], [LN3 - LN2 / 3, LN2 / 3, LN3 - 2 * LN2 / 3]),
    # mean 1/2, 1/4, 1/4, 0: 3/2 ln 2
    ("axis 1 are members, axis 2 classes", [[0.5, 0.5, 0, 0], [0.5, 0, 0.5, 0]], [1.5 * LN2, LN2, LN2 / 2]),
    ("one member cannot disagree", [[0.75, 0.25]], [2 * LN2 - 0.75 * LN3] * 2 + [0]),
])  # fmt: skip
def test_one_example_by_hand(law, members, expected):
    for score, number in zip(SCORES, expected, strict=True):
        expect_close(score(log_probs=logs(members)), [number], f"{score.__name__}: {law}")


def test_disagreement_is_bought_and_noise_is_not():
    noise, disagreement = [[0.5, 0.5], [0.5, 0.5]], [[0.9, 0.1], [0.2, 0.8]]
    bought = [int(score(logs(noise, disagreement)).argmax()) for score in SCORES]
    assert bought == [0, 0, 1], f"both entropies buy the noise (0), mutual information the disagreement (1): {bought}"


# --- agreement with the definition, and laws --------------------------------------------------------------------------

SHAPES = [(3, 1, 1), (1, 4, 1), (4, 1, 3), (3, 2, 2), (1, 2, 5), (6, 5, 3), (2, 3, 300), (3, 200, 2), (1100, 2, 3)]


@example(seed=0, shape=(6, 5, 3), spread=1000.0, zeros=False)  # exp(-1000) is 0, and its logarithm is still a number
@given(seeds(), st.sampled_from(SHAPES), st.sampled_from([0.0, 1e-3, 1.0, 10.0, 1000.0]), st.booleans())
def test_scores_agree_with_the_definition(seed, shape, spread, zeros):
    log_probs = drawn(*shape, seed=seed, spread=spread, zeros=zeros)
    for score, expected in zip(SCORES, defined(log_probs), strict=True):
        expect_close(score(log_probs), expected, f"{score.__name__} is that of the definition", atol=1e-12, rtol=1e-7)


@given(seeds(), st.sampled_from([(9, 2, 5), (9, 6, 3)]), st.sampled_from([0.1, 3.0, 1000.0]))
def test_information_lies_between_its_bounds(seed, shape, spread):
    log_probs = drawn(*shape, seed=seed, spread=spread)
    total, noise, information = (score(log_probs) for score in SCORES)
    most = math.log(min(shape[1:])) + 1e-12
    assert (information >= 0).all() and (information <= most).all(), f"0 ≤ I ≤ min(log K, log C): {information}"
    expect_close(total, noise + information, "total uncertainty is noise plus what a label teaches")


@pytest.mark.parametrize("dtype", [torch.float32, F64])
@pytest.mark.parametrize("k", [2, 3, 7])
def test_equal_members_leave_exactly_nothing(k, dtype):
    same = drawn(300, 1, 10, spread=3).to(dtype).repeat(1, k, 1)
    information = mutual_information(same)
    assert (information >= 0).all(), f"rounding makes no information negative: clamp, {information.min():.3g}"
    expect_close(information, torch.zeros_like(information), "all members say the same", atol=2e-6, rtol=0)
    certain = logs([[1] + [0] * 999] * k).to(dtype)
    for score in SCORES:
        expect_close(score(certain), [0], "999 impossible classes add nothing", dtype=dtype, atol=1e-5, rtol=0)


@given(seeds())
def test_only_the_set_of_predictions_counts(seed):
    log_probs, order = drawn(4, 5, 3, seed=seed), torch.tensor([3, 0, 4, 1, 2])
    for score in SCORES:
        expected = score(log_probs)
        expect_close(score(log_probs[:, order]), expected, "the order of the members does not matter")
        expect_close(score(log_probs.repeat(1, 2, 1)), expected, "an ensemble with every member twice is the same")
        expect_close(score(log_probs[:, :, [2, 0, 1]]), expected, "the order of the classes does not matter")


@pytest.mark.parametrize("score", SCORES)
def test_gradients_are_those_of_the_formula(score):
    gradients_are_right(lambda logits: score(logits.log_softmax(-1)), normal(3, 2, 4))
    gradients_are_right(score, drawn(3, 4, 2, seed=2))
    gradients_are_finite(score, logs([[0.5, 0.5, 0], [1, 0, 0]]))  # a class that no member believes in
    gradients_are_finite(score, logs([[0, 1, 0], [0, 1, 0]], [[0.2, 0.3, 0.5], [0, 1, 0]]))


# --- refusals and standing laws ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("bad", [
    [[math.nan, 0.0], [-LN2, -LN2]],
    [[2.0, -1.0], [0.5, 0.0]],  # logits
    [[0.25, 0.75], [0.5, 0.5]],  # probabilities
    [[-INF, -INF], [-LN2, -LN2]],
    [[math.log(0.502), -LN2], [math.log(0.498), -LN2]],  # 1.002 and 0.998: the mean of the members is right
    [[-LN2, -LN2, -INF, -INF], [-LN2, -LN2, -2 * LN2, -INF]],
], ids=["NaN", "logits", "probabilities", "nothing", "right on average", "too much"])  # fmt: skip
def test_rows_that_are_no_log_probabilities_are_refused(score, bad):
    bad = torch.tensor([bad], dtype=F64)
    expect_refused("log_probs", lambda: score(bad))
    good = torch.full_like(bad, -math.log(bad.shape[-1]))
    expect_refused("log_probs", lambda: score(torch.cat([good, bad, good])))


@pytest.mark.parametrize("score", SCORES)
def test_rounding_is_not_refused(score):
    for off in (-9e-4, 9e-4):
        got = score(logs([[0.2, 0.8 + off], [0.6, 0.4 + off]]))
        expect_close(got, score(logs([[0.2, 0.8], [0.6, 0.4]])), "sums within 1e-3 are taken", atol=3e-3, rtol=0)
    assert score(drawn(1, 2, 100_000).float()).isfinite().all(), "rounded sums over 100,000 classes are taken"


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("law", STANDING_LAWS)
def test_standing_laws(law, score):
    law(score, drawn(5, 2, 3, zeros=True))
