"""batch_bald: the entropy of several labels together, and the batch that is chosen by it.

The definition goes through all configurations on Python floats, and has the information as a mean of Kullback-Leibler
divergences: no difference of two entropies. Out of scope: log_probs in half precision, the number of draws beyond M.
"""

import math
from itertools import product

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from katas.active_learning.batch_bald import batch_bald, joint_entropy
from katas.lab.expect import expect_close, expect_equal, expect_refused
from katas.lab.laws import STANDING_LAWS, gradients_are_finite, gradients_are_right
from katas.lab.strategies import normal, rng, seeds
from katas.lab.watched import Watched

F64, INF, LN2, LN3 = torch.float64, math.inf, math.log(2), math.log(3)


def logs(*points):
    return torch.tensor(points, dtype=F64).log()


def drawn(*shape, seed=0, spread=1.0, zeros=False):
    """Log-probabilities from logits with this standard deviation; with zeros, unlikely classes have p = 0."""
    logits = spread * normal(*shape, seed=seed)
    least = logits.amax(-1, keepdim=True) - (spread if zeros else INF)
    return logits.masked_fill(logits < least, -INF).log_softmax(-1)


# --- the definition ---------------------------------------------------------------------------------------------------


def joint(log_probs):
    """Entropy and information of all labels together; log_probs is (B, K, C)."""
    (_, k, c), probs = log_probs.shape, log_probs.exp().tolist()
    entropy = information = 0.0
    for labels in product(range(c), repeat=len(probs)):
        members = [math.prod(point[m][y] for point, y in zip(probs, labels, strict=True)) for m in range(k)]
        mean = sum(members) / k
        entropy -= mean * math.log(mean) if mean else 0
        information += sum(p * math.log(p / mean) for p in members if p > 1e-300) / k
    return entropy, information


def gains_of(log_probs, indices):  # what each point adds to those before it
    sums = [joint(log_probs[indices[:b]])[1] for b in range(len(indices) + 1)]
    return [after - before for before, after in zip(sums, sums[1:], strict=False)]


# --- joint entropy ----------------------------------------------------------------------------------------------------

SURE, NOISE = [[1, 0], [0, 1]], [[0.5, 0.5], [0.5, 0.5]]
SHAPES = [(1, 3, 4), (2, 1, 3), (2, 5, 3), (3, 2, 4), (5, 4, 2), (4, 3, 1), (9, 2, 2)]


@pytest.mark.parametrize("law, points, expected", [
    ("the second label is known from the first", [SURE, SURE[::-1]], LN2),
    ("noise adds its own entropy", [SURE, NOISE, NOISE], 3 * LN2),
    ("one point: the entropy of its mean, 3/4 and 1/4", [[[1, 0], [0.5, 0.5]]], 2 * LN2 - 0.75 * LN3),
    ("1/2, 0, 1/4, 1/4: members are multiplied, then averaged", [SURE, [[1, 0], [0.5, 0.5]]], 1.5 * LN2),
    ("axis 1 are members, axis 2 classes: 1/2, and four times 1/8", [[[1, 0, 0], [0, 0.5, 0.5]]] * 2, 2 * LN2),
])  # fmt: skip
def test_joint_entropies_by_hand(law, points, expected):
    expect_close(joint_entropy(log_probs=logs(*points)), torch.tensor(expected, dtype=F64), law)
    expect_equal(joint_entropy(logs(*points)[:0]).item(), 0.0, "of no points: the empty configuration, with p = 1")


@given(seeds(), st.sampled_from(SHAPES), st.sampled_from([0.0, 1.0, 10.0, 1000.0]), st.booleans())
def test_joint_entropy_agrees_with_the_definition(seed, shape, spread, zeros):
    log_probs = drawn(*shape, seed=seed, spread=spread, zeros=zeros)
    expected, _ = joint(log_probs)
    expect_close(joint_entropy(log_probs).item(), expected, "over all C^B configurations", atol=1e-12, rtol=1e-7)


