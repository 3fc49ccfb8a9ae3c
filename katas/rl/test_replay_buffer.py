"""replay_buffer: transitions of several environments, stored in a ring, sampled at random.

The definition is a list from which the oldest are dropped. Every transition has a number here, from which its parts are
computed: they tell which transition it is, and whether they belong together. Out of scope: priorities, n-step returns.
"""

import io

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from katas.lab.expect import expect_equal, expect_refused
from katas.lab.laws import STANDING_LAWS
from katas.lab.strategies import normal, rng
from katas.rl.given.transitions import numbered, numbers_of
from katas.rl.replay_buffer import ReplayBuffer, Transitions

F64 = torch.float64


def filled(*numbers, capacity=3, **options):
    buffer = ReplayBuffer(capacity=capacity, **{"observation_shape": (2,)} | options)
    buffer.add(**numbered(numbers, **options))
    return buffer


def many(buffer):
    """25 batches of as many rows as are stored. A given row is in none of them with probability e^-25 at most."""
    generator = rng(3)
    batches = [buffer.sample(batch_size=len(buffer), generator=generator) for _ in range(25)]
    return Transitions(*map(torch.cat, zip(*batches, strict=True)))


def expect_stored(buffer, numbers, law, **options):
    __tracebackhide__ = True
    assert len(buffer) == len(numbers), f"{law}: {len(numbers)} are stored, not {len(buffer)}"
    if len(numbers):
        got = many(buffer)
        found = numbers_of(got.rewards)
        assert set(found) == set(numbers), f"{law}: {sorted(numbers)}, not {sorted(set(found))}"
        expect_equal(got._asdict(), numbered(found, **options), "the parts of a row are those of one transition")


# --- worked examples, and agreement with a list -----------------------------------------------------------------------


@pytest.mark.parametrize("added, stored", [
    ([[0, 1]], [0, 1]), ([[0], [1], [2]], [0, 1, 2]), ([[0, 1], [2], [3, 4]], [2, 3, 4]), ([[0, 1, 2], []], [0, 1, 2]),
    ([[0], [1, 2, 3, 4]], [2, 3, 4]), ([[0], [1, 2, 3, 4], [5]], [3, 4, 5]), ([[0, 1, 2, 3, 4, 5, 6], [7]], [5, 6, 7]),
])  # fmt: skip
def test_the_oldest_is_overwritten(added, stored):
    buffer = ReplayBuffer(3, (2,))
    for numbers in added:
        buffer.add(*numbered(numbers).values())
    expect_stored(buffer, stored, "there are three places: the last three are stored")


def test_steps_that_reset_are_left_out():
    # two environments; the second ends with its second step, so that its third one resets and is no transition
    buffer, previous_ends = ReplayBuffer(10, (2,)), torch.tensor([False, False])
    for step, numbers in enumerate([[0, 1], [2, 3], [4, 5], [6, 7]]):
        rows = numbered(numbers)
        rows["rewards"][previous_ends] = float("nan")
        buffer.add(**rows, valid=~previous_ends)
        previous_ends = torch.tensor([False, step == 1])
    expect_stored(buffer, [0, 1, 2, 3, 4, 6, 7], "a row that is not valid is not stored, whatever it holds")


@example(7, (2,), (), torch.float32, [([True], False)] * 20)
@example(1000, (2,), (), torch.float32, [([True, False] * 600, True), ([True] * 700, False)])
@given(
    st.sampled_from([1, 2, 3, 8]), st.sampled_from([(), (1,), (2,), (3, 1, 4)]), st.sampled_from([(), (1,), (2,)]),
    st.sampled_from([torch.float32, F64, torch.uint8]),
    st.lists(st.tuples(st.lists(st.booleans(), max_size=9), st.booleans()), min_size=1, max_size=5),
)  # fmt: skip
def test_the_buffer_holds_what_a_list_holds(capacity, shape, action_shape, dtype, steps):
    options = {"action_shape": action_shape, "action_dtype": torch.float32 if action_shape else torch.int64}
    options |= {"observation_shape": shape, "observation_dtype": dtype}
    buffer, model, number = ReplayBuffer(capacity, **options), [], 0
    for valid, told in steps:
        numbers = range(number, number := number + len(valid))
        buffer.add(**numbered(numbers, **options), valid=torch.tensor(valid).bool() if told else None)
        model = [*model, *(n for n, kept in zip(numbers, valid, strict=True) if kept or not told)][-capacity:]
        expect_stored(buffer, model, f"the last {capacity} valid", **options)


