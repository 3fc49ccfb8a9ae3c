"""ddim: which timesteps to visit, one step between any two of them, the whole way down, and the way back up.

The clean sample is timestep -1, where the level is 1. A step goes to the next element of the path, not to t - 1. The
definition has its coefficients in Python floats. Out of scope: higher-order solvers, learnt variances.
"""

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from katas.diffusion.ddim import ddim_invert, ddim_sample_loop, ddim_step, ddim_timesteps
from katas.lab.expect import expect_close, expect_equal, expect_fresh_noise, expect_refused
from katas.lab.laws import STANDING_LAWS, memory_layout_does_not_matter
from katas.lab.strategies import normal, rng, seeds

LEVELS = [0.9999, 0.9998, 0.74, 0.55, 0.31, 0.12, 0.02, 1.0]  # the last is that of timestep -1, the clean sample
SCHEDULE = torch.tensor(LEVELS[:-1], dtype=torch.float64)
ETAS = [0, 0.02, 0.4, 1]
PATHS = [[6, 5, 3, 1], [6, 5, 4, 3, 2, 1, 0], [4]]
times = st.sets(st.integers(-1, 6), min_size=2, max_size=2).map(sorted)
sizes = st.sampled_from([((1,), 1), ((3,), 1e-3), ((1000, 2), 1e5), ((2, 4, 3, 2), 1)])


# --- the definition ---------------------------------------------------------------------------------------------------


def sigma(t, t_prev, eta):
    return eta and eta * math.sqrt((1 - LEVELS[t_prev]) / (1 - LEVELS[t]) * (1 - LEVELS[t] / LEVELS[t_prev]))


def step(x, t, t_prev, pred_noise, *, eta=0, noise=0, clip=None):
    signal, spread, drawn = math.sqrt(LEVELS[t]), math.sqrt(1 - LEVELS[t]), sigma(t, t_prev, eta)
    x_start = (x - spread * pred_noise) / signal
    if clip is not None:
        x_start = x_start.clamp(-clip, clip)
        pred_noise = (x - signal * x_start) / spread
    kept = math.sqrt(max(0, 1 - LEVELS[t_prev] - drawn**2))
    return math.sqrt(LEVELS[t_prev]) * x_start + kept * pred_noise + drawn * noise


def predict(x, t):
    return 0.3 * x + 0.1 * t


def network(x, t):
    assert t.dtype == torch.int64 and t.shape == (len(x),), f"t is int64, one per sample: {t.dtype} {tuple(t.shape)}"
    assert not torch.is_grad_enabled(), "no gradient is recorded: those of a thousand steps would fill the memory"
    return predict(x, t.to(x.dtype).reshape(-1, *[1] * (x.dim() - 1)))


# --- timesteps, and one step ------------------------------------------------------------------------------------------


def test_timesteps_fall_evenly_from_the_last():
    # 10 * 4 // 4 - 1, 10 * 3 // 4 - 1, 10 * 2 // 4 - 1, 10 * 1 // 4 - 1
    expect_equal(ddim_timesteps(num_timesteps=10, num_steps=4), [9, 6, 4, 1], "T * (num_steps - i) // num_steps - 1")


