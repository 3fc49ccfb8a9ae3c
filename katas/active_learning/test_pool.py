"""pool: what is labelled, what is not, and that nobody reads a label that has not been bought.

The definition is a list of the indices that were bought. The labels are sealed: they raise if one is read in any other
way, or twice. Out of scope: labels outside [0, num_classes), what a label is.
"""

import io
from collections import Counter
from itertools import combinations, product
from unittest.mock import Mock

import pytest
import torch
from hypothesis import example, given, settings, stateful
from hypothesis import strategies as st

from katas.active_learning.given.sealed import SealedLabels
from katas.active_learning.pool import ActivePool, stratified_seed
from katas.lab.expect import expect_equal, expect_refused
from katas.lab.laws import STANDING_LAWS
from katas.lab.strategies import rng, seeds

NAMES = [0, None, *(f"cat {number}" for number in range(2, 300))]  # a label may be anything
DTYPES = [torch.int16, torch.int32, torch.int64]


def ints(numbers, dtype=torch.int64):
    return torch.tensor(list(numbers), dtype=dtype, device="cpu")


def ruin(*values):
    """What was handed out, overwritten: a copy may be."""
    for value in values:
        value.fill_(0) if isinstance(value, torch.Tensor) else getattr(value, "clear", int)()


def expect_pool(pool, size, bought, when=""):
    """All that a pool shows. It is overwritten afterwards, and shown again."""
    __tracebackhide__ = True
    for _ in range(2):
        labelled, labels, unlabelled = pool.labelled, pool.labels, pool.unlabelled
        expect_equal(labelled, ints(bought), f"labelled{when}: the global indices in the order bought")
        expect_equal(unlabelled, ints(sorted({*range(size)} - {*bought})), f"unlabelled{when}: all others, ascending")
        assert labels == [NAMES[index] for index in bought], f"labels{when}: of {bought}, as the oracle said: {labels}"
        ruin(labelled, labels, unlabelled)


def filled(size=9, bought=(4, 1), oracle=NAMES.__getitem__):
    pool = ActivePool(size=size, oracle=oracle)
    pool.seed(indices=ints(bought))
    return pool


# --- a worked example, any purchases, and what the oracle is asked ----------------------------------------------------


def test_positions_count_within_the_unlabelled():
    pool = filled(6, [4, 1], (answers := [[name] for name in NAMES]).__getitem__)  # unlabelled: 0, 2, 3, 5
    expect_equal(pool.buy(positions=ints([2, 0, 1])), ints([3, 0, 2]), "global indices, in the order asked for")
    expect_equal([pool.buy(ints([0])), pool.labelled], [[5], [4, 1, 3, 0, 2, 5]], "5 is the first of the rest; order")
    same = [label is answers[index] for label, index in zip(pool.labels, [4, 1, 3, 0, 2, 5], strict=True)]
    assert all(same), f"labels: the oracle's own objects, no copies, in the order bought: {pool.labels}"
    expect_pool(ActivePool(9, NAMES.__getitem__), 9, [], " in another pool")


class Purchases(stateful.RuleBasedStateMachine):
    @stateful.initialize(size=st.sampled_from([0, 1, 4, 9, 300]))
    def begin(self, size):
        self.size, self.bought, self.sealed = size, [], SealedLabels(NAMES[:size])
        self.pool = ActivePool(size, lambda index: self.sealed(index))
        self.save()

    @stateful.rule(data=st.data(), dtype=st.sampled_from(DTYPES), initial=st.booleans())
    def purchase(self, data, dtype, initial):
        rest = sorted({*range(self.size)} - {*self.bought})
        positions = data.draw(st.lists(st.integers(0, len(rest) - 1), unique=True, max_size=5) if rest else st.just([]))
        indices = [rest[position] for position in positions]
        asked_for = ints(indices if initial else positions, dtype)
        got = self.pool.seed(asked_for) if initial else self.pool.buy(asked_for)
        if not initial:
            expect_equal(got, ints(indices), f"positions {positions}, where {self.bought} are labelled")
        ruin(asked_for, got)
        self.bought += indices

    @stateful.rule()
    def save(self):
        self.saved = self.pool.state_dict(), list(self.bought)

    @stateful.rule(fresh=st.booleans())
    def resume(self, fresh):
        self.bought, self.sealed = list(self.saved[1]), SealedLabels(NAMES[: self.size])
        self.sealed.opened += self.bought
        self.pool = ActivePool(self.size, lambda index: self.sealed(index)) if fresh else self.pool
        self.pool.load_state_dict(self.saved[0])
        expect_pool(self.pool, self.size, self.bought, " after load_state_dict, as in the state")

    @stateful.invariant()
    def labelled_and_unlabelled_partition_the_pool(self):
        expect_pool(self.pool, self.size, self.bought)
        assert sorted(self.sealed.opened) == sorted(self.bought), f"opened {self.sealed.opened}, bought {self.bought}"


def test_the_pool_is_what_a_list_is():
    stateful.run_state_machine_as_test(Purchases, settings=settings(stateful_step_count=15))


def test_the_oracle_is_asked_when_a_label_is_bought():
    asked = []
    pool = filled(oracle=asked.append)
    pool.buy(ints([6, 0])), pool.labels, ActivePool(9, asked.append).load_state_dict(pool.state_dict())
    assert sorted(asked) == [0, 1, 4, 8], f"each label that is bought is asked for once: {asked}"
    assert {type(index) for index in asked} == {int}, "the oracle is told a Python int: a tensor is no key of a dict"


