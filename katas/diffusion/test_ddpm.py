"""ddpm: one step back, p_sample, and the whole way from noise to samples.

alphas_cumprod holds timesteps 0 ... T - 1; the step from t = 0 leads to the clean sample and adds no noise.
Whole samplers are tested on data whose best noise prediction is a formula: a Gaussian, so that mean and
variance of x are known at every timestep. Out of scope: learnt variances, labels (see guidance), fewer steps
than T (see ddim).
"""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from katas.diffusion.ddpm import fixed_large_variances, p_sample, p_sample_loop
from katas.diffusion.given.gaussians import GaussianMixture
from katas.lab.expect import expect_close, expect_equal
from katas.lab.laws import STANDING_LAWS, memory_layout_does_not_matter
from katas.lab.strategies import seeds, tensors

SCHEDULE = torch.tensor([0.97, 0.9, 0.74, 0.55, 0.31, 0.12, 0.02], dtype=torch.float64)
T = len(SCHEDULE)


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(*shape, seed=0, dtype=torch.float64):
    return torch.randn(shape, generator=rng(seed), dtype=dtype)


def coefficients(t, levels):
    """beta_t, and what multiplies x_start and x_t in the mean of q(x_(t-1) | x_t, x_start)."""
    abar, before = levels[t], levels[t - 1] if t > 0 else 1.0
    alpha = abar / before
    return (
        1 - alpha,
        math.sqrt(before) * (1 - alpha) / (1 - abar),
        math.sqrt(alpha) * (1 - before) / (1 - abar),
    )


def small_variance(t, levels):
    before = levels[t - 1] if t > 0 else 1.0
    return (1 - levels[t] / before) * (1 - before) / (1 - levels[t])


def step_by_definition(x, t, pred_noise, levels, noise, variance, clip):
    guess = (x - math.sqrt(1 - levels[t]) * pred_noise) / math.sqrt(levels[t])
    if clip is not None:
        guess = max(-clip, min(clip, guess))
    _, of_guess, of_x = coefficients(t, levels)
    return of_guess * guess + of_x * x + (math.sqrt(variance) * noise if t > 0 else 0.0)


# --- one step -------------------------------------------------------------------------------------------------------


def test_the_large_variances_are_the_betas():
    # 1 - 0.9 / 1, 1 - 0.72 / 0.9, 1 - 0.36 / 0.72
    levels = torch.tensor([0.9, 0.72, 0.36], dtype=torch.float64)
    expect_close(fixed_large_variances(levels), [0.1, 0.2, 0.5], "beta_t = 1 - alphas_cumprod[t] / alphas_cumprod[t-1]")


def test_a_step_back_by_hand():
    # abar = 0.36 after 0.8, so beta = 0.55 and 1 - abar = 0.64.  guess = (1 - 0.8 * 0.25) / 0.6 = 4/3.
    # mean = sqrt(0.8) * 0.55 / 0.64 * 4/3 + sqrt(0.45) * 0.2 / 0.64 * 1; variance = 0.55 * 0.2 / 0.64
    levels = torch.tensor([0.8, 0.36], dtype=torch.float64)
    x, pred, noise = (torch.tensor([number], dtype=torch.float64) for number in (1.0, 0.25, -2.0))
    expected = (math.sqrt(0.8) * 0.55 * 4 / 3 + math.sqrt(0.45) * 0.2) / 0.64 - 2 * math.sqrt(0.55 * 0.2 / 0.64)
    got = p_sample(x, torch.tensor([1]), pred, levels, noise=noise)
    expect_close(got, [expected], "posterior mean at the guess, plus the posterior's deviation times the noise")


@pytest.mark.parametrize("variances", [None, SCHEDULE], ids=["default variances", "own variances"])
def test_at_t_0_the_guess_itself_comes_out_without_noise(variances):
    x, pred, noise = normal(4, 3), normal(4, 3, seed=1), normal(4, 3, seed=2)
    guess = (x - math.sqrt(0.03) * pred) / math.sqrt(0.97)
    got = p_sample(x, torch.zeros(4, dtype=torch.int64), pred, SCHEDULE, noise=noise, variances=variances)
    expect_close(got, guess, "nothing is added at t = 0")


