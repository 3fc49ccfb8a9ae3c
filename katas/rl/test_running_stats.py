"""running_stats: mean and variance of a stream of batches, and advantages on one scale.

The definition is the mean and the population variance of all samples at once, in exact fractions. Out of scope:
exponential averages, statistics of rewards.
"""

from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from katas.lab.expect import expect_close, expect_equal, expect_refused
from katas.lab.laws import STANDING_LAWS
from katas.lab.strategies import normal, seeds
from katas.rl.running_stats import RunningMeanStd, normalise_advantages

F64 = torch.float64


def after(*batches, shape=None):
    stats = RunningMeanStd(shape=tuple(batches[0].shape[1:]) if shape is None else shape)
    for batch in batches:
        stats.update(batch=batch)
    return stats


# --- the definition ---------------------------------------------------------------------------------------------------


def moments(numbers):
    """Mean and population variance, exactly, then rounded."""
    exact = [Fraction(number) for number in numbers]
    mean = sum(exact) / len(exact)
    return float(mean), float(sum((one - mean) ** 2 for one in exact) / len(exact))


def all_at_once(batches):
    together = torch.cat(batches).double()
    columns = [moments(column) for column in together.reshape(len(together), -1).T.tolist()]
    return [torch.tensor(part, dtype=F64).reshape(together.shape[1:]) for part in zip(*columns, strict=True)]


# --- worked examples --------------------------------------------------------------------------------------------------


def test_three_batches_by_hand():
    # 1, 3 | 8 | 4, 4: mean 4, squares 9 + 1 + 16 + 0 + 0 = 26, by 5; and 0, 0 | 5 | 0, 10: mean 3, squares 80, by 5
    batches = [[[1, 0], [3, 0]], [[8, 5]], [[4, 0], [4, 10]]]
    stats = after(*(torch.tensor(batch, dtype=F64) for batch in batches))
    assert stats.count == 5, f"2 + 1 + 2 samples, got {stats.count}"
    expect_close(stats.mean, [4, 3], "every sample weighs the same, whatever batch it came in")
    expect_close(stats.var, [26 / 5, 80 / 5], "the population variance: divided by 5, not by 4")
    got = stats.normalise(x=torch.tensor([[4 + 5.2**0.5, 3], [4, -5]], dtype=F64))
    expect_close(got, [[1, 0], [0, -2]], "minus the mean, by the standard deviation", rtol=1e-7, atol=1e-7)


def test_before_the_first_sample_nothing_changes():
    stats = RunningMeanStd((2,))
    expect_equal([stats.mean, stats.var, stats.count], [[0, 0], [1, 1], 0], "mean 0, variance 1, count 0")
    got = stats.normalise(torch.tensor([[3.0, -4.0], [50.0, 0.0]]))
    expect_close(got, torch.tensor([[3.0, -4.0], [10.0, 0.0]]), "x as it was, cut to 10")
    got = stats.normalise(torch.tensor([[3.0, -4.0]]), eps=3)
    expect_close(got, torch.tensor([[1.5, -2.0]]), "eps is added to the variance")
    assert RunningMeanStd((2,), device="meta").mean.is_meta, "the statistics lie on the device that was asked for"


def test_advantages_by_hand():
    # mean 3, squares 4 + 0 + 4 = 8 by 3, and the same numbers in two environments
    got = normalise_advantages(advantages=torch.tensor([[1, 3], [5, 3], [3, 3]], dtype=F64))
    root = (8 / 6) ** 0.5
    expect_close(got, [[-2 / root, 0], [2 / root, 0], [0, 0]], "mean 0 and standard deviation 1 over all together")
    for numbers in (1e8 + torch.arange(4, dtype=F64), 1e-5 * torch.arange(4, dtype=F64)):
        root = (numbers[1] - numbers[0]) * 1.25**0.5  # 0, 1, 2, 3: the variance is 5 / 4
        expect_close(normalise_advantages(numbers), (numbers - numbers.mean()) / (root + 1e-8), "far from 0, and small")
    got = normalise_advantages(torch.tensor([0, 2], dtype=F64), eps=1)
    expect_close(got, [-0.5, 0.5], "eps is added to the standard deviation")


# --- agreement with the definition ------------------------------------------------------------------------------------


@pytest.mark.parametrize("offset, scale", [(0, 1), (1e6, 1e-2), (-3e4, 1e4)])
@given(seeds(), st.lists(st.integers(0, 7), min_size=1, max_size=6), st.sampled_from([(), (1,), (3,), (2, 4)]))
def test_the_stream_agrees_with_all_samples_at_once(offset, scale, seed, counts, shape):
    batches = [offset + scale * normal(count, *shape, seed=seed + n) for n, count in enumerate([1, *counts])]
    stats = after(*batches)
    mean, var = all_at_once(batches)
    assert stats.count == 1 + sum(counts) and stats.mean.shape == shape, f"{stats.count} samples"
    expect_close(stats.mean, mean, "the mean of all samples")
    expect_close(stats.var, var, "the variance of all samples, also far from 0", rtol=1e-6, atol=0)