def test_gradients_are_those_of_the_formula():
    gradients_are_right(lambda logits: joint_entropy(logits.log_softmax(-1)), normal(3, 2, 3))
    gradients_are_finite(joint_entropy, logs([[0.5, 0.5, 0], [1, 0, 0]], [[1, 0, 0], [0.25, 0.75, 0]]))


# --- batches ----------------------------------------------------------------------------------------------------------

# Four equal members with two bits each. A tells the first bit, and so does its copy; B tells the second, nearly.
A, COPY = [[1, 0], [1, 0], [0, 1], [0, 1]], [[0, 1], [0, 1], [1, 0], [1, 0]]
B, WEAK, DULL = [[0.9, 0.1], [0.1, 0.9]] * 2, [[0.7, 0.3], [0.1, 0.9]] * 2, [[0.5, 0.5]] * 4
CASES = [(1, 2, 3, 1), (6, 1, 3, 2), (5, 3, 1, 4), (4, 2, 5, 3), (7, 4, 3, 4), (5, 2, 3, 5), (40, 6, 2, 2)]  # and size
NEARLY = LN2 + 0.9 * math.log(0.9) + 0.1 * math.log(0.1)


@pytest.mark.parametrize("law, pool, expected, gains", [
    ("a copy adds nothing, although its BALD is higher", [DULL, A, COPY, B], [1, 3], [LN2, NEARLY, 0, 0]),
    ("ties go to the lowest index", [DULL, COPY, A, COPY, A], [1], [LN2, 0, 0, 0, 0]),
    ("equal points come in order", [DULL, DULL, DULL], [0, 1, 2], [0, 0, 0]),
])  # fmt: skip
def test_batches_by_hand(law, pool, expected, gains):
    for size in range(len(pool) + 1):
        got = batch_bald(log_probs=logs(*pool), batch_size=size)
        assert len(got.indices.unique()) == size, f"no point comes twice: {got.indices}"
        expect_close(got.gains, gains[:size], f"{law}: the gains of {size}")
        first = got.indices[: len(expected)].tolist()  # the gains of the others are 0 but for rounding
        assert first == expected[:size], f"{law}: a batch of {size} begins with {expected[:size]}, not {first}"


@given(seeds(), st.sampled_from(CASES), st.sampled_from([0.1, 1.0, 3.0, 1000.0]), st.booleans())
def test_every_point_is_the_best_next_one(seed, case, spread, zeros):
    (*shape, size), log_probs = case, drawn(*case[:3], seed=seed, spread=spread, zeros=zeros)
    got = batch_bald(log_probs, size, max_configurations=shape[2] ** (size - 1))  # just enough: no generator
    indices = got.indices.tolist()
    assert len(set(indices)) == size, f"no point comes twice: {indices}"
    expect_close(got.gains, gains_of(log_probs, indices), "gains are the increments of I", atol=1e-9, rtol=1e-7)
    for b in range(min(size, 3)):
        others = [gains_of(log_probs, [*indices[:b], n])[b] for n in range(shape[0]) if n not in indices[:b]]
        assert max(others) <= got.gains[b] + 1e-9, f"each point is the one that adds most: {others}"
    assert (got.gains >= 0).all() and (got.gains.diff() <= 1e-9).all(), f"gains never rise: {got.gains}"


def test_gains_have_no_gradient_and_are_never_negative():
    gains = batch_bald(drawn(9, 3, 4).requires_grad_(), 3).gains
    assert not gains.requires_grad, "gains are for judging: they carry no gradient"
    equal = drawn(6, 1, 3, spread=3).float()  # equal members: nothing is to be learnt
    gains = torch.cat([batch_bald(equal.repeat(1, k, 1), 6).gains for k in (1, 3)])
    assert (gains >= 0).all(), f"rounding makes no gain negative: {gains}"


