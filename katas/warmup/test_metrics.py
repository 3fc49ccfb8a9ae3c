"""metrics: accuracy that gives nothing away, the confusion matrix, and a mean over batches.

Checked against loops over Python numbers, and scikit-learn's confusion matrix. Out of scope: targets that are no class.
"""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sklearn_metrics

from katas.lab.expect import expect_close, expect_equal, expect_refused
from katas.lab.laws import STANDING_LAWS
from katas.lab.strategies import normal, rng, seeds
from katas.warmup.metrics import RunningMean, confusion_matrix, topk_accuracy

F64, NAN, INF = torch.float64, math.nan, math.inf
SIZES = st.sampled_from([(1, 1), (1, 5), (6, 2), (20, 7), (3, 300)])


def numbers(*values):
    return torch.tensor(values, dtype=F64)


def classes(*values):
    return torch.tensor(values, dtype=torch.int64)


# --- the definition ---------------------------------------------------------------------------------------------------


def accuracy(logits, targets, k):
    hits = 0
    for row, target in zip(logits.tolist(), targets.tolist(), strict=True):
        others = row[:target] + row[target + 1 :]
        rivals = sum(not other < row[target] for other in others)
        hits += rivals < k and not math.isnan(row[target])
    return hits / max(1, len(targets))


# --- accuracy ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("row, target, hits, law", [
    ([1, 3, 2], 1, [1, 1, 1], "the largest is a hit for every k"),
    ([1, 3, 2], 2, [0, 1, 1], "the second from k = 2 on"),
    ([-5, -7, -6], 1, [0, 0, 1], "the smallest for k = C alone"),
    ([4, 4, 2], 0, [0, 1, 1], "a tie counts against the target"),
    ([4, 4, 4], 0, [0, 0, 1], "a constant answer scores nothing for free"),
    ([4, 4, 4], 2, [0, 0, 1], "a constant answer scores nothing for free"),
    ([NAN, NAN, NAN], 0, [0, 0, 0], "NaN is never a hit"),
    ([1, NAN, 0], 0, [0, 1, 1], "a NaN elsewhere counts as not smaller"),
    ([1, NAN, 0], 1, [0, 0, 0], "NaN is never a hit"),
    ([-INF, INF, 0], 1, [1, 1, 1], "infinite logits are logits"),
])  # fmt: skip
def test_hits_by_hand(row, target, hits, law):
    got = [topk_accuracy(logits=numbers(row), targets=classes(target), k=k) for k in (1, 2, 3)]
    expect_close(got, hits, law)


def test_accuracy_is_a_share_of_the_rows():
    logits = numbers([2, 1], [2, 1], [0, 1], [5, 4])
    expect_close(topk_accuracy(logits, classes(0, 1, 1, 0)), 0.75, "three of four rows, k = 1 by default")
    expect_close(topk_accuracy(logits[:0], classes()), 0, "without rows 0, not NaN")


@given(seeds(), SIZES, st.data())
def test_accuracy_agrees_with_the_definition(seed, sizes, data):
    n, c = sizes
    k = data.draw(st.integers(1, c), label="k")
    logits, targets = (2 * normal(n, c, seed=seed)).round(), torch.randint(c, (n,), generator=rng(seed))  # with ties
    expect_close(topk_accuracy(logits, targets, k), accuracy(logits, targets, k), "row by row")


def test_a_large_batch_in_half_precision():
    logits = torch.zeros(140_000, 2, dtype=torch.float16)
    logits[:70_000, 1] = 1
    got = topk_accuracy(logits, torch.ones(140_000, dtype=torch.int64))
    expect_close(got, torch.tensor(0.5, dtype=torch.float16), "counts above 65504 do not overflow")


# --- the confusion matrix ---------------------------------------------------------------------------------------------


