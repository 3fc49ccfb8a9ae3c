"""ddim: which timesteps to visit, one step between any two of them, the whole way, and the way back up.

Timestep -1 is the clean sample: what is left of the signal there is 1. A step goes from t to the *previous element* of the
path, not to t - 1. For a Gaussian the best noise prediction is linear in x, so the whole path is known exactly. Out of
scope: higher-order solvers, learnt variances.
"""

import math

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from katas.diffusion.ddim import ddim_invert, ddim_sample_loop, ddim_step, ddim_timesteps
from katas.diffusion.given.gaussians import GaussianMixture
from katas.lab.expect import expect_close, expect_equal
from katas.lab.laws import STANDING_LAWS, memory_layout_does_not_matter
from katas.lab.strategies import tensors

SCHEDULE = torch.tensor([0.97, 0.9, 0.74, 0.55, 0.31, 0.12, 0.02], dtype=torch.float64)
T = len(SCHEDULE)
LEVELS = SCHEDULE.tolist()
ETAS = [0, 0.4, 1]


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(*shape, seed=0):
    return torch.randn(shape, generator=rng(seed), dtype=torch.float64)


def level(t):
    return 1.0 if t < 0 else LEVELS[t]


def sigma_by_definition(t, t_prev, eta):
    abar, before = level(t), level(t_prev)
    return eta * math.sqrt((1 - before) / (1 - abar)) * math.sqrt(1 - abar / before) if eta else 0.0


def step_by_definition(x, t, t_prev, pred_noise, eta, noise, clip):
    abar, before = level(t), level(t_prev)
    guess = (x - math.sqrt(1 - abar) * pred_noise) / math.sqrt(abar)
    if clip is not None and abs(guess) > clip:
        guess = math.copysign(clip, guess)
        pred_noise = (x - math.sqrt(abar) * guess) / math.sqrt(1 - abar)
    sigma = sigma_by_definition(t, t_prev, eta)
    return math.sqrt(before) * guess + math.sqrt(max(0.0, 1 - before - sigma**2)) * pred_noise + sigma * noise


# --- which timesteps ------------------------------------------------------------------------------------------------


def test_timesteps_fall_evenly_from_the_last():
    # 10 * 4 // 4 - 1, 10 * 3 // 4 - 1, 10 * 2 // 4 - 1, 10 * 1 // 4 - 1
    expect_equal(ddim_timesteps(10, 4), [9, 6, 4, 1], "T * (num_steps - i) // num_steps - 1")


