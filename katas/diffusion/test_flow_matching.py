"""flow_matching: points on a line from noise to sample, the loss of a velocity, and two solvers that follow it.

The definition goes sample by sample, step by step. Solvers are also held to the exact flow of a Gaussian.
"""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from katas.diffusion.flow_matching import (
    euler_sample_loop,
    flow_matching_loss,
    heun_sample_loop,
    interpolate,
    velocity_target,
)
from katas.lab.expect import expect_close, expect_equal, expect_refused
from katas.lab.laws import STANDING_LAWS, gradients_are_right
from katas.lab.strategies import normal, rng, seeds

F64 = torch.float64
SHAPES = [(), (1,), (3,), (2, 4, 3, 2)]
SOLVERS = [euler_sample_loop, heun_sample_loop]


def numbers(*values):
    return torch.tensor(values, dtype=F64)


# --- the definition ---------------------------------------------------------------------------------------------------


def line(x_start, noise, t):
    """x_t sample by sample, with t in Python floats."""
    samples = zip(x_start, noise, t.tolist(), strict=True)
    return torch.stack([(1 - time) * z + time * x for x, z, time in samples])


def velocity(x, t: float):
    """Depends on place and time: what is shown to it, and when, shows in the samples."""
    return 0.7 * x.sin() + 2 * t**2 - 1


def network(x, t):
    assert t.shape == (len(x),) and t.dtype == x.dtype, f"t is one number a sample, in the dtype of x: {t}"
    assert not torch.is_grad_enabled(), "no gradient is recorded: those of many steps would fill the memory"
    assert (t == t[0]).all(), f"all samples are at the same time: {t}"
    return velocity(x, float(t[0]))


def solved(solver, x, num_steps):
    """After each step: the time, and where the samples are."""
    path, h = [], 1 / num_steps
    for i in range(num_steps):
        slope = velocity(x, i / num_steps)
        if solver is heun_sample_loop:
            slope = (slope + velocity(x + h * slope, (i + 1) / num_steps)) / 2
        x = x + h * slope
        path.append(((i + 1) / num_steps, x))
    return path


# --- the line and the loss --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("t, expected, law", [
    (0.0, 3.0, "t = 0 is pure noise"), (1.0, -1.0, "t = 1 is the clean sample"),
    (0.25, 2.0, "a quarter of the way: 0.75 * 3 + 0.25 * -1"),
])  # fmt: skip
def test_the_line_by_hand(t, expected, law):
    expect_close(interpolate(x_start=numbers(-1), noise=numbers(3), t=numbers(t)), [expected], law)
    expect_close(velocity_target(x_start=numbers(-1), noise=numbers(3)), [-4], "from 3 to -1 in one unit of time")


@given(seeds(), st.sampled_from(SHAPES), st.sampled_from([1, 2, 5]), st.sampled_from([1e-3, 1, 1e4]))
def test_line_and_loss_agree_with_the_definition(seed, shape, batch, unit):
    (x_start, noise), shown = unit * normal(2, batch, *shape, seed=seed), []
    t = torch.rand(batch, generator=rng(seed), dtype=F64).round(decimals=1)  # 0 and 1 are among them
    expect_close(interpolate(x_start, noise, t) / unit, line(x_start, noise, t) / unit, "each sample at its own time")

    def model(x, time):
        shown.append((x, time))
        return x.sin() * unit

    got, x_t = flow_matching_loss(model=model, x_start=x_start, t=t, noise=noise), line(x_start, noise, t)
    errors = (x_t.sin() * unit - (x_start - noise)).square().reshape(batch, -1).mean(dim=1)
    expect_close(got / unit**2, errors / unit**2, "a mean square for every sample")
    assert len(shown) == 1, f"the model is called once, not {len(shown)} times"
    expect_close([part / scale for part, scale in zip(shown[0], (unit, 1), strict=True)], [x_t / unit, t], "x_t and t")


@pytest.mark.parametrize("dtype, rtol", [(torch.float16, 2e-3), (torch.float32, 1e-6)])
def test_times_keep_their_digits(dtype, rtol):
    t = numbers(0.0004, 0.9996)  # 1 - 0.9996 in float16 is 0
    got = interpolate(torch.tensor([1.0, 0.0]).to(dtype), torch.tensor([0.0, 1.0]).to(dtype), t)
    expect_close(
        got, numbers(0.0004, 0.0004).to(dtype), "factors in the dtype of t, cast afterwards", rtol=rtol, atol=0
    )


def test_the_model_alone_learns():
    (x_start, noise), t, weight = normal(2, 3, 4), numbers(0.1, 0.5, 0.9), numbers(0.3)
    gradients_are_right(lambda weight: flow_matching_loss(lambda x, t: weight * x, x_start, t, noise), weight)


