"""loop: which examples are bought in which round, with which model, and how a run goes on.

The model is planted: what it buys depends on every label bought so far, on their order and on the generator, so that
whole runs are known in advance. The labels are sealed: one that is opened before it is bought is noticed. Out of scope:
how good a strategy is.
"""

import math

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from katas.active_learning.given.sealed import SealedLabels
from katas.active_learning.loop import Round, active_learning_loop, top_scores
from katas.lab.expect import expect_equal, expect_refused
from katas.lab.laws import STANDING_LAWS, empty_batches_give_empty_results
from katas.lab.strategies import normal, rng, seeds

INF = math.inf
LABELS = [str((5 * index * index + 3) % 17) for index in range(40)]  # a label may be anything
EARLY = {"fit": lambda *_: pytest.fail("the arguments are checked before a model is fitted")}


def ints(numbers):
    return torch.tensor(list(numbers), dtype=torch.int64, device="cpu")


class Pool:
    """What `ActivePool` promises, given here so that this kata can be done before that one."""

    def __init__(self, labels, bought):
        self._oracle, self.labels, self.labelled = SealedLabels(labels), [], ints([])
        self.unlabelled = ints(range(len(labels)))
        self.buy(ints(bought))

    def buy(self, positions):
        indices = self.unlabelled[positions]
        self.labels = [*self.labels, *map(self._oracle, indices.tolist())]
        self.labelled = torch.cat([self.labelled, indices])
        self.unlabelled = ints(sorted({*self.unlabelled.tolist()} - {*indices.tolist()}))
        return indices


def planted(bought, labels):
    """What the model knows: a number in which every label and its place have a part."""
    pairs = zip(bought, labels, strict=True)
    return sum((place + 2) * (31 * index + int(label)) for place, (index, label) in enumerate(pairs)) % 1009


def wanted(model, unlabelled, count, generator):
    """The positions that it buys, and in which order."""
    noise = torch.randint(7, (len(unlabelled),), generator=generator).tolist()
    worth = [(model * (index + 1) + 50 * noise[position]) % 101 for position, index in enumerate(unlabelled)]
    return sorted(range(len(unlabelled)), key=lambda position: (-worth[position], position))[:count]


def whole_run(size, bought, batch_size, budget, generator):
    """The rounds that the loop should return, on lists."""
    bought, rounds = list(bought), []
    while True:
        model = planted(bought, [LABELS[index] for index in bought])
        rest = [index for index in range(size) if index not in bought]
        count = max(min(batch_size, budget - len(bought)), 0)
        chosen = [rest[position] for position in wanted(model, rest, count, generator)] if count else []
        rounds.append(Round(len(bought), model / 8, tuple(chosen)))
        if not chosen:
            return rounds
        bought += chosen


def looped(pool, *, seen=None, **options):
    """The loop with the planted model, and what it is asked for, in order."""
    seen = [] if seen is None else seen

    def fit(labelled, labels):
        opened, own = sorted(pool._oracle.opened), sorted(labelled.tolist())
        assert opened == own, f"fit sees all that is bought, and nothing else was opened: {own}, opened {opened}"
        assert torch.is_grad_enabled(), "fit trains: it needs gradients"
        assert len(seen) < 200, "the loop has no end"
        seen.append("fit")
        return {"planted": planted(labelled.tolist(), labels)}

    def evaluate(model):
        seen.append("evaluate")
        return torch.tensor(model["planted"] / 8)

    def acquire(model, unlabelled, count, generator):
        seen.append(f"acquire {count}")
        return ints(wanted(model["planted"], unlabelled.tolist(), count, generator))

    options = {"fit": fit, "batch_size": 3, "budget": 8, "generator": rng(), "acquire": acquire} | options
    return active_learning_loop(pool=pool, evaluate=evaluate, **options)


# --- the best scores --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scores, count, expected", [
    ([0.2, 0.9, 0.5, 0.7], 2, [1, 3]), ([0.2, 0.9, 0.5, 0.7], 4, [1, 3, 2, 0]), ([0.2, 0.9], 0, []), ([], 0, []),
    ([0.5, 0.1, 0.5, 0.9, 0.5], 3, [3, 0, 2]), ([-3.0, -1, 1e-15 - 1], 1, [2]), ([0.0, INF, -INF, 2], 4, [1, 3, 0, 2]),
])  # fmt: skip
def test_the_highest_scores_by_hand(scores, count, expected):
    got = top_scores(scores=torch.tensor(scores, dtype=torch.float64), count=count)
    expect_equal(got, ints(expected), "the highest first, equal ones in the order of their positions")


@given(seeds(), st.sampled_from([1, 7, 3000]), st.floats(0, 1), st.sampled_from([torch.float16, torch.bfloat16]))
def test_equal_scores_go_to_the_lowest_position(seed, size, share, dtype):
    scores, count = normal(size, seed=seed).round().to(dtype), round(share * size)
    ranked = sorted(range(size), key=lambda position: (-float(scores[position]), position))
    expect_equal(top_scores(scores, count), ints(ranked[:count]), "a stable order, also of many scores")


