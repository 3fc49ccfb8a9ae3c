"""sac: actions with their density, and the three losses.

Checked against loops on Python floats, derivatives by hand, and torch.distributions. Out of scope: loop and networks.
"""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import distributions

from katas.lab.expect import expect_close, expect_equal, expect_fresh_noise, expect_refused
from katas.lab.laws import STANDING_LAWS, gradients_are_right, memory_layout_does_not_matter
from katas.lab.strategies import normal, rng, seeds
from katas.rl.sac import sac_actor_loss, sac_critic_target, squashed_gaussian_sample, temperature_loss

F64 = torch.float64


def f64(*numbers):
    return torch.tensor(numbers, dtype=F64)


# --- the definitions --------------------------------------------------------------------------------------------------


def targets(rewards, q1, q2, log_probs, terminated, temperature, gamma):
    columns = zip(*(part.tolist() for part in (rewards, q1, q2, log_probs, terminated)), strict=True)
    return [r + (0 if end else gamma * (min(a, b) - temperature * logp)) for r, a, b, logp, end in columns]


def actor_loss(q1, q2, log_probs, temperature):
    columns = list(zip(q1.tolist(), q2.tolist(), log_probs.tolist(), strict=True))
    return sum(temperature * logp - min(a, b) for a, b, logp in columns) / len(columns)


def density(mean, log_std, actions):
    """By torch.distributions, from the action back."""
    base = distributions.Normal(mean, log_std.exp())
    squashed = distributions.TransformedDistribution(base, distributions.TanhTransform())
    return distributions.Independent(squashed, 1).log_prob(actions)


# --- worked examples --------------------------------------------------------------------------------------------------

ENDS, HALF = torch.tensor([False, False, True]), torch.tensor(0.5, dtype=F64)


@pytest.mark.parametrize("behind", [100.0, math.nan, math.inf])
def test_the_critics_target_by_hand(behind):
    # lower values 4, -2, minus half the log-probability: 4 + 1 and -2 - 1, and half of it; nothing from behind the end
    q1, q2, log_probs = f64(4, 6, behind), f64(9, -2, behind), f64(-2, 2, behind)
    numbers = {"rewards": f64(1, -2, 3), "next_q1": q1, "next_q2": q2, "next_log_probs": log_probs}
    got = sac_critic_target(**numbers, terminated=ENDS, temperature=HALF, gamma=0.5)
    expect_close(got, [3.5, -3.5, 3], "r + gamma · (the lower value - temperature · log pi), r alone at the end")


def test_the_actors_loss_by_hand():
    # half the log-probability minus the lower value: -1 - 4 = -5, 1 + 2 = 3, -3.5 - 50
    q1, q2, log_probs = (part.requires_grad_() for part in (f64(4, 6, 100), f64(9, -2, 50), f64(-2, 2, -7)))
    temperature = HALF.clone().requires_grad_()
    got = sac_actor_loss(q1=q1, q2=q2, log_probs=log_probs, temperature=temperature)
    expect_close(got, (-5 + 3 - 53.5) / 3, "the mean of temperature · log pi - the lower value")
    got.backward()
    assert q1.grad is not None and q2.grad is not None, "the gradient goes through both critics to the action"
    expect_close(3 * torch.stack([q1.grad, q2.grad]), [[-1, 0, 0], [0, -1, -1]], "actions of higher value: the lower Q")
    expect_close(3 * log_probs.grad, [0.5] * 3, "less certain: a nat of entropy is worth the temperature")
    assert temperature.grad is None, "the policy does not choose what its entropy is worth"
    nothing = sac_actor_loss(q1[:0], q1[:0], q1[:0], temperature=temperature)
    expect_close(nothing, 0.0, "an empty batch: 0 and not NaN")


