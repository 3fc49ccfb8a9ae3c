"""ddpm: one step back, p_sample, and the whole way from noise to samples.

alphas_cumprod holds timesteps 0 ... T - 1. The step from t = 0 leads to the clean sample and adds no noise. The
definition has its coefficients in Python floats. Out of scope: learnt variances, fewer steps than T (see ddim).
"""

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from katas.diffusion.ddpm import fixed_large_variances, p_sample, p_sample_loop
from katas.lab.expect import expect_close, expect_equal, expect_fresh_noise
from katas.lab.laws import STANDING_LAWS, empty_batches_give_empty_results, memory_layout_does_not_matter
from katas.lab.strategies import normal, rng, seeds

LEVELS = [0.9999, 0.9998, 0.74, 0.55, 0.31, 0.12, 0.02, 1.0]  # the last is that of timestep -1, the clean sample
SCHEDULE = torch.tensor(LEVELS[:-1], dtype=torch.float64)
WAY = [6, 5, 4, 3, 2, 1, 0]
NONE = SCHEDULE.new_zeros(7)

sizes = st.sampled_from([((1,), 1), ((3,), 1e-3), ((4, 4), 1), ((1000, 2), 1e5), ((2, 4, 3, 2), 1)])


# --- the definition ---------------------------------------------------------------------------------------------------


def beta(t):
    return 1 - LEVELS[t] / LEVELS[t - 1]


def small(t):
    return beta(t) * (1 - LEVELS[t - 1]) / (1 - LEVELS[t])


def step(x, t, pred_noise, *, noise=0, variance=0, clip=None):
    abar, before = LEVELS[t], LEVELS[t - 1]
    guess = (x - math.sqrt(1 - abar) * pred_noise) / math.sqrt(abar)
    if clip is not None:
        guess = guess.clamp(-clip, clip)
    mean = (math.sqrt(before) * beta(t) * guess + math.sqrt(1 - beta(t)) * (1 - before) * x) / (1 - abar)
    return mean + (math.sqrt(variance) * noise if t > 0 else 0)


def predict(x, t):
    return 0.3 * x + 0.1 * t


def network(x, t):
    assert t.dtype == torch.int64 and t.shape == (len(x),), f"t is int64, one per sample: {t.dtype} {tuple(t.shape)}"
    assert not torch.is_grad_enabled(), "no gradient is recorded: those of a thousand steps would fill the memory"
    return predict(x, t.to(x.dtype).reshape(-1, *[1] * (x.dim() - 1)))


# --- worked examples --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("levels, betas", [
    ([0.9, 0.72, 0.36], [0.1, 0.2, 0.5]),  # 1 - 0.9 / 1, 1 - 0.72 / 0.9, 1 - 0.36 / 0.72
    ([0.99999, 0.9, 0.00009], [1e-5, 1 - 0.9 / 0.99999, 0.9999]),
])  # fmt: skip
def test_the_large_variances_are_the_betas(levels, betas):
    got = fixed_large_variances(alphas_cumprod=SCHEDULE.new_tensor(levels))
    expect_close(got, betas, "beta_t = 1 - alphas_cumprod[t] / alphas_cumprod[t-1], uncut", rtol=1e-9, atol=0)


# levels 0.8, 0.36; x = 1, predicted noise 0.25, fresh noise -2. At t = 1 beta = 0.55 and 1 - abar = 0.64.
# guess = (1 - 0.8 * 0.25) / 0.6 = 4/3. mean = sqrt(0.8) * 0.55 / 0.64 * guess + sqrt(0.45) * 0.2 / 0.64 * 1
OF_GUESS, OF_X = math.sqrt(0.8) * 0.55 / 0.64, math.sqrt(0.45) * 0.2 / 0.64