# --- whole runs -------------------------------------------------------------------------------------------------------


def test_a_search_for_a_threshold_by_hand():
    # False below 10. A model is the gap between the last False and the first True; its middle is bought: 7.5, 11, 9, 10
    pool = Pool([index >= 10 for index in range(16)], [0, 15])

    def gap(labelled, labels):
        pairs = list(zip(labelled.tolist(), labels, strict=True))
        return max(index for index, label in pairs if not label), min(index for index, label in pairs if label)

    def middle(gap, unlabelled, count, generator):
        return (unlabelled - sum(gap) / 2).abs().argsort(stable=True)[:count]

    run = {"fit": gap, "acquire": middle, "evaluate": lambda gap: gap[0] - gap[1], "batch_size": 1, "budget": 6}
    expected = [(2, -15.0, (7,)), (3, -8.0, (11,)), (4, -4.0, (9,)), (5, -2.0, (10,)), (6, -1.0, ())]
    got = active_learning_loop(pool, **run, generator=rng())
    assert got == expected, f"labels, score, and the global indices bought: {expected}, not {got}"
    kinds = {type(part) for one in got for part in (one, *one[:2], *one.bought)}
    assert kinds == {Round, int, float}, f"a Round has an int, a float and a tuple of ints, not {kinds}"


@example(size=9, start=[3, 0, 8], batch_size=4, budget=9, seed=1).via("the last batch is smaller")
@example(size=9, start=[3, 0, 8], batch_size=2, budget=3, seed=1).via("the budget is spent")
@example(size=9, start=[3, 0, 8], batch_size=2, budget=0, seed=1).via("the budget is overspent")
@given(
    st.just(40), st.lists(st.integers(0, 39), unique=True, min_size=1, max_size=6), st.integers(1, 9),
    st.integers(0, 40), seeds(),
)  # fmt: skip
def test_a_run_is_known_in_advance(size, start, batch_size, budget, seed):
    pool, generator, other = Pool(LABELS[:size], start), rng(seed), rng(seed)
    got = looped(pool, batch_size=batch_size, budget=budget, generator=generator)
    expected = whole_run(size, start, batch_size, budget, other)
    assert got == expected, f"the rounds of the planted model are\n  {expected}, not\n  {got}"
    bought = [*start, *(index for one in expected for index in one.bought)]
    expect_equal(pool.labelled, ints(bought), "bought is what the rounds tell, and no more")
    states = [torch.rand(3, generator=one) for one in (generator, other)]
    expect_equal(*states, "what comes next from the generator: acquire alone draws, from the one that is given")


def test_each_round_has_its_order():
    pool, seen = Pool(LABELS, [4, 30]), []
    looped(pool, seen=seen, on_round=lambda one: seen.append((one.num_labels, len(pool.labelled))))
    expected = ["fit", "evaluate", "acquire 3", (2, 5), "fit", "evaluate", "acquire 3", (5, 8), "fit", "evaluate"]
    assert seen == expected, f"on_round after each purchase, and a last model after the last one:\n  {seen}"


def test_a_saved_run_goes_on():
    pool, generator, saved = Pool(LABELS, [4, 30]), rng(5), []

    def save(one):
        done = [*(saved[-1][2] if saved else []), one]
        saved.append((pool.labelled.tolist(), generator.get_state(), done))

    expected = looped(pool, budget=21, generator=generator, on_round=save)
    assert saved and saved[-1][2] == expected[:-1], "on_round is told every round but the last"
    for bought, state, done in saved:
        generator.set_state(state)
        rest = looped(Pool(LABELS, bought), budget=21, generator=generator)
        assert [*done, *rest] == expected, f"from {len(bought)} labels on as without a break: {expected}, not {rest}"


# --- refusals and standing laws ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name, call", [
    ("pool", lambda pool: looped(Pool(LABELS, []), **EARLY)), ("budget", lambda pool: looped(pool, budget=41, **EARLY)),
    *[("batch_size", lambda pool, n=n: looped(pool, batch_size=n, budget=n + 3, **EARLY)) for n in (0, -1)],
    *[("acquire", lambda pool, n=n: looped(pool, acquire=lambda *_: ints(range(n)))) for n in (4, 2, 0)],
    *[("count", lambda pool, n=n: top_scores(normal(2), n)) for n in (-1, 3)],
    *[("scores", lambda pool, n=n: top_scores(torch.tensor([1, math.nan, 2]), n)) for n in (0, 1)],
])  # fmt: skip
def test_what_is_refused_buys_nothing(name, call):
    pool = Pool(LABELS, [4, 30])
    expect_refused(name, lambda: call(pool))
    expect_equal(pool.labelled, ints([4, 30]), "after a refusal the pool is what it was")


@pytest.mark.parametrize("law", STANDING_LAWS)
def test_standing_laws(law):
    count = 0 if law is empty_batches_give_empty_results else 2
    law(lambda scores: top_scores(scores, count), normal(5))
    law(lambda: [list(one) for one in looped(Pool(LABELS, [4, 30]))])