@pytest.mark.parametrize("law, log_probs, loss", [
    # -2 · mean(log pi - 1)
    ("entropy 3, above the target of -1: the temperature falls", [-2.0, -4.0], 8.0),
    ("entropy -2, below it: the temperature rises", [1.0, 3.0], -2.0),
    ("on target", [0.0, 2.0], 0.0),
])  # fmt: skip
def test_the_temperatures_loss_by_hand(law, log_probs, loss):
    log_temperature = torch.tensor(math.log(2), dtype=F64, requires_grad=True)
    log_probs = f64(*log_probs).requires_grad_()
    got = temperature_loss(log_temperature=log_temperature, log_probs=log_probs, target_entropy=-1)
    expect_close(got, loss, f"{law}: -temperature · mean(log pi + target)")
    got.backward()
    expect_close(log_temperature.grad, loss, f"{law}: a step against the gradient of log_temperature")
    assert log_probs.grad is None, "the policy does not learn from the loss of the temperature"
    got = temperature_loss(log_temperature, log_probs[:0], target_entropy=-1)
    expect_close(got, 0.0, "an empty batch: 0 and not NaN")


# --- actions ----------------------------------------------------------------------------------------------------------


@given(seeds(), st.sampled_from([(1,), (3,), (1, 1), (4, 2), (2, 5, 3)]), st.booleans())
def test_the_density_is_that_of_the_action(seed, shape, shared):
    mean, log_std = (normal(2, *shape, seed=seed) / 2).clamp(-1, 1)  # atanh has no digits left for actions near ±1
    log_std = log_std[(slice(0, 1),) * (len(shape) - 1)] if shared else log_std  # one for all observations
    got = squashed_gaussian_sample(mean=mean, log_std=log_std, generator=rng(seed))
    assert got.actions.shape == shape and (got.actions.abs() <= 1).all(), f"tanh ends at ±1: {got.actions}"
    expected = density(mean, log_std.expand_as(mean), got.actions)
    expect_close(got.log_probs, expected, "log_probs: the density of these very actions", rtol=1e-5, atol=1e-5)


def test_actions_are_normal_before_the_squashing():
    mean, log_std, generator = normal(40, 30, 2), normal(1, 1, 2, seed=1) / 2, rng(2)
    drawn = [squashed_gaussian_sample(mean, log_std, generator=generator).actions for _ in range(2)]
    noise = (torch.stack(drawn).atanh() - mean) / log_std.exp()
    expect_fresh_noise(noise, "(atanh(action) - mean) / std is standard normal, drawn for each element and call")
    again = squashed_gaussian_sample(mean, log_std, generator=rng(2)).actions
    expect_equal(again, drawn[0], "the generator alone decides: the same seed, the same actions")


def test_the_gradient_goes_through_the_action():
    mean, log_std = normal(5, 3).requires_grad_(), (normal(5, 3, seed=1) / 2).requires_grad_()
    actions, log_probs = squashed_gaussian_sample(mean, log_std, generator=rng(3))
    drawn = (torch.atanh(actions) - mean).detach()  # std · noise
    got = torch.autograd.grad(actions.sum(), (mean, log_std), retain_graph=True)
    slope, twice = 1 - actions.detach() ** 2, 2 * actions.detach()
    expect_close(got, (slope, slope * drawn), "with the noise fixed: d tanh = 1 - tanh²", rtol=1e-5, atol=1e-6)
    got = torch.autograd.grad(log_probs.sum(), (mean, log_std))
    expect_close(
        got,
        (twice, twice * drawn - 1),
        "with the noise fixed: d log pi, through the action as well",
        rtol=1e-5,
        atol=1e-6,
    )


@pytest.mark.parametrize("center, log_std", [(0.3, -25.0), (0.0, 3.0), (50.0, 0.0), (-2000.0, 2.0)])
def test_extreme_policies_are_exact(center, log_std):
    mean = torch.full((20_000, 1), center, dtype=F64, requires_grad=True)
    actions, log_probs = squashed_gaussian_sample(mean, torch.full((1, 1), log_std, dtype=F64), generator=rng(1))
    z = torch.linspace(-8, 8, 4001, dtype=F64)  # the mean over the noise, as a sum
    slopes = 2 * (math.log(2) - (u := center + math.exp(log_std) * z) - torch.nn.functional.softplus(-2 * u))
    expected = -log_std - math.log(2 * math.pi * math.e) / 2 - float((torch.softmax(-z * z / 2, dim=0) * slopes).sum())
    off, six_errors = float(log_probs.mean()) - expected, 6 * (2 * math.exp(log_std) + 1) / 20_000**0.5
    assert abs(off) < six_errors, f"the mean of log pi is {expected + off:.2f}, not {expected:.2f}"
    log_probs.sum().backward()
    assert mean.grad.isfinite().all() and (abs(center) < 9 or (actions == math.copysign(1, center)).all()), (
        "tanh, as is"
    )