@pytest.mark.parametrize("count", [1, 2, 15, 26, 30, 1000, 4000])
def test_timesteps_agree_with_the_definition(count):
    for steps in {*range(1, min(count, 40) + 1), count}:
        expected = [count * (steps - i) // steps - 1 for i in range(steps)]
        expect_equal(ddim_timesteps(count, steps), torch.tensor(expected), f"{count} timesteps in {steps} steps")


@pytest.mark.parametrize("t, t_prev, options, expected, law", [
    # levels 0.64, 0.5, 0.36; x = 1, predicted noise 0.5, fresh noise 2. From 2, x_start = (1 - 0.8 * 0.5) / 0.6 = 1
    (2, 0, {}, 0.8 * 1 + 0.6 * 0.5, "signal and noise of t_prev"),
    # sigma² = 0.5² * 0.36 / 0.64 * (1 - 0.36 / 0.64) = 0.0615234375
    (2, 0, {"eta": 0.5}, 0.8 + math.sqrt(0.36 - 0.0615234375) * 0.5 + math.sqrt(0.0615234375) * 2, "fresh noise"),
    # the noise that belongs to x_start = 0.5 is (1 - 0.6 * 0.5) / 0.8 = 0.875
    (2, 0, {"clip": 0.5}, 0.8 * 0.5 + 0.6 * 0.875, "x_start is cut to clip, and the noise still explains x_t"),
    # from 0, x_start = (1 - 0.6 * 0.5) / 0.8
    (0, -1, {"eta": 0.5}, 0.7 / 0.8, "the clean sample has no noise, whatever eta"),
])  # fmt: skip
def test_a_step_by_hand(t, t_prev, options, expected, law):
    levels, (x, pred, noise) = SCHEDULE.new_tensor([0.64, 0.5, 0.36]), SCHEDULE.new_tensor([[1.0], [0.5], [2.0]])
    got = ddim_step(x_t=x, t=t, t_prev=t_prev, pred_noise=pred, alphas_cumprod=levels, noise=noise, **options)
    expect_close(got, [expected], law)


@given(times, sizes, st.sampled_from(ETAS), st.sampled_from([None, 0, 0.5, 2]), seeds())
def test_a_step_agrees_with_the_definition(times, sizes, eta, clip, seed):
    (t_prev, t), (shape, unit) = times, sizes
    x, pred, noise = unit * normal(3, *shape, seed=seed)
    options = {"eta": eta, "noise": noise, "clip": clip if clip is None else clip * unit}
    got, expected = ddim_step(x, t, t_prev, pred, SCHEDULE, **options), step(x, t, t_prev, pred, **options)
    expect_close(got / unit, expected / unit, f"element by element, with eta = {eta}, clip = {clip} units")


@pytest.mark.parametrize("t", range(1, 7))
def test_eta_1_is_ddpm(t):
    (x, pred, noise), abar, before = normal(3, 5), LEVELS[t], LEVELS[t - 1]
    beta, x_start = 1 - abar / before, (x - math.sqrt(1 - abar) * pred) / math.sqrt(abar)
    mean = (math.sqrt(before) * beta * x_start + math.sqrt(1 - beta) * (1 - before) * x) / (1 - abar)
    expected = mean + math.sqrt(beta * (1 - before) / (1 - abar)) * noise
    expect_close(ddim_step(x, t, t - 1, pred, SCHEDULE, eta=1, noise=noise), expected, "mean and variance of DDPM")


@pytest.mark.parametrize("clip, eta", [(None, 0), (None, 1), (10, 0), (10, 1)])
@pytest.mark.parametrize("dtype, rtol", [("bfloat16", 0.02), ("float16", 5e-3), ("float32", 2e-6), ("float64", 1e-9)])
def test_the_dtype_is_kept_with_all_digits(dtype, rtol, eta, clip):
    # 1 - 0.9998 has four digits in float32, and none in float16
    x, pred, noise = SCHEDULE.new_tensor([[0, 0], [1, 0], [0, 1]])
    expected = step(x, 1, 0, pred, eta=eta, noise=noise, clip=clip).to(getattr(torch, dtype))
    x, pred, noise = (samples.to(expected.dtype) for samples in (x, pred, noise))
    got = ddim_step(x, 1, 0, pred, SCHEDULE, eta=eta, noise=noise, clip=clip)
    expect_close(got, expected, "factors in the dtype of the schedule, cast afterwards", rtol=rtol, atol=0)


def test_rounding_does_not_make_the_root_nan():
    # with abar = 1e-20 and eta = 1, sigma is sqrt(1 - abar_prev); squared, it may come out above 1 - abar_prev
    before = torch.linspace(0.95, 0.05, 200)
    before = before[(1 - before).sqrt() ** 2 > 1 - before]
    levels, one = torch.cat([before, torch.tensor([1e-20])]), torch.ones(1)
    got = [ddim_step(one, len(before), t_prev, one, levels, eta=1, noise=one) for t_prev in range(len(before))]
    assert torch.cat(got).isfinite().all(), f"a root of -1e-8 in a float32 schedule: {torch.cat(got)}"


# --- the way down, and back up ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(2,), (2, 4, 3, 2)])
@pytest.mark.parametrize("clip", [None, 0.4])
@pytest.mark.parametrize("path", PATHS)
def test_each_step_goes_to_the_next_timestep_listed(path, clip, shape):
    x, told, expected = 5 * normal(*shape), [], []
    given = dict(predict_noise=network, x_T=x, alphas_cumprod=SCHEDULE, timesteps=torch.tensor(path))
    got = ddim_sample_loop(clip=clip, on_step=lambda t, x: told.append((t, x.clone())), **given)
    for t, t_prev in pairwise([*path, -1]):
        x = step(x, t, t_prev, predict(x, t), clip=clip)
        expected.append(x)
    assert [t for t, _ in told] == path and {type(t) for t, _ in told} == {int}, "on_step is told t, an int"
    expect_close([x for _, x in told], expected, "a step from x, uncut, with the noise predicted at t")
    expect_close(got, x, "the result is where the last step led, the clean sample")


@pytest.mark.parametrize("eta", ETAS)
@pytest.mark.parametrize("path", PATHS)
def test_a_perfect_predictor_is_led_to_its_answer(path, eta):
    (x, answer), a, s = normal(2, 4, 3), SCHEDULE.sqrt()[:, None], (1 - SCHEDULE).sqrt()[:, None]
    options = {"eta": eta, "generator": rng()}
    got = ddim_sample_loop(lambda x, t: (x - a[t] * answer) / s[t], x, SCHEDULE, torch.tensor(path), **options)
    expect_close(got, answer, "noise that points to one clean sample leads there")


def test_the_noise_of_every_step_is_fresh():
    path, eta, seen = PATHS[0], 0.7, [normal(50, 3, 5, 6)]
    options = {"eta": eta, "generator": rng(6), "on_step": lambda t, x: seen.append(x.clone())}
    ddim_sample_loop(network, seen[0], SCHEDULE, torch.tensor(path), **options)
    noise = [seen[0]]
    for (t, t_prev), (x, after) in zip(pairwise(path), pairwise(seen[:-1]), strict=True):
        noise.append((after - step(x, t, t_prev, predict(x, t), eta=eta)) / sigma(t, t_prev, eta))
    expect_fresh_noise(torch.stack(noise), "what a step adds, over sigma, is standard normal and new each time")


def test_randomness_comes_from_the_generator_alone():
    def sampled(eta, generator):
        return ddim_sample_loop(network, normal(3, 2), SCHEDULE, torch.tensor(PATHS[0]), eta=eta, generator=generator)

    generator = rng(1)
    first, second = sampled(0.5, generator), sampled(0.5, generator)
    expect_equal(sampled(0.5, rng(1)), first, "the same state of the generator gives the same samples")
    assert not torch.equal(first, second), "two batches from one generator are two different batches"
    expect_equal(sampled(0, rng(2)), sampled(0, None), "eta = 0 draws nothing")


@pytest.mark.parametrize("shape", [(2,), (2, 4, 3, 2)])
@pytest.mark.parametrize("path", PATHS)
def test_inversion_predicts_where_each_step_starts(path, shape):
    x, up = normal(*shape), [-1, *reversed(path)]
    for t, t_next in pairwise(up):
        x = step(x, t, t_next, predict(x, max(t, up[1])))  # the clean sample is shown as the least noisy timestep
    expect_close(ddim_invert(network, normal(*shape), SCHEDULE, torch.tensor(path)), x, f"from {up[0]} up to {up[-1]}")


# --- promises of all katas --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name, call", [
    ("num_steps", lambda: ddim_timesteps(10, 0)),
    ("num_steps", lambda: ddim_timesteps(10, 11)),
    ("noise", lambda: ddim_step(normal(2), 4, 2, normal(2), SCHEDULE, eta=0.02)),
    ("generator", lambda: ddim_sample_loop(network, normal(2), SCHEDULE, torch.tensor([4, 2]), eta=0.02)),
])  # fmt: skip
def test_what_cannot_be_is_refused_by_name(name, call):
    expect_refused(name, call)


@pytest.mark.parametrize("law", STANDING_LAWS)
def test_standing_laws(law):
    (x, pred, noise), path = normal(3, 4, 2), torch.tensor([5, 3])
    law(ddim_step, x, 5, 2, pred, SCHEDULE, eta=0.4, noise=noise, clip=0.7)
    law(lambda x: ddim_invert(predict_noise=network, x_start=x, alphas_cumprod=SCHEDULE, timesteps=path), x)
    if law is not memory_layout_does_not_matter:  # `torch.randn_like(x)` draws in the order in which x lies in memory
        law(lambda x_T: ddim_sample_loop(network, x_T, SCHEDULE, path, eta=0.5, generator=rng()), x)