def test_float32_samples_lose_nothing():
    batches = [1e4 + normal(10, 2, seed=n, dtype=torch.float32) for n in range(300)]
    stats, (mean, var) = after(*batches), all_at_once(batches)
    assert stats.mean.dtype == stats.var.dtype == F64, "the statistics are float64"
    expect_close([stats.mean, stats.var], [mean, var], "in float64, and so as good as exact", rtol=1e-9, atol=0)


@pytest.mark.parametrize("clip", [10.0, 0.5])
def test_normalised_numbers_are_cut(clip):
    stats, options = after(normal(50, 3)), {} if clip == 10 else {"clip": clip}
    got = stats.normalise(torch.tensor([[1e6, -1e6, 0.1]]), **options)
    expect_close(got[0, :2], torch.tensor([clip, -clip]), f"to [-{clip}, {clip}]")


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, F64])
@pytest.mark.parametrize("mean, scale", [(0, 1e-3), (1e4, 8), (1e6, 0.5), (0, 1e3)])
def test_a_sample_or_a_batch_of_any_scale(mean, scale, dtype):
    stats = after(mean + scale * torch.tensor([[-1, 0], [1, 0]], dtype=F64))
    x = (mean + scale * torch.tensor([[0.5, 0], [-0.5, 0]], dtype=F64)).to(dtype).clamp(max=60000)
    root = torch.tensor([scale**2 + 1e-8, 1e-8], dtype=F64).sqrt()
    expected = ((x.double() - mean) / root).clamp(-10, 10).to(dtype)
    expect_close(stats.normalise(x), expected, "(x - mean) / sqrt(var + 1e-8), in float64")
    expect_close(stats.normalise(x[0]), expected[0], "one sample without a batch axis")


def test_constant_observations_stay_finite():
    stats = after(torch.full((9, 2), 7.0))
    expect_close(
        stats.normalise(torch.tensor([[7.0, 8.0]])), torch.tensor([[0.0, 10.0]]), "a variance of 0 is no 0 / 0"
    )
    got = stats.normalise(torch.tensor([[7.0001, 7.0]], dtype=F64))
    expect_close(got, [[1.0, 0.0]], "eps is 1e-8: 0.0001 / sqrt(0 + 1e-8)", rtol=1e-7, atol=1e-7)
    same = torch.full((4,), 3.0)
    expect_close(normalise_advantages(same), torch.zeros(4), "equal advantages: none is better")
    expect_close(normalise_advantages(same[:1]), torch.zeros(1), "one advantage: 0, not NaN")


# --- keeping, refusing, standing laws ---------------------------------------------------------------------------------


def test_looking_teaches_nothing():
    stats = after(normal(9, 3))
    before = stats.state_dict()
    stats.normalise(100 + normal(4, 3))
    expect_equal(stats.state_dict(), before, "normalise changes no statistic: evaluation must not")


def test_a_resumed_stream_is_the_uninterrupted_one():
    first, second = normal(5, 2), 3 + normal(4, 2, seed=1)
    stopped, resumed = after(first), after(100 * normal(9, 2))
    resumed.load_state_dict(state=stopped.state_dict())
    got, expected = resumed.normalise(second), stopped.normalise(second)
    expect_equal(got, expected, "what is loaded is what normalises, at once")
    resumed.update(second)
    expect_equal(resumed.state_dict(), after(first, second).state_dict(), "from there on the stream is the same")


def test_saved_numbers_are_copies_both_ways():
    stats, first = after(normal(5, 2)), after(normal(5, 2)).state_dict()
    saved = stats.state_dict()
    saved["mean"] += 1  # in place
    saved["var"] *= 2
    expect_equal(stats.state_dict(), first, "who changes a saved state does not change the statistics")
    saved = stats.state_dict()
    stats.load_state_dict(saved)
    saved["mean"] += 1
    saved["var"] *= 2
    expect_close(stats.state_dict(), first, "who changes a state after it was loaded does not change the statistics")


def test_the_statistics_follow_no_gradient():
    stats = after(normal(4, 2).requires_grad_())
    assert not stats.mean.requires_grad and not stats.var.requires_grad, "the graph of every batch would be kept"


@pytest.mark.parametrize("name, call", [
    ("clip", lambda: RunningMeanStd((2,)).normalise(normal(3, 2), clip=0)),
    ("clip", lambda: RunningMeanStd((2,)).normalise(normal(3, 2), clip=-0.5)),
    ("batch", lambda: RunningMeanStd((3,)).update(normal(5))),
    ("batch", lambda: RunningMeanStd((3,)).update(normal(5, 1))),
    ("batch", lambda: RunningMeanStd(()).update(normal(5, 3))),
    ("state", lambda: RunningMeanStd((3,)).load_state_dict(RunningMeanStd((1,)).state_dict())),
])  # fmt: skip
def test_what_is_out_of_range_is_refused(name, call):
    expect_refused(name, call)


@pytest.mark.parametrize("law", STANDING_LAWS)
def test_standing_laws(law):
    stats = after(normal(9, 3))
    law(lambda x: stats.normalise(x, clip=2), normal(4, 3))
    law(normalise_advantages, normal(5, 2))
    law(lambda batch: after(batch, shape=(3,)).mean.to(batch), normal(5, 3))