# --- agreement with the definitions, and laws -------------------------------------------------------------------------


@given(seeds(), st.sampled_from([1, 2, 7, 500]), st.sampled_from([1e-3, 1, 1e3]), st.sampled_from([0, 0.9, 1]))
def test_losses_agree_with_the_definitions(seed, count, scale, gamma):
    rewards, q1, q2, log_probs = scale * normal(4, count, seed=seed)
    temperature, terminated = torch.tensor(10.0 ** (seed % 9 - 4), dtype=F64), rewards > 0.8 * scale
    got = sac_critic_target(rewards, q1, q2, log_probs, terminated, temperature=temperature, gamma=gamma)
    wanted = targets(rewards, q1, q2, log_probs, terminated, float(temperature), gamma)
    expect_close(got, wanted, "the critics' target")
    near = {"rtol": 1e-9, "atol": 1e-9 * scale * (1 + float(temperature))}
    got = sac_actor_loss(q1, q2, log_probs, temperature=temperature)
    expect_close(got, actor_loss(q1, q2, log_probs, float(temperature)), "the actor's loss", **near)
    got = temperature_loss(temperature.log(), log_probs, target_entropy=(aim := scale * (seed % 3 - 1)))
    expect_close(got, -float(temperature) * (float(log_probs.mean()) + aim), "the temperature's loss", **near)


def test_the_best_policy_has_the_density_of_the_values():
    mean, log_std = (part.expand(4000, 2) for part in (f64(0.4, -0.8), f64(-0.7, 0.1)))
    sample = squashed_gaussian_sample(mean, log_std, generator=rng(1))
    q = HALF * density(mean, log_std, sample.actions)
    got = sac_actor_loss(q, q, sample.log_probs, temperature=HALF)
    expect_close(got, 0.0, "the policy proportional to exp(Q / temperature) has nothing to gain", rtol=0, atol=1e-6)


def test_targets_carry_no_gradient_and_follow_the_rewards():
    parts = [part.requires_grad_() for part in normal(4, 3).unbind()]
    got = sac_critic_target(*parts, ENDS, temperature=(temperature := HALF.clone().requires_grad_()), gamma=0.9)
    assert not got.requires_grad, "a target that follows critics, policy or temperature is chased: detach"
    got = sac_critic_target(f64(1, 2, 3).float(), *parts[1:], ENDS, temperature=temperature, gamma=0.9)
    assert got.dtype == torch.float32, f"float32 rewards, float64 values: {got.dtype}"
    got = sac_actor_loss(parts[0].float(), *parts[1:3], temperature=temperature)
    assert got.dtype == torch.float32, f"float32 values, float64 log-probabilities: {got.dtype}"
    got = squashed_gaussian_sample(normal(3, 2).float(), normal(3, 2), generator=rng())
    assert {part.dtype for part in got} == {torch.float32}, f"float32 mean, float64 log_std: {got.log_probs.dtype}"
    gradients_are_right(lambda *parts: sac_actor_loss(*parts, temperature=temperature), *normal(3, 5))


# --- refusals and standing laws ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("gamma", [1.01, -0.01])
def test_a_gamma_out_of_range_is_refused(gamma):
    expect_refused("gamma", lambda: sac_critic_target(*normal(4, 3), ENDS, temperature=HALF, gamma=gamma))


@pytest.mark.parametrize("law", STANDING_LAWS)
def test_standing_laws(law):
    rewards, q1, q2, log_probs = normal(4, 6)
    law(sac_critic_target, rewards, q1, q2, log_probs, rewards > 0, temperature=HALF, gamma=0.9)
    law(sac_actor_loss, q1, q2, log_probs, temperature=HALF)
    law(temperature_loss, HALF, log_probs, target_entropy=-2.0)
    if law is not memory_layout_does_not_matter:  # noise may be drawn in the order of the memory
        law(lambda mean, log_std: squashed_gaussian_sample(mean, log_std, generator=rng(1)), *normal(2, 5, 3))
