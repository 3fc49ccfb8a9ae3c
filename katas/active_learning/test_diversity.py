"""diversity: k-center greedy, the embeddings of BADGE, and the draws of k-means++.

K-center greedy is checked against a slow greedy in Python floats, the embeddings against autograd on a real linear
layer, k-means++ against the probabilities of all sequences of draws. Out of scope: speed, points that are not finite.
"""

import math
from collections import Counter
from itertools import permutations, product

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from katas.active_learning.diversity import badge_embeddings, k_center_greedy, kmeans_plus_plus
from katas.lab.expect import expect_close, expect_equal, expect_refused
from katas.lab.laws import STANDING_LAWS
from katas.lab.strategies import normal, rng, seeds
from katas.lab.watched import Watched

F64 = torch.float64
UNITS = [2.0**-40, 2.0**-10, 1.0, 2.0**16]


# --- the definition ---------------------------------------------------------------------------------------------------


def greedy(features, labelled, budget):
    """Row by row, every distance computed anew."""
    rows, centers, chosen = features.tolist(), labelled.tolist(), []
    for _ in range(budget):
        left = [i for i in range(len(rows)) if i not in chosen]
        gaps = [min([math.dist(rows[i], center) for center in centers], default=math.inf) for i in left]
        chosen.append(left[gaps.index(max(gaps))])
        centers.append(rows[chosen[-1]])
    return chosen


def gradients(weight, bias, features):
    """Of the cross-entropy of each example at the label that the model predicts, by autograd."""
    rows = []
    for h in features:
        leaf = weight.clone().requires_grad_()
        logits = (leaf @ h + bias)[None]
        rows += torch.autograd.grad(torch.nn.functional.cross_entropy(logits, logits.argmax(1)), leaf)
    return torch.stack(rows).flatten(1)


def probabilities(rows, budget):
    """Of every sequence of draws of k-means++."""
    table = dict.fromkeys(permutations(range(len(rows)), budget), 1 / len(rows))
    for sequence, step in product(table, range(1, budget)):
        before, left = sequence[:step], [i for i in range(len(rows)) if i not in sequence[:step]]
        squares = {i: min(math.dist(rows[i], rows[j]) ** 2 for j in before) for i in left}
        total = sum(squares.values())
        table[sequence] *= squares[sequence[step]] / total if total else 1 / len(left)
    return table


# --- k-center greedy --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("law, rows, labelled, budget, expected", [
    # on a line; the gaps to the labelled 4 are 4, 3, 1, 2, 5, 4: row 4. Then 4, 3, 1, 2, -, 1: row 0. Then 1, 1, 2, 1
    ("farthest from what is labelled, then from what is chosen as well", [0, 1, 5, 6, 9, 8], [4], 4, [4, 0, 3, 1]),
    ("without labelled points: row 0, then the farthest from it", [3, 4, 0, 9], [], 3, [0, 3, 2]),
    ("equal distances: the lowest row", [0, 5, -5, 5], [0], 2, [1, 2]),
    ("equal rows: each is chosen once", [2, 2, 7, 2], [2], 4, [2, 0, 1, 3]),
    ("no budget: no row", [1, 2], [0], 0, []),
    # 4.9, 5 and 4.97 from the origin; the largest coordinates are 4.9, 4, 3.6, the sums 4.9, 7, 7.02
    ("Euclidean: sqrt(3² + 4²) = 5", [[4.9, 0], [3, 4], [3.6, 3.42]], [[0, 0]], 1, [1]),
])  # fmt: skip
def test_rows_by_hand(law, rows, labelled, budget, expected):
    features = torch.tensor(rows, dtype=F64).reshape(len(rows), -1)
    known = torch.tensor(labelled, dtype=F64).reshape(len(labelled), features.shape[1])
    expect_equal(k_center_greedy(features=features, labelled=known, budget=budget), torch.tensor(expected).long(), law)


