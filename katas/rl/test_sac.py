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
    mean, log_std = normal(*shape, seed=seed), normal(*shape, seed=seed + 1) / 2
    log_std = log_std[(slice(0, 1),) * (len(shape) - 1)] if shared else log_std  # one for all observations
    got = squashed_gaussian_sample(mean=mean, log_std=log_std, generator=rng(seed))
    assert got.actions.shape == shape and (got.actions.abs() <= 1).all(), f"tanh ends at ±1: {got.actions}"
    expected = density(mean, log_std.expand_as(mean), got.actions)
    expect_close(got.log_probs, expected, "log_probs: the density of these very actions", rtol=1e-5, atol=1e-5)


def test_actions_are_normal_before_the_squashing():
    mean, log_std = normal(40, 30, 2), normal(1, 1, 2, seed=1) / 2
    noise = (squashed_gaussian_sample(mean, log_std, generator=rng(2)).actions.atanh() - mean) / log_std.exp()
    expect_fresh_noise(noise, "(atanh(action) - mean) / std is standard normal, drawn for each element")


def test_the_gradient_goes_through_the_action():
    mean, log_std = (part.requires_grad_() for part in (normal(5, 3), normal(5, 3, seed=1) / 2))
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


def test_extreme_actions_stay_finite():
    mean = torch.tensor([[50.0, -50.0], [1e4, 0.0]], requires_grad=True)
    actions, log_probs = squashed_gaussian_sample(mean, torch.zeros(1, 2), generator=rng())
    (log_probs.sum() + actions.sum()).backward()
    told = f"tanh(50) is 1 in float32; density {log_probs.tolist()}, gradient {mean.grad.tolist()}"
    assert log_probs.isfinite().all() and mean.grad.isfinite().all(), told


def test_the_generator_alone_decides_and_goes_on():
    generator, mean = rng(5), torch.zeros(4, 2)
    first, second = (squashed_gaussian_sample(mean, mean, generator=generator) for _ in range(2))
    expect_equal(squashed_gaussian_sample(mean, mean, generator=rng(5)), first, "the same seed, the same actions")
    assert not torch.equal(first.actions, second.actions), "a second call draws other actions"


# --- agreement with the definitions, and laws -------------------------------------------------------------------------


@given(seeds(), st.sampled_from([1, 2, 7, 500]), st.sampled_from([1e-3, 1, 1e3]), st.sampled_from([0, 0.9, 1]))
def test_losses_agree_with_the_definitions(seed, count, scale, gamma):
    rewards, q1, q2, log_probs = scale * normal(4, count, seed=seed)
    temperature, terminated = torch.tensor(0.1 + seed % 7, dtype=F64), rewards > 0.8 * scale
    got = sac_critic_target(rewards, q1, q2, log_probs, terminated, temperature=temperature, gamma=gamma)
    wanted = targets(rewards, q1, q2, log_probs, terminated, float(temperature), gamma)
    expect_close(got, wanted, "the critics' target")
    got = sac_actor_loss(q1, q2, log_probs, temperature=temperature)
    near = {"rtol": 1e-9, "atol": 1e-9 * scale}
    expect_close(got, actor_loss(q1, q2, log_probs, float(temperature)), "the actor's loss", **near)
    got = temperature_loss(temperature.log(), log_probs, target_entropy=-scale)
    expect_close(got, -float(temperature) * (float(log_probs.mean()) - scale), "the temperature's loss", **near)


def test_the_best_policy_has_the_density_of_the_values():
    # Q = temperature · log density of a policy: that policy loses 0 whatever it draws, any other loses the KL
    mean, log_std = f64(0.4, -0.8), f64(-0.7, 0.1)

    def lost(mean_, log_std_):
        sample = squashed_gaussian_sample(mean_.expand(4000, 2), log_std_.expand(4000, 2), generator=rng(1))
        q = HALF * density(mean, log_std, sample.actions)
        return float(sac_actor_loss(q, q, sample.log_probs, temperature=HALF))

    expect_close(lost(mean, log_std), 0.0, "the policy proportional to exp(Q / temperature)", rtol=0, atol=1e-6)
    kl = float((0.5 / log_std.exp()).square().sum() / 2)  # of two Gaussians whose means are 0.5 apart
    # the mean of 4,000 terms with a standard deviation of 0.55: six standard errors
    assert abs(lost(mean + 0.5, log_std) - 0.5 * kl) < 0.055, "another policy loses temperature · KL"


def test_targets_carry_no_gradient_and_follow_the_rewards():
    parts = [part.requires_grad_() for part in normal(4, 3).unbind()]
    temperature = HALF.clone().requires_grad_()
    got = sac_critic_target(*parts, ENDS, temperature=temperature, gamma=0.9)
    assert not got.requires_grad, "a target that follows critics, policy or temperature is chased: detach"
    got = sac_critic_target(f64(1, 2, 3).float(), *parts[1:], ENDS, temperature=temperature, gamma=0.9)
    assert got.dtype == torch.float32, f"float32 rewards, float64 values: {got.dtype}"
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