@pytest.mark.parametrize("t, clip, variances, expected, law", [
    (1, None, [0, 0], OF_GUESS * 4 / 3 + OF_X, "the mean of the posterior at the guess"),
    (1, None, [7, 0.25], OF_GUESS * 4 / 3 + OF_X - 2 * 0.5, "the root of variances[t] times the noise"),
    (1, None, None, OF_GUESS * 4 / 3 + OF_X - 2 * math.sqrt(0.55 * 0.2 / 0.64), "the posterior's variance by default"),
    (1, 0.5, [0, 0], OF_GUESS * 0.5 + OF_X, "the guess is cut to clip, the result is not"),
    (0, None, None, (1 - math.sqrt(0.2) * 0.25) / math.sqrt(0.8), "at t = 0 the guess itself, without noise"),
    (0, None, [math.inf, 1], (1 - math.sqrt(0.2) * 0.25) / math.sqrt(0.8), "at t = 0 whatever variances[0] is"),
    (0, None, [math.nan, 1], (1 - math.sqrt(0.2) * 0.25) / math.sqrt(0.8), "at t = 0 whatever variances[0] is"),
])  # fmt: skip
def test_a_step_back_by_hand(t, clip, variances, expected, law):
    x, pred, noise = SCHEDULE.new_tensor([[1.0], [0.25], [-2.0]])
    options = {"clip": clip, "variances": variances and SCHEDULE.new_tensor(variances), "noise": noise}
    levels, t = SCHEDULE.new_tensor([0.8, 0.36]), torch.tensor([t])
    expect_close(p_sample(x_t=x, t=t, pred_noise=pred, alphas_cumprod=levels, **options), [expected], law)


# --- one step ---------------------------------------------------------------------------------------------------------


@given(sizes, st.sampled_from([None, 0, 0.5, 2]), st.sampled_from([small, beta, None]), seeds())
def test_a_step_agrees_with_the_definition(sizes, clip, variance, seed):
    (shape, unit), clip = sizes, clip if clip is None else clip * sizes[1]
    (x, pred, noise), t = unit * normal(3, *shape, seed=seed), torch.randint(7, shape[:1], generator=rng(seed))
    variances = None if variance is None else SCHEDULE.new_tensor([variance(i) for i in range(7)])
    got = p_sample(x, t, pred, SCHEDULE, noise=noise, variances=variances, clip=clip)
    rows = zip(x, t.tolist(), pred, noise, strict=True)
    expected = [step(x, t, e, noise=z, variance=(variance or small)(t), clip=clip) for x, t, e, z in rows]
    expect_close(got / unit, torch.stack(expected) / unit, f"each sample at its own timestep, clip = {clip}")


@pytest.mark.parametrize("clip", [None, 10])
@pytest.mark.parametrize("dtype, rtol", [("bfloat16", 0.02), ("float16", 5e-3), ("float32", 2e-6), ("float64", 1e-9)])
def test_the_dtype_is_kept_with_all_digits(dtype, rtol, clip):
    # 1 - 0.9998 has four digits in float32, and none in float16
    x, pred, noise = SCHEDULE.new_tensor([[[0, 0]], [[1, 0]], [[0, 1]]])
    expected = step(x, 1, pred, noise=noise, variance=small(1), clip=clip).to(getattr(torch, dtype))
    x, pred, noise = (samples.to(expected.dtype) for samples in (x, pred, noise))
    got = p_sample(x, torch.tensor([1]), pred, SCHEDULE, noise=noise, clip=clip)
    expect_close(got, expected, "factors in the dtype of the schedule, cast afterwards", rtol=rtol, atol=0)


@pytest.mark.parametrize("t", WAY)
def test_a_step_is_that_of_algorithm_2(t):
    x, pred, noise = normal(3, 1, 5)
    expected = (x - beta(t) / math.sqrt(1 - LEVELS[t]) * pred) / math.sqrt(1 - beta(t)) + math.sqrt(small(t)) * noise
    got = p_sample(x, torch.tensor([t]), pred, SCHEDULE, noise=noise)
    expect_close(got, expected, "(x - beta / sqrt(1 - abar) * pred_noise) / sqrt(1 - beta) + sigma * noise")