@example(seed=1, n=1200, m=9, dims=2, spread=50, unit=1.0, offset=0, dtype=F64)
@example(seed=0, n=30, m=30, dims=2, spread=1000, unit=2.0**-40, offset=2.0**28, dtype=F64)
@given(
    seeds(), st.integers(1, 12), st.integers(0, 5), st.sampled_from([1, 2, 5]), st.sampled_from([1, 3, 1000]),
    st.sampled_from(UNITS), st.sampled_from([0, 2.0**28]), st.sampled_from([torch.float16, torch.float32, F64]),
)  # fmt: skip
def test_k_center_agrees_with_the_definition(seed, n, m, dims, spread, unit, offset, dtype):
    whole = torch.randint(-spread, spread + 1, (n + m, dims), generator=rng(seed)).to(F64)  # so that ties are ties
    rows = ((whole + offset) * unit if dtype == F64 else whole).to(dtype)
    features, labelled, budget = rows[:n], rows[n:], min(n, 12)
    got, expected = k_center_greedy(features, labelled, budget), torch.tensor(greedy(features, labelled, budget))
    expect_equal(got, expected, "the row farthest from all centers so far")


# --- embeddings -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("law, probs, expected", [
    # h = (2, -1); p - onehot = (0.2, -0.5, 0.3)
    ("the predicted class has p - 1, the others p; class by class", [0.2, 0.5, 0.3], [0.4, -0.2, -1, 0.5, 0.6, -0.3]),
    ("the lowest of equally likely classes is the label", [0.2, 0.4, 0.4], [0.4, -0.2, -1.2, 0.6, 0.8, -0.4]),
    ("a certain model learns nothing", [0, 0, 1], [0] * 6),
])  # fmt: skip
def test_an_embedding_by_hand(law, probs, expected):
    log_probs, features = torch.tensor([probs], dtype=F64).log(), torch.tensor([[2, -1]], dtype=F64)
    expect_close(badge_embeddings(log_probs=log_probs, features=features), [expected], law)


@given(seeds(), st.integers(1, 5), st.integers(1, 6), st.sampled_from([1, 2, 7]), st.sampled_from([0.01, 1, 30]))
def test_embeddings_are_the_gradients_of_the_last_layer(seed, n, classes, dims, scale):
    features, weight, bias = normal(n, dims, seed=seed), scale * normal(classes, dims, seed=seed + 1), normal(classes)
    got = badge_embeddings(torch.log_softmax(features @ weight.T + bias, dim=1), features)
    expected = gradients(weight, bias, features)
    expect_close(got, expected, "d loss / dW of each example at the predicted label", rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("dtype, other", [(torch.float32, F64), (F64, torch.float32)])
def test_embeddings_carry_no_gradient_and_follow_the_log_probs(dtype, other):
    log_probs, features = torch.log_softmax(normal(4, 3), 1), normal(4, 2)
    got = badge_embeddings(log_probs.to(dtype).requires_grad_(), features.to(other).requires_grad_())
    assert got.dtype == dtype, f"{dtype} log_probs and {other} features give {dtype}, not {got.dtype}"
    assert not got.requires_grad, "an embedding is a number to choose by: it carries no gradient"


# --- k-means++ --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows, budget", [
    ([[0, 0], [1, 0], [0, 3], [4, 4]], 3),
    ([[0, 1], [0, 1], [0, 1], [2, 3]], 4),  # when both places are drawn, the rows left are equal
    ([[5, 5]] * 4, 2),
], ids=["four places", "two places", "one place"])  # fmt: skip
def test_draws_have_the_probabilities_of_the_definition(rows, budget):
    draws, generator, points = 600, rng(5), torch.tensor(rows, dtype=F64)
    calls = (kmeans_plus_plus(points=points, budget=budget, generator=generator) for _ in range(draws))
    seen = Counter(tuple(rows.tolist()) for rows in calls)
    for sequence, chance in probabilities(rows, budget).items():
        # five standard deviations, at most 24 sequences each: a false alarm in some 20,000 right versions
        slack = 5 * math.sqrt(draws * chance * (1 - chance)) + 1
        told = f"rows {sequence} came {seen[sequence]} times in {draws}, expected {draws * chance:.0f} ± {slack:.0f}"
        assert abs(seen[sequence] - draws * chance) <= slack, told