@pytest.mark.parametrize("clip", [1, 0.3])
def test_the_guess_is_cut_and_not_the_result(clip):
    # pred_noise = 0 makes the guess x / sqrt(abar): 5 / sqrt(0.31) is far outside, and so is what the step
    # leads to
    x, t, zero = torch.tensor([5.0, -5.0, 0.01]).double(), torch.full((3,), 4), torch.zeros(3).double()
    _, of_guess, of_x = coefficients(4, SCHEDULE.tolist())
    expected = [
        of_guess * clip + of_x * 5,
        -of_guess * clip - of_x * 5,
        of_guess * 0.01 / math.sqrt(0.31) + of_x * 0.01,
    ]
    got = p_sample(x, t, zero, SCHEDULE, noise=zero, clip=clip)
    expect_close(got, expected, "x_start is cut to [-clip, clip]; x_(t-1) is not")


def test_every_sample_has_its_own_timestep():
    x, pred, noise, t = normal(3, 3), normal(3, 3, seed=1), normal(3, 3, seed=2), torch.tensor([5, 0, 2])
    options = dict(variances=SCHEDULE)
    together = p_sample(x, t, pred, SCHEDULE, noise=noise, **options)
    alone = [p_sample(x[[i]], t[[i]], pred[[i]], SCHEDULE, noise=noise[[i]], **options) for i in range(3)]
    expect_close(together, torch.cat(alone), "a batch of mixed timesteps is the same as one sample after another")


@given(tensors(4, 2), tensors(4, 2), tensors(4, 2), st.sampled_from([None, 0.5, 2]), st.booleans())
def test_a_step_agrees_with_the_definition(x, pred, noise, clip, large):
    t, levels = torch.tensor([6, 0, 3, 1]), SCHEDULE.tolist()
    variances = torch.tensor([coefficients(s, levels)[0] for s in range(T)], dtype=torch.float64) if large else None
    expected = [
        step_by_definition(
            x[i, j].item(), int(t[i]), pred[i, j].item(), levels, noise[i, j].item(),
            variances[t[i]].item() if large else small_variance(int(t[i]), levels), clip,
        )
        for i in range(4) for j in range(2)
    ]  # fmt: skip
    got = p_sample(x, t, pred, SCHEDULE, noise=noise, variances=variances, clip=clip)
    expect_close(got, torch.tensor(expected, dtype=torch.float64).reshape(4, 2), "element by element")


def test_a_clip_of_0_leaves_nothing_of_the_guess():
    x, nothing = normal(3), torch.zeros(3, dtype=torch.float64)
    _, _, of_x = coefficients(4, SCHEDULE.tolist())
    got = p_sample(x, torch.full((3,), 4), nothing, SCHEDULE, noise=nothing, clip=0)
    expect_close(got, of_x * x, "0 is a bound like any other, and not the absence of one")


@pytest.mark.parametrize("at_0", [math.inf, math.nan, -1.0])
def test_the_variance_at_0_does_not_matter(at_0):
    variances, x = SCHEDULE.clone(), normal(2)
    variances[0] = at_0
    got = p_sample(x, torch.tensor([0, 0]), 0 * x, SCHEDULE, noise=x, variances=variances)
    expect_close(got, x / math.sqrt(0.97), "at t = 0 nothing is added, whatever the variances")


def test_fixed_large_variances_are_not_cut():
    levels = torch.tensor([0.99999, 0.9, 0.00009], dtype=torch.float64)
    expected = [1e-5, 1 - 0.9 / 0.99999, 0.9999]
    expect_close(fixed_large_variances(levels), expected, "beta_t, however small or large", rtol=1e-9, atol=0)


def test_float32_samples_keep_the_digits_of_a_float64_schedule():
    levels, t = torch.tensor([0.9999, 0.9998], dtype=torch.float64), torch.tensor([1])
    x, pred, noise = (torch.tensor([value]) for value in (1.0, 0.5, 0.25))
    exact = p_sample(x.double(), t, pred.double(), levels, noise=noise.double())
    law = "factors in float64, cast afterwards: 1 - 0.9998 has four digits in float32"
    expect_close(p_sample(x, t, pred, levels, noise=noise), exact.float(), law, rtol=2e-6, atol=0)