@given(st.integers(1, 1000).flatmap(lambda count: st.tuples(st.just(count), st.integers(1, count))))
@example((15, 11)).via("int((S - i) * (T / S)) - 1 is wrong here")
@example((26, 22)).via("linspace(T, T / S, S), and arange(S, 0, -1) * (T / S) in float32, rounded down, are wrong here")
@example((30, 22)).via("linspace(T, 0, S + 1)[:-1], rounded down, is wrong here")
def test_timesteps_agree_with_the_definition(timesteps_and_steps):
    num_timesteps, num_steps = timesteps_and_steps
    expected = [num_timesteps * (num_steps - i) // num_steps - 1 for i in range(num_steps)]
    got = ddim_timesteps(num_timesteps, num_steps)
    expect_equal(got, torch.tensor(expected), "from T - 1 downwards, in integers")


@pytest.mark.parametrize("num_steps", [0, -1, 11])
def test_more_steps_than_timesteps_or_none_are_refused(num_steps):
    with pytest.raises(ValueError, match="num_steps"):
        ddim_timesteps(10, num_steps)


# --- one step -------------------------------------------------------------------------------------------------------


def one(number):
    return torch.tensor([number], dtype=torch.float64)


def test_a_step_by_hand():
    # abar = 0.36 to 0.64, so sqrt is 0.6 to 0.8 and 0.8 to 0.6.  x_start = (1 - 0.8 * 0.5) / 0.6 = 1
    levels = torch.tensor([0.64, 0.5, 0.36], dtype=torch.float64)
    got = ddim_step(one(1.0), 2, 0, one(0.5), levels)
    expect_close(got, [0.8 * 1 + 0.6 * 0.5], "signal of t_prev times x_start, noise of t_prev times pred_noise")


def test_the_last_step_leads_to_the_clean_sample():
    # x_start = (1 - 0.6 * 0.5) / 0.8; at timestep -1 nothing of the noise is left
    levels = torch.tensor([0.64, 0.5, 0.36], dtype=torch.float64)
    for eta in ETAS:
        got = ddim_step(one(1.0), 0, -1, one(0.5), levels, eta=eta, noise=one(3.0))
        expect_close(got, [0.7 / 0.8], f"t_prev = -1 is the clean sample, for eta = {eta} too")


def test_fresh_noise_takes_the_place_of_predicted_noise():
    # 1 - abar: 0.64 after 0.36.  sigma² = 0.25 * 0.36 / 0.64 * (1 - 0.36 / 0.64) = 0.0615234375; x_start is 1 as above
    levels = torch.tensor([0.64, 0.5, 0.36], dtype=torch.float64)
    got = ddim_step(one(1.0), 2, 0, one(0.5), levels, eta=0.5, noise=one(2.0))
    expected = 0.8 + math.sqrt(0.36 - 0.0615234375) * 0.5 + math.sqrt(0.0615234375) * 2
    expect_close(got, [expected], "sqrt(1 - abar_prev - sigma²) * pred_noise + sigma * noise")


@pytest.mark.parametrize("clip", [1, 0.3])
def test_after_the_cut_the_noise_still_explains_x(clip):
    # pred_noise = 0 makes x_start 5 / sqrt(0.31), far outside; the noise that belongs to `clip` is not 0 any more
    x, signal, sigma = torch.tensor([5.0, -5.0, 0.01]).double(), math.sqrt(0.31), math.sqrt(0.69)
    guess = torch.tensor([clip, -clip, 0.01 / signal], dtype=torch.float64)
    expected = math.sqrt(0.9) * guess + math.sqrt(0.1) * (x - signal * guess) / sigma
    got = ddim_step(x, 4, 1, torch.zeros(3).double(), SCHEDULE, clip=clip)
    expect_close(got, expected, "x_start is cut to [-clip, clip] and the noise is computed anew from it")


@given(tensors(2, 3), tensors(2, 3), tensors(2, 3), st.sampled_from(ETAS), st.sampled_from([None, 0.5, 2]), st.data())
def test_a_step_agrees_with_the_definition(x, pred, noise, eta, clip, data):
    t = data.draw(st.integers(0, T - 1), label="t")
    t_prev = data.draw(st.integers(-1, t - 1), label="t_prev")
    numbers = zip(x.flatten().tolist(), pred.flatten().tolist(), noise.flatten().tolist(), strict=True)
    expected = [step_by_definition(a, t, t_prev, eps, eta, z, clip) for a, eps, z in numbers]
    got = ddim_step(x, t, t_prev, pred, SCHEDULE, eta=eta, noise=noise, clip=clip)
    expect_close(
        got, torch.tensor(expected, dtype=torch.float64).reshape(2, 3), "element by element", atol=1e-7, rtol=1e-7
    )


@given(tensors(3), tensors(3), tensors(3), st.integers(1, T - 1))
def test_eta_1_is_ddpm(x, pred, noise, t):
    # mean and variance of q(x_(t-1) | x_t, x_start) at the guess that pred stands for
    abar, before = LEVELS[t], LEVELS[t - 1]
    beta = 1 - abar / before
    guess = (x - math.sqrt(1 - abar) * pred) / math.sqrt(abar)
    mean = math.sqrt(before) * beta / (1 - abar) * guess + math.sqrt(1 - beta) * (1 - before) / (1 - abar) * x
    expected = mean + math.sqrt(beta * (1 - before) / (1 - abar)) * noise
    expect_close(
        ddim_step(x, t, t - 1, pred, SCHEDULE, eta=1, noise=noise), expected, "eta = 1 is DDPM's small variance"
    )


def test_rounding_does_not_make_the_root_nan():
    # at eta = 1, 1 - abar_prev - sigma² is abar (1 - abar_prev)² / (abar_prev (1 - abar)): almost 0 for a small abar
    for abar_prev in torch.linspace(0.05, 0.95, 100):
        levels = torch.stack((abar_prev, torch.tensor(3e-8)))  # in float32
        got = ddim_step(torch.ones(1), 1, 0, torch.ones(1), levels, eta=1, noise=torch.zeros(1))
        assert got.isfinite().all(), (
            f"from {levels[1]:.0e} to {levels[0]:.3f} in float32, eta = 1: {got.item()} came out"
        )


@given(tensors(3), tensors(3), st.integers(-1, T - 1), st.integers(-1, T - 1))
def test_a_step_there_and_back_with_the_same_noise_changes_nothing(x, pred, t, other):
    there = ddim_step(x, t, other, pred, SCHEDULE)
    back = ddim_step(there, other, t, pred, SCHEDULE)
    expect_close(back, x, "up or down: with eta = 0 and the same prediction a step can be undone", atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("shape", [(5,), (5, 1, 3), (5, 2, 3, 4)])
def test_samples_have_any_rank_and_keep_their_dtype(shape):
    x, pred, noise = normal(*shape), normal(*shape, seed=1), normal(*shape, seed=2)
    expected = ddim_step(x.flatten(), 5, 2, pred.flatten(), SCHEDULE, eta=0.4, noise=noise.flatten()).reshape(shape)
    got = ddim_step(x.float(), 5, 2, pred.float(), SCHEDULE, eta=0.4, noise=noise.float())
    expect_close(got, expected.float(), "float32 samples with a float64 schedule", rtol=1e-4, atol=1e-5)


def test_fresh_noise_must_be_given_where_it_is_needed():
    with pytest.raises(ValueError, match="noise"):
        ddim_step(normal(2, 3), 4, 2, normal(2, 3), SCHEDULE, eta=0.5)


@pytest.mark.parametrize("eta", [0, 0.4])
@pytest.mark.parametrize("law", STANDING_LAWS[:5])
def test_standing_laws(law, eta):
    law(ddim_step, normal(4, 2), 5, 2, normal(4, 2, seed=1), SCHEDULE, eta=eta, noise=normal(4, 2, seed=2), clip=0.7)


# --- the whole way --------------------------------------------------------------------------------------------------

PATH = torch.tensor([6, 5, 3, 1])


def no_noise(x, t):
    return torch.zeros_like(x)


def test_each_step_goes_to_the_next_timestep_in_the_list():
    asked, seen = [], []

    def predict_noise(x, t):
        asked.append((t.dtype, t.tolist()))
        return 0.3 * x + 0.1

    x_T = normal(2, 3)
    got = ddim_sample_loop(predict_noise, x_T, SCHEDULE, PATH, on_step=lambda t, x: seen.append((t, x.clone())))
    x, expected = x_T, []
    for t, t_prev in [(6, 5), (5, 3), (3, 1), (1, -1)]:
        x = (math.sqrt(level(t_prev)) / math.sqrt(level(t))) * (
            x - math.sqrt(1 - level(t)) * (0.3 * x + 0.1)
        ) + math.sqrt(1 - level(t_prev)) * (0.3 * x + 0.1)
        expected.append(x)
    assert asked == [(torch.int64, [t, t]) for t in (6, 5, 3, 1)], "int64 t, one for each sample"
    assert [t for t, _ in seen] == [6, 5, 3, 1], f"on_step was told {[t for t, _ in seen]}"
    expect_close(
        [x for _, x in seen], expected, "6 to 5 to 3 to 1 to the clean sample; on_step sees where each step led"
    )
    expect_close(got, expected[-1], "the result is what the last step led to")


DATA = GaussianMixture([1.0], [[0.8, -0.4]], [[[0.5, 0.0], [0.0, 0.05]]])
COUNT = 20_000


def moments_by_recursion(mean, variance, path, eta):
    """Of the samples, for data N(mean, variance) in one dimension: every step is linear in x, which starts at N(0, 1)."""
    m, v = 0.0, 1.0
    for t, t_prev in zip(path, [*path[1:], -1]):
        abar, before, sigma = level(t), level(t_prev), sigma_by_definition(t, t_prev, eta)
        slope = math.sqrt(1 - abar) / (abar * variance + 1 - abar)  # best noise: slope * (x - sqrt(abar) * mean)
        of_noise = math.sqrt(max(0.0, 1 - before - sigma**2)) - math.sqrt(before * (1 - abar) / abar)
        factor = math.sqrt(before / abar) + of_noise * slope
        m = factor * m - of_noise * slope * math.sqrt(abar) * mean
        v = factor**2 * v + sigma**2
    return m, v


@pytest.mark.parametrize("path", [list(range(T))[::-1], [6, 3, 2]], ids=["all timesteps", "three timesteps"])
@pytest.mark.parametrize("eta", ETAS)
def test_gaussian_data_has_its_exact_mean_and_variance(eta, path):
    got = ddim_sample_loop(
        lambda x, t: DATA.predict_noise(x, t, SCHEDULE), normal(COUNT, 2, seed=3), SCHEDULE, torch.tensor(path),
        eta=eta, generator=rng(4),
    )  # fmt: skip
    # Normal: the mean errs by sqrt(v / n), the variance by v sqrt(2 / n). 24 figures in all at 5 deviations: a false alarm in
    # 70,000 generators, and these are fixed.
    for axis in (0, 1):
        m, v = moments_by_recursion(float(DATA.mean()[axis]), float(DATA.covariance()[axis, axis]), path, eta)
        assert abs(got[:, axis].mean() - m) < 5 * math.sqrt(v / COUNT), (
            f"mean {got[:, axis].mean():.4f}, {m:.4f} is exact"
        )
        assert abs(got[:, axis].var() / v - 1) < 5 * math.sqrt(2 / COUNT), (
            f"variance {got[:, axis].var():.4f}, {v:.4f} is exact"
        )


def test_without_eta_the_path_is_determined_by_its_start():
    def sampled(eta, seed):
        return ddim_sample_loop(no_noise, normal(3, 2), SCHEDULE, PATH, eta=eta, generator=rng(seed))

    expect_equal(sampled(0, 1), sampled(0, 2), "eta = 0 draws nothing")
    expect_equal(sampled(0.5, 1), sampled(0.5, 1), "the same generator state gives the same samples")
    assert not torch.equal(sampled(0.5, 1), sampled(0.5, 2)), "eta = 0.5: the noise is taken from the generator"
    generator = rng(1)
    first, second = (
        ddim_sample_loop(no_noise, normal(3, 2), SCHEDULE, PATH, eta=0.5, generator=generator) for _ in range(2)
    )
    assert not torch.equal(first, second), "two batches from one generator are two different batches"
    again = ddim_sample_loop(no_noise, normal(3, 2), SCHEDULE, PATH)
    expect_equal(again, sampled(0, 1), "eta is 0 unless told otherwise, and needs no generator")


def test_the_noise_of_every_step_and_element_is_fresh():
    seen = [normal(COUNT, 2, seed=5)]
    ddim_sample_loop(
        no_noise, seen[0], SCHEDULE, PATH, eta=0.7, generator=rng(6), on_step=lambda t, x: seen.append(x.clone())
    )
    noises = []
    for t, t_prev, before, after in zip([6, 5, 3], [5, 3, 1], seen, seen[1:]):
        noises.append((after - math.sqrt(level(t_prev) / level(t)) * before) / sigma_by_definition(t, t_prev, 0.7))
    columns = torch.cat((seen[0], *noises), dim=1)
    correlations = columns.T.corrcoef().fill_diagonal_(0).abs().max()
    # 28 pairs of independent columns, each sqrt(1 / n) wide: 6 deviations are a false alarm in 10 million generators
    assert correlations < 6 / math.sqrt(COUNT), f"noise of two steps or elements has correlation {correlations:.2f}"


def test_the_samples_of_a_batch_have_noise_of_their_own():
    # x is 0 and so is the prediction: after the first step each row is its noise, times a number
    seen, start = [], torch.zeros(6, 2000, dtype=torch.float64)
    keep = lambda t, x: seen.append(x.clone())  # noqa: E731
    ddim_sample_loop(no_noise, start, SCHEDULE, PATH, eta=1, generator=rng(), on_step=keep)
    # 15 pairs of independent rows, each sqrt(1 / n) wide: 6 deviations are a false alarm in 30 million generators
    worst = float(seen[0].corrcoef().fill_diagonal_(0).abs().max())
    assert worst < 6 / 2000**0.5, f"the noise of two samples of a batch has correlation {worst:.2f}"


@pytest.mark.parametrize("shape", [(), (1, 4, 4)], ids=["numbers", "images"])
def test_samples_on_their_way_have_any_rank_and_every_element_its_own_noise(shape):
    # x is 0 and so is the prediction: after the first step each element is its noise, times a number
    seen, start = [], torch.zeros(2000, *shape, dtype=torch.float64)
    keep = lambda t, x: seen.append(x.clone())  # noqa: E731
    got = ddim_sample_loop(no_noise, start, SCHEDULE, PATH, eta=1, generator=rng(), on_step=keep)
    assert got.shape == start.shape, f"noise of shape {tuple(start.shape)} became samples of {tuple(got.shape)}"
    columns = seen[0].reshape(2000, -1)
    # a deviation errs by 1 / sqrt(2 n), a correlation by 1 / sqrt(n): 6 of them, of 16 and of 120, in 4 million generators
    deviation = sigma_by_definition(6, 5, 1)
    assert ((columns.std(dim=0) / deviation - 1).abs() < 6 / 4000**0.5).all(), "noise of the deviation sigma"
    worst = 0.0 if not shape else float(columns.T.corrcoef().fill_diagonal_(0).abs().max())
    assert worst < 6 / 2000**0.5, f"the noise of two pixels of an image has correlation {worst:.2f}"


def test_fresh_noise_needs_a_generator():
    with pytest.raises(ValueError, match="generator"):
        ddim_sample_loop(no_noise, normal(2, 3), SCHEDULE, PATH, eta=0.5)


def test_a_small_eta_is_not_none():
    x, pred, noise = normal(3), normal(3, seed=1), normal(3, seed=2)
    drawn = ddim_step(x, 4, 2, pred, SCHEDULE, eta=0.02, noise=noise) - ddim_step(x, 4, 2, pred, SCHEDULE)
    assert (drawn.abs() > 1e-4).all(), f"eta = 0.02 adds a little noise, not {drawn.tolist()}"


def test_a_clip_of_0_leaves_nothing_of_the_guess():
    x = normal(3)
    got = ddim_step(x, 4, -1, normal(3, seed=1), SCHEDULE, clip=0)
    expect_close(got, 0 * x, "0 is a bound like any other, and not the absence of one")


def test_a_path_may_have_a_single_timestep():
    x, path = normal(2, 3), torch.tensor([4])
    expect_close(ddim_sample_loop(no_noise, x, SCHEDULE, path), x / math.sqrt(level(4)), "one step down to the sample")
    expect_close(ddim_invert(no_noise, x, SCHEDULE, path), x * math.sqrt(level(4)), "one step up to the noise")


@pytest.mark.parametrize(
    "of_pred, of_noise, eta, clip", [(1, 0, 0, None), (1, 0, 0, 10), (0, 1, 1, None), (1, 0, 1, 10)]
)
def test_float32_samples_keep_the_digits_of_a_float64_schedule(of_pred, of_noise, eta, clip):
    levels = torch.tensor([0.9999, 0.9998], dtype=torch.float64)
    x, pred, noise = torch.tensor([0.0]), torch.tensor([float(of_pred)]), torch.tensor([float(of_noise)])
    options = dict(eta=eta, clip=clip)
    exact = ddim_step(x.double(), 1, 0, pred.double(), levels, noise=noise.double(), **options).float()
    law = "factors in float64, cast afterwards: 1 - 0.9998 has four digits in float32"
    expect_close(ddim_step(x, 1, 0, pred, levels, noise=noise, **options), exact, law, rtol=2e-6, atol=0)


@pytest.mark.parametrize("eta", ETAS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_the_result_has_the_dtype_of_the_samples(dtype, eta):
    x = normal(4, 2).to(dtype)
    got = ddim_step(x, 5, 2, x, SCHEDULE, eta=eta, noise=x, clip=1)
    assert got.dtype == dtype, f"samples in {dtype}, schedule in float64, but {got.dtype} came out"


def test_no_gradient_is_recorded_and_the_callback_is_told_an_int():
    network, recorded, told = torch.nn.Linear(3, 3).double(), [], []

    def predict_noise(x, t):
        recorded.append(torch.is_grad_enabled() or x.requires_grad)
        return network(x)

    ddim_sample_loop(predict_noise, normal(2, 3), SCHEDULE, PATH, on_step=lambda t, x: told.append(type(t)))
    ddim_invert(predict_noise, normal(2, 3), SCHEDULE, PATH)
    assert not any(recorded), "the network is called without recording a gradient, not detached afterwards"
    assert set(told) == {int}, f"on_step is told t as an int, not {told[0].__name__}"


def test_each_step_of_the_way_is_clipped():
    def predict_noise(x, t):
        return 0.3 * x + 0.1

    seen = [normal(4, 3, seed=10) * 50]
    keep = lambda t, x: seen.append(x.clone())  # noqa: E731
    ddim_sample_loop(predict_noise, seen[0], SCHEDULE, PATH, clip=0.4, on_step=keep)
    for t, t_prev, x, after in zip([6, 5, 3, 1], [5, 3, 1, -1], seen, seen[1:]):
        expected = ddim_step(x, t, t_prev, predict_noise(x, t), SCHEDULE, clip=0.4)
        expect_close(after, expected, f"clip reaches the step from t = {t}")


def test_the_options_reach_every_step():
    got = ddim_sample_loop(no_noise, normal(6, 3, seed=10) * 50, SCHEDULE, PATH, clip=0.4)
    assert got.abs().max() <= 0.4 + 1e-9, f"clip = 0.4 bounds the samples, {got.abs().max():.2f} came out"
    assert (got.abs() > 0.4 - 1e-9).any(), "the guess is cut to clip itself"


# --- the way back up ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("first", [0, 1])
def test_inversion_step_by_step(first):
    asked = []

    def predict_noise(x, t):
        assert t.dtype == torch.int64, f"t is an int64 tensor, as in the loop, not {t.dtype}"
        asked.append(t.tolist())
        return 0.3 * x + 0.1 * t.double()[:, None]

    x = x_start = normal(2, 3)
    for t, t_next, at in [(-1, first, first), (first, 3, first), (3, 5, 3), (5, 6, 5)]:
        noise = 0.3 * x + 0.1 * at
        guess = (x - math.sqrt(1 - level(t)) * noise) / math.sqrt(level(t))
        x = math.sqrt(level(t_next)) * guess + math.sqrt(1 - level(t_next)) * noise
    expect_close(
        ddim_invert(predict_noise, x_start, SCHEDULE, torch.tensor([6, 5, 3, first])),
        x,
        f"clean to {first} to 3 to 5 to 6, noise predicted at the start",
    )
    assert asked == [[first, first], [first, first], [3, 3], [5, 5]], (
        f"asked at {asked}: at the last of `timesteps` for the clean sample"
    )


def test_inversion_and_sampling_return_to_the_start_with_many_steps():
    fine = torch.cos(torch.linspace(0.02, 1.55, 400, dtype=torch.float64)) ** 2
    path, x_start = torch.arange(399, -1, -1), DATA.sample(50, rng(1))[0]

    def predict_noise(x, t):
        return DATA.predict_noise(x, t, fine)

    noise = ddim_invert(predict_noise, x_start, fine, path)
    back = ddim_sample_loop(predict_noise, noise, fine, path)
    worst = float((back - x_start).abs().max())
    # right code: 0.008 to 0.014 for 12 sets of samples, half of it with twice the steps; sampling in place of inverting: 1.4
    # and more
    assert worst < 0.05, f"inverted and sampled again, a sample is off by {worst:.3f}"
    assert 0.5 < float(noise[:, 1].std()) < 1.5, "what the inversion arrives at is as wide as standard normal noise"


# Not the law of the memory layout: `torch.randn_like(x)` draws in the order in which x lies in memory, and may.
@pytest.mark.parametrize("law", [law for law in STANDING_LAWS if law is not memory_layout_does_not_matter])
def test_standing_laws_of_the_whole_way(law):
    def some_noise(x, t):
        return 0.1 * x * t[:, None]

    def sampled(x_T):
        return ddim_sample_loop(some_noise, x_T, SCHEDULE, PATH, eta=0.5, generator=rng(9))

    def inverted(x_start):
        return ddim_invert(some_noise, x_start, SCHEDULE, PATH)

    law(sampled, normal(3, 2))
    law(inverted, normal(3, 2))


def test_no_gradient_is_recorded():
    network = torch.nn.Linear(2, 2).double()
    got = ddim_sample_loop(lambda x, t: network(x), normal(3, 2), SCHEDULE, PATH)
    assert not got.requires_grad, "sampling records no gradient: a thousand steps of it would fill the memory"
    got = ddim_invert(lambda x, t: network(x), normal(3, 2), SCHEDULE, PATH)
    assert not got.requires_grad, "nor does inversion"


def test_no_samples_are_no_error():
    assert ddim_sample_loop(no_noise, normal(0, 3), SCHEDULE, PATH, eta=1, generator=rng()).shape == (0, 3)
    assert ddim_invert(no_noise, normal(0, 3), SCHEDULE, PATH).shape == (0, 3)