@given(seeds(), st.integers(1, 9), st.booleans())
def test_no_row_is_drawn_twice(seed, n, doubled):
    got = kmeans_plus_plus(normal(n, 2, seed=seed).repeat(1 + doubled, 1), n * (1 + doubled), generator=rng(seed))
    expect_equal(got.sort().values, torch.arange(len(got)), "drawn to the end, every row comes once")


@pytest.mark.parametrize("law, offset, unit, dtype", [
    ("by the square of the distance", 0, 1, F64), ("no distance is too small", 0, 2.0**-40, F64),
    ("differences first: |a|² - 2ab + |b|² loses all digits", 2.0**40, 1, F64),
    ("squares in float64", 0, 2.0**-80, torch.float32), ("squares in float64", 0, 2.0**80, torch.float32),
    ("squares in float64", 0, 1, torch.float16),
])  # fmt: skip
def test_far_rows_are_drawn_first_at_every_size(law, offset, unit, dtype):
    # six places of 5 rows, 500 apart; 1/1024 within a place: one place twice before all are seen once in 10⁹ draws
    places = 500 * torch.tensor([[0, 0], [1, 0], [0, 1], [2, 2], [3, 0], [0, 3]], dtype=F64)
    rows = places.repeat_interleave(5, 0) + torch.arange(5, dtype=F64).repeat(6)[:, None] / 1024
    for seed in range(10):
        got = kmeans_plus_plus(((rows + offset) * unit).to(dtype), 6, generator=rng(seed)) // 5
        expect_equal(got.sort().values, torch.arange(6), f"{law}: near rows wait while far ones remain")


def test_draws_come_from_the_generator_and_continue_it():
    points, generator = normal(60, 3), rng(3)
    first, second = (kmeans_plus_plus(points, 8, generator=generator) for _ in range(2))
    expect_equal(kmeans_plus_plus(points, 8, generator=rng(3)), first, "the same seed draws the same rows")
    assert not torch.equal(first, second), "two calls with one generator draw different rows"


# --- promises of all katas --------------------------------------------------------------------------------------------


def test_no_matrix_of_all_distances():
    rows, many = normal(3000, 2), normal(50_000, 2)
    with Watched() as watched:
        got, _ = k_center_greedy(rows[:2500], rows, 2), kmeans_plus_plus(rows, 2, generator=rng())
        _ = k_center_greedy(many, many[:5], 100), kmeans_plus_plus(many, 100, generator=rng())
    assert watched.largest <= 2**22, f"10⁶ rows have 10¹² distances: {watched.largest} numbers at once are too many"
    expect_equal(got, torch.tensor([0, 1]), "all rows are labelled: all gaps are 0, and the lowest row wins")


@pytest.mark.parametrize("budget", [-1, 6])
def test_a_budget_beyond_the_rows_is_refused(budget):
    expect_refused("budget", lambda: k_center_greedy(normal(5, 2), normal(9, 2), budget))
    expect_refused("budget", lambda: kmeans_plus_plus(normal(5, 2), budget, generator=rng()))


@pytest.mark.parametrize("law", STANDING_LAWS)
def test_standing_laws(law):
    features = normal(7, 3)
    law(lambda rows, known: k_center_greedy(rows, known, min(4, len(rows))), features, normal(2, 3, seed=1))
    law(badge_embeddings, torch.log_softmax(normal(7, 4), 1), features)
    law(lambda rows: kmeans_plus_plus(rows, min(4, len(rows)), generator=rng()), features)
    law(lambda rows: kmeans_plus_plus(torch.cat([rows, rows]), 2 * len(rows), generator=rng()), features)