@pytest.mark.parametrize("shape", [(5,), (5, 1, 3), (5, 2, 3, 4)])
def test_samples_have_any_rank_and_keep_their_dtype(shape):
    x, pred, noise, t = (
        normal(*shape),
        normal(*shape, seed=1),
        normal(*shape, seed=2),
        torch.tensor([0, 6, 2, 1, 6]),
    )
    columns = zip(*(a.reshape(5, -1).T for a in (x, pred, noise)))
    flat = [p_sample(v, t, p, SCHEDULE, noise=n, clip=0.7) for v, p, n in columns]
    got = p_sample(x.float(), t, pred.float(), SCHEDULE, noise=noise.float(), clip=0.7)
    expected = torch.stack(flat, dim=1).reshape(shape).float()
    expect_close(got, expected, "float32 samples with a float64 schedule", rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_the_result_has_the_dtype_of_the_samples(dtype):
    x, t = normal(4, 2, dtype=dtype), torch.tensor([6, 0, 3, 1])
    got = p_sample(x, t, x, SCHEDULE, noise=x, variances=SCHEDULE, clip=1)
    assert got.dtype == dtype, f"samples in {dtype}, schedule and variances in float64, but {got.dtype} came out"


@pytest.mark.parametrize("law", STANDING_LAWS[:5])
def test_standing_laws(law):
    law(fixed_large_variances, SCHEDULE)
    t = torch.tensor([6, 0, 3, 1])
    law(p_sample, normal(4, 2), t, normal(4, 2, seed=1), SCHEDULE, noise=normal(4, 2, seed=2), clip=0.7)
    law(
        p_sample,
        normal(4, 2),
        t,
        normal(4, 2, seed=1),
        SCHEDULE,
        noise=normal(4, 2, seed=2),
        variances=SCHEDULE,
    )


# --- the whole way --------------------------------------------------------------------------------------------------


def no_noise(x, t):
    return torch.zeros_like(x)


def test_the_timesteps_fall_from_the_last_to_0():
    asked, told = [], []

    def predict_noise(x, t):
        asked.append((t.dtype, t.tolist()))
        return torch.zeros_like(x)

    p_sample_loop(predict_noise, normal(2, 3), SCHEDULE, generator=rng(), on_step=lambda t, x: told.append(t))
    expected = [(torch.int64, [t, t]) for t in reversed(range(T))]
    assert asked == expected, f"predict_noise was asked at {asked}, an int64 t for each sample was expected: {expected}"
    assert told == list(reversed(range(T))), f"on_step was told {told}"


def test_the_callback_sees_every_sample_on_its_way():
    seen = []
    got = p_sample_loop(no_noise, normal(3, 2), SCHEDULE, generator=rng(), on_step=lambda t, x: seen.append(x.clone()))
    expect_equal(got, seen[-1], "the last sample the callback sees is the result")
    # without predicted noise the guess is x / sqrt(abar), and the last step does nothing but that
    expect_close(got, seen[-2] / math.sqrt(0.97), "the callback sees the sample after the step, not before it")


def test_data_that_is_one_point_is_hit_exactly():
    point = torch.tensor([0.7, -1.3], dtype=torch.float64)

    def predict_noise(x, t):
        abar = SCHEDULE[t][:, None]
        return (x - abar.sqrt() * point) / (1 - abar).sqrt()

    got = p_sample_loop(predict_noise, normal(5, 2), SCHEDULE, generator=rng())
    expect_close(got, point.expand(5, 2), "the last step leads to the clean sample, without noise on it")


DATA = GaussianMixture([1.0], [[0.8, -0.4]], [[[0.5, 0.0], [0.0, 0.05]]])
COUNT = 20_000


def moments_by_recursion(mean, variance, variances):
    """Of x after each step, for data N(mean, variance) in one dimension: every step is linear in x. Starts at
    N(0, 1)."""
    levels, m, v, found = SCHEDULE.tolist(), 0.0, 1.0, []
    for t in reversed(range(T)):
        spread = levels[t] * variance + 1 - levels[t]  # the best guess is mean + slope * (x - sqrt(abar) * mean)
        slope = math.sqrt(levels[t]) * variance / spread
        _, of_guess, of_x = coefficients(t, levels)
        factor = of_guess * slope + of_x
        m = factor * m + of_guess * (mean - slope * math.sqrt(levels[t]) * mean)
        v = factor**2 * v + (variances[t] if t > 0 else 0.0)
        found.append((m, v))
    return found


@pytest.mark.parametrize("large", [False, True], ids=["small variance", "large variance"])
def test_gaussian_data_has_its_exact_mean_and_variance_at_every_timestep(large):
    levels = SCHEDULE.tolist()
    variances = [coefficients(t, levels)[0] if large else small_variance(t, levels) for t in range(T)]
    seen, option = [], torch.tensor(variances, dtype=torch.float64) if large else None
    p_sample_loop(
        lambda x, t: DATA.predict_noise(x, t, SCHEDULE), normal(COUNT, 2, seed=3), SCHEDULE,
        generator=rng(4), variances=option, on_step=lambda t, x: seen.append(x.clone()),
    )  # fmt: skip
    # Normal: the mean errs by sqrt(v / n), the variance by v sqrt(2 / n). 28 figures at 5 deviations each: a
    # false alarm in 60,000 generators, and this one is fixed. The two kinds of variance differ by 20
    # deviations and more.
    for axis in (0, 1):
        exact = moments_by_recursion(float(DATA.mean()[axis]), float(DATA.covariance()[axis, axis]), variances)
        for t, x, (m, v) in zip(reversed(range(T)), seen, exact, strict=True):
            assert abs(x[:, axis].mean() - m) < 5 * math.sqrt(v / COUNT), (
                f"mean {x[:, axis].mean():.4f} after the step from t = {t}: {m:.4f} is exact"
            )
            assert abs(x[:, axis].var() / v - 1) < 5 * math.sqrt(2 / COUNT), (
                f"variance {x[:, axis].var():.4f} after the step from t = {t}: {v:.4f} is exact"
            )


def test_the_noise_of_every_step_and_element_is_fresh():
    seen = [normal(COUNT, 2, seed=5)]
    p_sample_loop(no_noise, seen[0], SCHEDULE, generator=rng(6), on_step=lambda t, x: seen.append(x.clone()))
    noises, levels = [], SCHEDULE.tolist()
    for t, before, after in zip(reversed(range(T)), seen, seen[1:]):
        _, of_guess, of_x = coefficients(t, levels)
        if t > 0:
            mean = (of_guess / math.sqrt(levels[t]) + of_x) * before
            noises.append((after - mean) / math.sqrt(small_variance(t, levels)))
    correlations = torch.cat((seen[0], *noises), dim=1).T.corrcoef().fill_diagonal_(0).abs().max()
    # 91 pairs of independent columns, each sqrt(1 / n) wide: 6 deviations are a false alarm in 5 million
    # generators
    assert correlations < 6 / math.sqrt(COUNT), f"noise of two steps or elements has correlation {correlations:.2f}"


def test_the_samples_of_a_batch_have_noise_of_their_own():
    # x is 0 and so is the prediction: after the first step each row is its noise, times a number
    seen = []
    start = torch.zeros(6, 2000, dtype=torch.float64)
    p_sample_loop(no_noise, start, SCHEDULE, generator=rng(), on_step=lambda t, x: seen.append(x.clone()))
    # 15 pairs of independent rows, each sqrt(1 / n) wide: 6 deviations are a false alarm in 30 million generators
    worst = float(seen[0].corrcoef().fill_diagonal_(0).abs().max())
    assert worst < 6 / 2000**0.5, f"the noise of two samples of a batch has correlation {worst:.2f}"


@pytest.mark.parametrize("shape", [(), (1, 4, 4)], ids=["numbers", "images"])
def test_samples_on_their_way_have_any_rank_and_every_element_its_own_noise(shape):
    # x is 0 and so is the prediction: after the first step each element is its noise, times a number
    seen, start = [], torch.zeros(2000, *shape, dtype=torch.float64)
    got = p_sample_loop(no_noise, start, SCHEDULE, generator=rng(), on_step=lambda t, x: seen.append(x.clone()))
    assert got.shape == start.shape, f"noise of shape {tuple(start.shape)} became samples of {tuple(got.shape)}"
    columns = seen[0].reshape(2000, -1)
    deviation = math.sqrt(small_variance(T - 1, SCHEDULE.tolist()))
    # a deviation errs by 1 / sqrt(2 n), a correlation by 1 / sqrt(n): 6 of them, of 16 and of 120, in 4 million generators
    assert ((columns.std(dim=0) / deviation - 1).abs() < 6 / 4000**0.5).all(), "noise of the posterior's deviation"
    worst = 0.0 if not shape else float(columns.T.corrcoef().fill_diagonal_(0).abs().max())
    assert worst < 6 / 2000**0.5, f"the noise of two pixels of an image has correlation {worst:.2f}"


def test_the_generator_goes_on_from_call_to_call():
    generator = rng()
    first, second = (p_sample_loop(no_noise, normal(3, 2), SCHEDULE, generator=generator) for _ in range(2))
    assert not torch.equal(first, second), "two batches from one generator are two different batches"


def test_each_step_is_that_of_p_sample():
    def predict_noise(x, t):
        return 0.3 * x + 0.1 * t.double()[:, None]

    seen, none = [normal(4, 3, seed=10) * 50], torch.zeros(T, dtype=torch.float64)
    options = dict(variances=none, clip=0.4)
    keep = lambda t, x: seen.append(x.clone())  # noqa: E731
    p_sample_loop(predict_noise, seen[0], SCHEDULE, generator=rng(), on_step=keep, **options)
    for step, x, after in zip(reversed(range(T)), seen, seen[1:]):
        t = torch.full((4,), step)
        expected = p_sample(x, t, predict_noise(x, t), SCHEDULE, noise=0 * x, **options)
        expect_close(after, expected, f"variances and clip reach the step from t = {step}")


def test_the_generator_alone_decides():
    first, again, other = (p_sample_loop(no_noise, normal(3, 2), SCHEDULE, generator=rng(seed)) for seed in (7, 7, 8))
    expect_equal(first, again, "the same generator state gives the same samples")
    assert not torch.equal(first, other), "another seed gives other samples: is the noise taken from the generator?"


# Not the law of the memory layout: `torch.randn_like(x)` draws in the order in which x lies in memory, and may.
@pytest.mark.parametrize("law", [law for law in STANDING_LAWS if law is not memory_layout_does_not_matter])
def test_standing_laws_of_the_whole_way(law):
    def sampled(x_T):
        return p_sample_loop(no_noise, x_T, SCHEDULE, generator=rng(9))

    law(sampled, normal(3, 2))


def test_the_options_reach_every_step():
    wild = normal(6, 3, seed=10) * 50
    got = p_sample_loop(no_noise, wild, SCHEDULE, generator=rng(), clip=0.4)
    assert got.abs().max() <= 0.4 + 1e-9, f"clip = 0.4 bounds the samples, {got.abs().max():.2f} came out"
    assert (got.abs() > 0.4 - 1e-9).any(), "the guess is cut to clip itself"


def test_no_gradient_is_recorded_and_the_dtype_is_kept():
    network, recorded, told = torch.nn.Linear(2, 2), [], []

    def predict_noise(x, t):
        recorded.append(torch.is_grad_enabled() or x.requires_grad)
        return network(x)

    x_T = normal(3, 2, dtype=torch.float32)
    got = p_sample_loop(predict_noise, x_T, SCHEDULE, generator=rng(), on_step=lambda t, x: told.append(type(t)))
    assert not any(recorded), "the network is called without recording a gradient, not detached afterwards"
    assert set(told) == {int}, f"on_step is told t as an int, not {told[0].__name__}"
    assert not got.requires_grad, "sampling records no gradient: a thousand steps of it would fill the memory"
    assert got.dtype == torch.float32, f"float32 noise gives float32 samples, not {got.dtype}"


@given(seeds(), st.integers(2, 4))
def test_any_number_of_timesteps_and_samples(seed, num_timesteps):
    levels = (
        torch.rand(num_timesteps, generator=rng(seed), dtype=torch.float64).sort(descending=True).values * 0.9 + 0.05
    )
    assert p_sample_loop(no_noise, normal(0, 3), levels, generator=rng()).shape == (0, 3), "no samples, no error"
    assert p_sample_loop(no_noise, normal(2, 3), levels, generator=rng()).isfinite().all(), "finite for any schedule"