# --- samplers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("solver, expected, law", [
    # from x = 2, with velocity x + t in two steps: 2 + (2 + 0) / 2 = 3, then 3 + (3 + 0.5) / 2
    (euler_sample_loop, 4.75, "each step follows the velocity at its beginning: t = 0, then 1/2"),
    # first 2, at 3 and t = 0.5 second 3.5: 2 + 2.75 / 2 = 3.375; then 3.875, at 5.3125 and t = 1 6.3125
    (heun_sample_loop, 3.375 + (3.875 + 6.3125) / 4, "each step follows the mean of the velocities at its two ends"),
])  # fmt: skip
def test_two_steps_by_hand(solver, expected, law):
    expect_close(solver(model=lambda x, t: x + t, noise=numbers(2), num_steps=2), [expected], law)


@pytest.mark.parametrize("num_steps", [1, 2, 3, 7, 49])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("solver", SOLVERS)
def test_every_step_agrees_with_the_definition(solver, shape, num_steps):
    noise, told = normal(2, *shape), []
    got = solver(network, noise, num_steps, on_step=lambda t, x: told.append((t, x.clone())))
    path = solved(solver, noise, num_steps)
    assert [t for t, _ in told] == pytest.approx([t for t, _ in path]), "on_step is told the time that was reached"
    assert type(told[-1][0]) is float and told[-1][0] == 1.0, f"the last step lands on 1.0 exactly: {told[-1][0]!r}"
    expect_close([x for _, x in told], [x for _, x in path], "one step after the other")
    expect_close(got, path[-1][1], "the result is where the last step led")


def test_the_last_call_of_heun_is_at_1_exactly():
    times = []
    heun_sample_loop(lambda x, t: times.append(float(t[0])) or x, numbers(1), 49)
    assert len(times) == 2 * 49 and times[-1] == 1.0, f"two calls a step, and times do not add up errors: {times}"


@pytest.mark.parametrize("num_steps", [1, 4])
def test_a_perfect_model_is_led_to_its_answer(num_steps):
    noise, answer = normal(2, 4, 3)
    got = euler_sample_loop(lambda x, t: (answer - x) / (1 - t[:, None]), noise, num_steps)
    expect_close(got, answer, "one answer only: paths are straight, and Euler makes no error")


@pytest.mark.parametrize("solver, order", [(euler_sample_loop, 1), (heun_sample_loop, 2)])
def test_the_error_falls_with_the_order_of_the_solver(solver, order):
    """For data from N(2, 0.5²) the exact velocity is known, and leads from noise z to 2 + 0.5 z."""

    def exact(x, t):
        t = t[:, None]
        spread = (1 - t) ** 2 + (0.5 * t) ** 2
        return 2 + (0.25 * t - (1 - t)) / spread * (x - 2 * t)

    noise = normal(50, 3)
    coarse, fine = ((solver(exact, noise, steps) - (2 + 0.5 * noise)).abs().mean() for steps in (40, 80))
    expect_close(math.log2(coarse / fine), order, "twice the steps: errors fall by 2 to the order", atol=0.1, rtol=0)


def test_a_step_of_euler_is_a_step_of_ddim():
    """x / (sqrt(abar) + sqrt(1 - abar)) is on the line, at t = sqrt(abar) / (sqrt(abar) + sqrt(1 - abar))."""
    x, weights, told, scale = normal(2, 3), normal(3), [], [math.hypot(i / 5, 1 - i / 5) for i in range(6)]

    def clean(x, i):  # what a network might take for the clean sample
        return (x * weights + i).tanh()

    def model(x, t):
        return (clean(x, round(5 * float(t[0]))) - x) / (1 - t[:, None])

    euler_sample_loop(model, x, 5, on_step=lambda t, x: told.append(x.clone()))
    for i in range(5):
        abar, abar_next = (((j / 5) / scale[j]) ** 2 for j in (i, i + 1))
        x_start, in_ddim = clean(x, i), x / scale[i]
        pred_noise = (in_ddim - math.sqrt(abar) * x_start) / math.sqrt(1 - abar)
        x = scale[i + 1] * (math.sqrt(abar_next) * x_start + math.sqrt(1 - abar_next) * pred_noise)
        expect_close(told[i], x, f"step {i}: DDIM with eta = 0, in other coordinates")


# --- promises of all katas --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name, call", [
    *[("num_steps", lambda solver=solver, n=n: solver(network, normal(2), n)) for solver in SOLVERS for n in (0, -1)],
    ("model", lambda: flow_matching_loss(lambda x, t: x[:, :1], normal(2, 3), numbers(0, 1), normal(2, 3))),
])  # fmt: skip
def test_what_cannot_be_is_refused_by_name(name, call):
    expect_refused(name, call)


@pytest.mark.parametrize("law", STANDING_LAWS)
def test_standing_laws(law):
    (x, noise), t = normal(2, 4, 3), numbers(0.0, 0.2, 0.7, 1.0)
    law(interpolate, x, noise, t)
    law(velocity_target, x, noise)
    law(lambda x, t, noise: flow_matching_loss(lambda x, t: x * t[:, None], x, t, noise), x, t, noise)
    for solver in SOLVERS:
        law(lambda noise, solver=solver: solver(lambda x, t: x * (1 + t[:, None]), noise, 3), noise)