def test_the_matrix_by_hand():
    got = confusion_matrix(predictions=classes(0, 2, 2, 2, 1, 2), targets=classes(0, 1, 1, 2, 1, 1), num_classes=4)
    expected = [[1, 0, 0, 0], [0, 1, 3, 0], [0, 0, 1, 0], [0, 0, 0, 0]]
    expect_equal(got, expected, "rows are true classes; a pair that repeats counts each time; unseen classes stay")


@given(seeds(), st.sampled_from([2, 5, 17]), st.sampled_from([1, 4, 300]), st.sampled_from(["int64", "int8", "int32"]))
def test_the_matrix_is_that_of_scikit_learn(seed, num_classes, n, dtype):
    pair = torch.randint(num_classes, (2, n), generator=rng(seed))
    expected = sklearn_metrics.confusion_matrix(*pair, labels=range(num_classes))
    got = confusion_matrix(pair[1].to(getattr(torch, dtype)), pair[0].to(getattr(torch, dtype)), num_classes)
    expect_equal(got, torch.from_numpy(expected), "in any integer type: 17 * 16 + 16 does not fit into 8 bits")


@pytest.mark.parametrize("bad", [-1, 3])
@pytest.mark.parametrize("name", ["predictions", "targets"])
def test_a_class_that_does_not_exist_is_refused(name, bad):
    given = {"predictions": classes(0, 1), "targets": classes(2, 1)} | {name: classes(1, bad)}
    expect_refused(name, lambda: confusion_matrix(**given, num_classes=3))


# --- the running mean -------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.floats(-100, 100), st.integers(0, 1000)), min_size=1, max_size=6), st.booleans())
def test_batches_are_weighted_by_their_size(batches, as_tensors):
    running = RunningMean()
    for mean, count in batches:
        running.update(mean=torch.tensor(mean, dtype=F64) if as_tensors else mean, count=count)
    total, examples = sum(m * c for m, c in batches), sum(c for _, c in batches)
    if examples:
        expect_close(
            running.value, total / examples, "the sum of mean times count, over all examples", atol=1e-9, rtol=1e-9
        )
    else:
        assert math.isnan(running.value), f"NaN before the first example, not {running.value}"


def test_a_mean_may_be_read_in_between():
    running, other = RunningMean(), RunningMean()
    assert math.isnan(running.value), f"NaN before the first example, not {running.value}"
    running.update(2.0, 3)
    expect_close(running.value, 2, "after three examples")
    running.update(math.nan, 0)  # the mean over nothing
    expect_close(running.value, 2, "a batch of no examples changes nothing")
    running.update(7, 2)
    expect_close(running.value, (3 * 2 + 2 * 7) / 5, "3 times 2 and 2 times 7")
    assert math.isnan(other.value), "another running mean has seen nothing"
    running.update(math.nan, 2)
    assert math.isnan(running.value), f"the mean of a batch with examples counts, NaN too: {running.value}"


def test_no_graph_is_kept():
    running, loss = RunningMean(), numbers(3).requires_grad_().sum()
    running.update(loss, 4)
    assert type(running.value) is float, f"a Python number, not {type(running.value).__name__}"
    held = [name for name, value in vars(running).items() if torch.is_tensor(value)]
    assert not held, f"{held} holds a tensor: with it the graphs of all batches stay in memory"


# --- promises of all katas --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name, call", [
    ("k", lambda: topk_accuracy(normal(2, 3), classes(0, 1), 0)),
    ("k", lambda: topk_accuracy(normal(2, 3), classes(0, 1), 4)),
    ("k", lambda: topk_accuracy(normal(0, 3), classes(), 4)),
    ("count", lambda: RunningMean().update(1.0, -1)),
])  # fmt: skip
def test_what_is_out_of_range_is_refused(name, call):
    expect_refused(name, call)


@pytest.mark.parametrize("law", STANDING_LAWS)
def test_standing_laws(law):
    law(topk_accuracy, normal(5, 3), classes(0, 2, 1, 1, 0), 2)
    law(confusion_matrix, classes(0, 2, 1, 1, 0), classes(0, 1, 1, 1, 2), 4)