def test_draws_continue_the_generator():
    def gains(generator, size=4):
        return batch_bald(drawn(6, 3, 4), size, max_configurations=16, generator=generator).gains

    one, other = rng(1), rng(1)
    exact, first, second = gains(other, size=3), gains(one), gains(one)
    expect_equal(other.get_state(), rng(1).get_state(), "4 ** 2 configurations are enumerated: nothing is drawn")
    expect_equal(exact, first[:3], "the first gains are exact")
    expect_equal(gains(other), first, "the same state of the generator gives the same estimates")
    assert not torch.equal(first, second), "the second call draws other labels"


def test_drawn_labels_come_from_their_joint_distribution():
    # 1001 classes, of which two are possible: the second gain is estimated from 1000 labels, and errs by some 0.01
    pool, among = logs(DULL, A, COPY, B, WEAK), torch.full((5, 4, 1001), -INF, dtype=F64)
    among[:, :, [7, 600]] = pool
    got = batch_bald(among, 3, max_configurations=1000, generator=rng(3))
    assert got.indices.tolist() == [1, 3, 4], f"A, B, and what says more about the bit of B: {got.indices}"
    expect_close(got.gains, gains_of(pool, [1, 3, 4]), "about the exact gains", atol=0.05, rtol=0)


def test_estimates_are_right_on_average():
    # equal points: whichever comes next, the exact gains are known. The mean of 100 errs by less than 0.006
    pool = logs([[0.7, 0.1, 0.1, 0.1], [0.1, 0.7, 0.1, 0.1], [0.1, 0.1, 0.4, 0.4]]).expand(7, 3, 4)
    means = sum(batch_bald(pool, 7, max_configurations=1000, generator=rng(seed)).gains for seed in range(100)) / 100
    expect_close(
        means, gains_of(pool, list(range(7))), "one member a draw, and a class of each point from it", atol=0.03, rtol=0
    )


def test_many_labels_do_not_underflow():
    # each member has its own half of 100 classes to prefer; the last ten labels add 0.29 nats
    half = 0.5 + 0.2 * normal(40, 16, 1).sign()
    pool = torch.cat([half / 50] * 50 + [(1 - half) / 50] * 50, dim=2).log().float()
    gains = batch_bald(pool, 40, max_configurations=200, generator=rng()).gains
    last = gains[-10:].sum()
    assert 0.05 < last < 0.5, f"p(y) of 30 labels is 0.01 ** 30, which is 0 in float32: the last ten add {last}"


@pytest.mark.parametrize("most", [1000, 999], ids=["enumerated", "drawn"])
def test_a_large_pool_needs_no_large_tensor(most):
    with Watched() as watched:  # N C M is 2e7
        batch_bald(drawn(2000, 2, 10), 4, max_configurations=most, generator=rng())
    assert watched.largest <= 2**24, f"configurations come in pieces, not {watched.largest:,} numbers at once"


# --- refusals and standing laws ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name, log_probs, size, options", [
    ("batch_size", drawn(3, 2, 2), 4, {}), ("batch_size", drawn(3, 2, 2), -1, {}),
    ("max_configurations", drawn(3, 2, 2), 1, {"max_configurations": 0}),
    ("generator", drawn(5, 2, 3), 4, {"max_configurations": 26}), ("generator", drawn(4, 1, 47), 4, {}),
    ("log_probs", logs(A, [[0.5, 0.502]] + A[1:]), 1, {}), ("log_probs", drawn(3, 2, 2).exp(), 0, {}),
    ("log_probs", logs(A, [[0.5, math.nan]] + A[1:]), 1, {}),
])  # fmt: skip
def test_what_is_out_of_range_is_refused(name, log_probs, size, options):
    expect_refused(name, lambda: batch_bald(log_probs, size, **options))


@pytest.mark.parametrize("most", [8, 100_000])
@pytest.mark.parametrize("law", STANDING_LAWS)
def test_standing_laws(law, most):
    def whole_pool(log_probs):
        return batch_bald(log_probs, len(log_probs), max_configurations=most, generator=rng())

    law(joint_entropy, drawn(5, 2, 3, zeros=True))
    law(whole_pool, drawn(5, 2, 3, zeros=True))