def test_memory_is_allocated_once():
    buffer = ReplayBuffer(4, (3, 2), action_shape=(5,), action_dtype=torch.float16, observation_dtype=torch.uint8)
    expected = [((4, 3, 2), torch.uint8), ((4, 5), torch.float16), ((4,), torch.float32), ((4, 3, 2), torch.uint8)]
    assert [(part.shape, part.dtype) for part in buffer.memory] == [*expected, ((4,), torch.bool)], "`capacity` rows"
    assert (buffer.capacity, len(buffer)) == (4, 0), "`capacity` can be read, and nothing is stored yet"
    buffer = filled(0, 1)
    places = [part.data_ptr() for part in buffer.memory]
    buffer.add(**numbered(range(9))), buffer.load_state_dict(filled(1, 2).state_dict())
    assert [part.data_ptr() for part in buffer.memory] == places, "rows are written into the memory that is there"
    assert all(part.is_meta for part in ReplayBuffer(5, (2,), device="meta").memory), "on the device asked for"


@pytest.mark.parametrize("dtype", [torch.float16, F64])
def test_rows_are_converted_and_record_no_gradient(dtype):
    buffer = ReplayBuffer(1, (2,), observation_dtype=F64)
    observation, reward = (normal(1, *shape).to(dtype).requires_grad_() for shape in [(2,), ()])
    live = [observation, torch.tensor([7], dtype=torch.int32), reward, torch.tensor([[3, -4]])]
    buffer.add(*live, torch.tensor([True]))
    got, dtypes = list(buffer.sample(1, generator=rng()))[:4], [F64, torch.int64, torch.float32, F64]
    expect_equal(got, [part.to(to) for part, to in zip(live, dtypes, strict=True)], "in the dtypes of the buffer")
    assert not any(part.requires_grad for part in got), "the graph of every step would be kept: detach"


def test_the_buffer_shares_no_memory():
    buffer, rows = filled(), numbered([0, 1, 2])
    buffer.add(**rows)
    for part in (*rows.values(), *buffer.sample(3, generator=rng()), *buffer.sample(1, generator=rng())):
        part.fill_(1)
    expect_stored(buffer, [0, 1, 2], "who changes what was added or sampled does not change the buffer")
    sample = buffer.sample(3, generator=rng())
    before = [part.clone() for part in sample]
    buffer.add(**numbered([7, 8, 9]))
    expect_equal(list(sample), before, "a sample stays what it is when its transitions are overwritten")


@pytest.mark.parametrize("numbers", [range(4), range(5, 11)], ids=["not full", "full"])
def test_every_pair_is_equally_likely(numbers):
    # 100 of each of 16 or 36 pairs expected, standard deviation 10, limit 6 of them: one false alarm in ten million
    buffer, generator, counts = filled(*numbers, capacity=6), rng(1), torch.zeros(11, 11)
    for _ in range(100 * len(numbers) ** 2):
        first, second = numbers_of(buffer.sample(2, generator=generator).rewards)
        counts[first, second] += 1
    got = counts[list(numbers)][:, list(numbers)]
    assert (got - 100).abs().max() < 60, f"with replacement, 100 of each pair, not {got.min():g} to {got.max():g}"


def test_randomness_comes_from_the_generator():
    buffer, generator = filled(0, 1, 2, 3, 4, capacity=9), rng(1)
    first, second = (list(buffer.sample(5, generator=generator)) for _ in range(2))
    expect_equal(list(buffer.sample(5, generator=rng(1))), first, "the same seed draws the same rows")
    assert not torch.equal(first[2], second[2]), "two samples of one generator are different ones"