@pytest.mark.parametrize("answers, error", [(0, KeyError), (1, KeyboardInterrupt), (2, KeyError)])
@pytest.mark.parametrize("purchase, numbers", [("buy", [4, 2, 3]), ("seed", [6, 3, 5])])
def test_an_oracle_that_fails_changes_nothing(purchase, numbers, answers, error):
    pool = filled(oracle=(oracle := Mock(side_effect=NAMES.__getitem__)))
    oracle.side_effect = [*range(answers), error]
    with pytest.raises(error):
        getattr(pool, purchase)(ints(numbers))
    expect_pool(pool, 9, [4, 1], f" after a {error.__name__} of the oracle")
    oracle.side_effect = NAMES.__getitem__
    getattr(pool, purchase)(ints(numbers))
    expect_pool(pool, 9, [4, 1, 6, 3, 5], " when the oracle answers again")


def test_a_saved_pool_goes_on_from_a_file():
    pool, other = filled(), filled(bought=[7, 8])
    torch.save(pool.state_dict(), file := io.BytesIO())
    state = torch.load(io.BytesIO(file.getvalue()), weights_only=True)
    other.load_state_dict(state=state)
    ruin(*state.values(), *pool.state_dict().values())
    for one in (pool, other):
        for saved in [one.state_dict()] * 3:
            expect_pool(one, 9, [4, 1], " in a state, which is a copy")
            expect_equal(one.buy(ints([6, 2])), ints([8, 3]), "the same positions are the same examples")
            expect_pool(one, 9, [4, 1, 8, 3])
            one.load_state_dict(saved)
        expect_refused("indices", lambda one=one: one.seed(ints([4])))
        one.seed(ints([8, 3]))  # bought before, and forgotten


# --- the initial set --------------------------------------------------------------------------------------------------


@example(seed=1, counts=[3, 2], per_class=2, dtype=torch.int16)
@example(seed=2, counts=[700, 600], per_class=300, dtype=torch.int64)
@given(seeds(), st.lists(st.integers(0, 5), min_size=1, max_size=5), st.integers(0, 3), st.sampled_from(DTYPES))
def test_each_class_has_its_share(seed, counts, per_class, dtype):
    labels = ints([label for label, more in enumerate(counts) for _ in range(per_class + more)], dtype)
    labels = labels[torch.randperm(len(labels), generator=rng(seed))]
    got = stratified_seed(labels=labels, per_class=per_class, num_classes=len(counts), generator=rng(seed))
    assert got.dtype == torch.int64 and len(set(got.tolist())) == len(got), f"indices, each of them once: {got}"
    expected = [label for label in range(len(counts)) for _ in range(per_class)]
    expect_equal(labels[got].sort().values, ints(expected, dtype), f"{per_class} of each class")


def test_every_choice_is_equally_likely():
    # 6 pairs of class 0 with 6 of class 1: 100 of each, standard deviation 10; six of them: 1 false alarm in 10 million
    labels, generator, counts = ints([1, 0, 0, 1, 0, 1, 0, 1]), rng(1), Counter()
    for _ in range(3600):
        counts[frozenset(stratified_seed(labels, 2, num_classes=2, generator=generator).tolist())] += 1
    got = [counts[frozenset(x + y)] for x, y in product(combinations([1, 2, 4, 6], 2), combinations([0, 3, 5, 7], 2))]
    assert 40 < min(got) and max(got) < 160, f"100 of each choice, not {min(got)} to {max(got)}"


def test_randomness_comes_from_the_generator():
    labels, generator = ints([0, 1] * 50), rng(1)
    first, second = (stratified_seed(labels, 9, num_classes=2, generator=generator) for _ in range(2))
    expect_equal(stratified_seed(labels, 9, num_classes=2, generator=rng(1)), first, "the same seed, the same examples")
    assert set(first.tolist()) != set(second.tolist()), "two draws of one generator are different ones"


# --- refusals and standing laws ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name, call", [
    ("size", lambda pool: ActivePool(-1, str)), ("positions", lambda pool: ActivePool(0, str).buy(ints([0]))),
    *[("positions", lambda pool, n=n: pool.buy(ints(n))) for n in ([0, 1, 0], [0, 7], [-1], range(8))],
    *[("indices", lambda pool, n=n: pool.seed(ints(n))) for n in ([0, 2, 0], [0, 9], [-1], [0, 1])],
    *[("size", lambda pool, n=n: pool.load_state_dict(filled(n, [7]).state_dict())) for n in (8, 10)],
    ("per_class", lambda pool: stratified_seed(ints([0, 1]), -1, num_classes=2, generator=rng())),
    ("num_classes", lambda pool: stratified_seed(ints([0, 1]), 1, num_classes=0, generator=rng())),
    ("labels", lambda pool: stratified_seed(ints([0, 2, 0, 2, 1, 0]), 2, num_classes=3, generator=rng())),
    ("3", lambda pool: stratified_seed(ints([0, 2, 0, 2, 1, 1, 0, 2]), 2, num_classes=4, generator=rng())),  # its class
])  # fmt: skip
def test_what_is_refused_changes_nothing(name, call):
    asked = []
    pool = filled(oracle=lambda index: asked.append(index) or NAMES[index])
    expect_refused(name, lambda: call(pool))
    expect_pool(pool, 9, [4, 1])
    assert sorted(asked) == [1, 4], f"the oracle is asked for nothing that is refused: {asked[2:]}"


@pytest.mark.parametrize("law", STANDING_LAWS)
def test_standing_laws(law):
    law(lambda positions: filled().buy(positions), ints([6, 0, 3]))
    law(lambda indices: (pool := ActivePool(9, str)).seed(indices) or pool.labelled, ints([6, 0, 3]))
    law(lambda labels: stratified_seed(labels, len(labels) // 2, num_classes=2, generator=rng()), ints([0, 1, 0, 1, 1]))