@pytest.mark.parametrize("t", WAY[:-1])
def test_standard_normal_data_stays_so_with_large_variances(t):
    (x, noise), variances = normal(2, 1, 5), SCHEDULE.new_tensor([beta(i) for i in range(7)])
    got = p_sample(x, torch.tensor([t]), math.sqrt(1 - LEVELS[t]) * x, SCHEDULE, noise=noise, variances=variances)
    law = "for N(0, 1) data the best prediction is sqrt(1 - abar) x, and x_(t-1) has variance (1 - beta) + beta = 1"
    expect_close(got, math.sqrt(1 - beta(t)) * x + math.sqrt(beta(t)) * noise, law)


# --- the whole way ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(2,), (2, 4, 3, 2)])
@pytest.mark.parametrize("clip", [None, 0.4])
def test_the_way_leads_through_every_timestep(clip, shape):
    x, told, expected = 5 * normal(*shape), [], []
    options = {"clip": clip, "variances": NONE, "on_step": lambda t, x: told.append((t, x.clone()))}
    given = dict(predict_noise=network, x_T=x, alphas_cumprod=SCHEDULE)
    got = p_sample_loop(generator=rng(), **given, **options)
    for t in WAY:
        x = step(x, t, predict(x, t), clip=clip)
        expected.append(x)
    assert [t for t, _ in told] == WAY and {type(t) for t, _ in told} == {int}, "on_step is told t, as an int"
    expect_close([x for _, x in told], expected, "from x_T on, a step from x, uncut, with the noise predicted at t")
    expect_close(got, x, "the result is where the step from t = 0 led, the clean sample")


@pytest.mark.parametrize("variance", [small, beta, None])
def test_the_noise_of_every_step_is_fresh(variance):
    seen, variances = (
        [normal(50, 3, 5, 6)],
        None if variance is None else SCHEDULE.new_tensor(list(map(variance, range(7)))),
    )
    options = {"variances": variances, "on_step": lambda t, x: seen.append(x.clone())}
    p_sample_loop(network, seen[0], SCHEDULE, generator=rng(6), **options)
    noise = [seen[0]]
    for t, (x, after) in zip(WAY[:-1], pairwise(seen[:-1]), strict=True):
        noise.append((after - step(x, t, predict(x, t))) / math.sqrt((variance or small)(t)))
    expect_fresh_noise(torch.stack(noise), "what a step adds, over sigma, is standard normal and new each time")


@pytest.mark.parametrize("T", [2, 7, 1000])
def test_a_perfect_predictor_is_led_to_its_answer(T):
    levels, (x, answer) = torch.linspace(0.999, 0.01, T, dtype=torch.float64), normal(2, 4, 3)
    a, s = levels.sqrt()[:, None], (1 - levels).sqrt()[:, None]
    got = p_sample_loop(lambda x, t: (x - a[t] * answer) / s[t], x, levels, generator=rng())
    expect_close(got, answer, "noise that points to one clean sample leads there")


def test_randomness_comes_from_the_generator_alone():
    def sampled(generator):
        return p_sample_loop(network, normal(3, 2), SCHEDULE, generator=generator)

    generator = rng(1)
    first, second = sampled(generator), sampled(generator)
    expect_equal(sampled(rng(1)), first, "the same state of the generator gives the same samples")
    assert not torch.equal(first, second), "two batches from one generator are two different batches"


# --- promises of all katas --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("law", STANDING_LAWS)
def test_standing_laws(law):
    (x, pred, noise), t = normal(3, 4, 2), torch.tensor([6, 0, 3, 1])
    law(p_sample, x, t, pred, SCHEDULE, noise=noise, clip=0.7)
    if law is not empty_batches_give_empty_results:  # a schedule is no batch
        law(fixed_large_variances, SCHEDULE)
    if law is not memory_layout_does_not_matter:  # `torch.randn_like(x)` draws in the order in which x lies in memory
        law(lambda x_T: p_sample_loop(network, x_T, SCHEDULE, generator=rng()), x)