@pytest.mark.parametrize("before", [1, 2, 3, 4, 8])
def test_a_resumed_buffer_is_the_uninterrupted_one(before):
    straight, resumed, numbers = filled(), filled(90, 91, 92, 93), list(range(before))
    for number in numbers:
        straight.add(**numbered([number]))
    torch.save(straight.state_dict(), file := io.BytesIO())
    resumed.load_state_dict(state=torch.load(io.BytesIO(file.getvalue()), weights_only=True))
    for added in ([], [20], [21, 22]):
        straight.add(**numbered(added)), resumed.add(**numbered(added))
        expect_stored(resumed, (numbers := [*numbers, *added])[-3:], "each row goes where it would have gone")
        expect_equal(list(many(resumed)), list(many(straight)), "the same seed draws the same rows from both")


def test_a_saved_state_is_a_copy_both_ways():
    buffer, other = filled(0, 1, 2), filled()
    state = buffer.state_dict()
    buffer.add(**numbered([5, 6, 7]))
    other.load_state_dict(state)
    expect_stored(other, [0, 1, 2], "what is added later does not change an older state")
    other.add(**numbered([8, 9]))
    buffer.load_state_dict(state)
    expect_stored(buffer, [0, 1, 2], "what is added after loading does not change the state that was loaded")


# --- refusals and standing laws ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name, call", [
    ("capacity", lambda buffer: ReplayBuffer(0, (2,))),
    ("rewards", lambda buffer: buffer.add(**numbered([7, 8]) | {"rewards": torch.tensor([1, float("nan")])})),
    ("rewards", lambda buffer: buffer.add(**numbered([7, 8]) | {"rewards": torch.tensor([-1e39, 1], dtype=F64)})),
    ("observations", lambda buffer: buffer.add(**numbered([7, 8], observation_shape=(1,)))),
    ("actions", lambda buffer: buffer.add(**numbered([7, 8], action_shape=(1,)))),
    ("actions", lambda buffer: buffer.add(**numbered([7, 8]) | {"actions": torch.tensor([7.0, 8.0])})),
    ("observations", lambda buffer: ReplayBuffer(3, (2,), observation_dtype=torch.uint8).add(**numbered([7, 8]))),
    *[("batch_size", lambda buffer, n=n: buffer.sample(n, generator=rng())) for n in (0, 3)],
    ("batch_size", lambda buffer: filled().sample(1, generator=rng())),
    *[("capacity", lambda b, c=c: b.load_state_dict(filled(5, capacity=c).state_dict())) for c in (2, 4)],
    ("observation_shape", lambda buffer: buffer.load_state_dict(filled(5, observation_shape=(1,)).state_dict())),
    ("action_shape", lambda buffer: buffer.load_state_dict(filled(5, action_shape=(1,)).state_dict())),
    ("action_dtype", lambda buffer: buffer.load_state_dict(filled(5, action_dtype=torch.int32).state_dict())),
    ("observation_dtype", lambda buffer: buffer.load_state_dict(filled(5, observation_dtype=F64).state_dict())),
])  # fmt: skip
def test_what_is_refused_changes_nothing(name, call):
    buffer = filled(0, 1)
    expect_refused(name, lambda: call(buffer))
    expect_stored(buffer, [0, 1], "after a refusal the buffer holds what it held")


@pytest.mark.parametrize("law", STANDING_LAWS)
def test_standing_laws(law):
    options = {"observation_dtype": F64, "action_dtype": F64}

    def added(observations, *rest, valid):
        buffer = filled(1, 2, capacity=9, **options)
        buffer.add(observations, *rest, valid=valid)
        return [part.to(observations) for part in buffer.sample(2, generator=rng())]

    law(added, *numbered(range(5), **options).values(), valid=torch.tensor([True, False, True, True, False]))
