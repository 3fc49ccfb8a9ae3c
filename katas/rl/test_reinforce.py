"""reinforce: the loss whose gradient is the policy gradient.

Checked against a sum on Python floats, and against the exact gradient of the expected return of a small task, over all
of its episodes. Out of scope: where the baseline comes from.
"""

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from katas.lab.expect import expect_close
from katas.lab.laws import STANDING_LAWS, gradients_are_right
from katas.lab.strategies import normal, rng, seeds
from katas.rl.reinforce import reinforce_loss

F64 = torch.float64


def episodes(lengths, steps=None):
    """The mask of episodes of these lengths, one a column."""
    steps = max(lengths) if steps is None else steps
    return torch.arange(steps)[:, None] < torch.tensor(lengths)


# --- the definition ---------------------------------------------------------------------------------------------------


def loss(log_probs, returns, mask, baselines):
    total = 0.0
    for e in range(log_probs.shape[1]):
        for t in range(log_probs.shape[0]):
            if mask[t, e]:
                total -= float(log_probs[t, e]) * float(returns[t, e] - baselines[t, e])
    return total / log_probs.shape[1]


# --- worked examples --------------------------------------------------------------------------------------------------

LOG_PROBS = [[-0.5, -2.0], [-1.0, -0.25], [-3.0, -4.0]]
RETURNS = [[4.0, 1.0], [2.0, -8.0], [5.0, 3.0]]


@pytest.mark.parametrize("law, lengths, baselines, expected", [
    # first column 2 + 2 + 15 = 19, second 2 - 2 + 12 = 12
    ("summed over steps, averaged over episodes", (3, 3), None, (19 + 12) / 2),
    ("an episode counts as far as it goes", (2, 1), None, (2 + 2 + 2) / 2),
    # returns minus baselines 3, 0, 5 and -1, -9, 1: 1.5 + 0 + 15, and -2 - 2.25 + 4
    ("the baseline is subtracted from the return", (3, 3), [[1.0, 2.0], [2.0, 1.0], [0.0, 2.0]], (16.5 - 0.25) / 2),
    ("the baseline too, as far as the episode goes", (1, 2), [[1.0, 2.0], [2.0, 1.0], [0.0, 2.0]], (1.5 - 4.25) / 2),
])  # fmt: skip
def test_two_episodes_by_hand(law, lengths, baselines, expected):
    log_probs, returns = torch.tensor(LOG_PROBS, dtype=F64), torch.tensor(RETURNS, dtype=F64)
    baselines = None if baselines is None else torch.tensor(baselines, dtype=F64)
    mask = episodes(lengths, steps=3)
    got = reinforce_loss(log_probs=log_probs, returns=returns, mask=mask, baselines=baselines)
    expect_close(got, expected, law)


def test_the_gradient_by_hand():
    # a good action (4) is made more likely: its loss falls as its log-probability rises
    log_probs, returns = torch.tensor([[-0.5, -2.0]], dtype=F64, requires_grad=True), torch.tensor([[4.0, -6.0]])
    reinforce_loss(log_probs, returns.double(), episodes((1, 1))).backward()
    expect_close(log_probs.grad, [[-4 / 2, 6 / 2]], "minus the return, by the number of episodes")


# --- agreement with the definition, and laws --------------------------------------------------------------------------


@given(seeds(), st.lists(st.integers(0, 9), min_size=1, max_size=5), st.sampled_from([1e-3, 500]), st.booleans())
def test_the_loss_agrees_with_the_definition(seed, lengths, scale, with_baselines):
    log_probs, returns, baselines = normal(3, 9, len(lengths), seed=seed)
    log_probs, returns, mask = -log_probs.abs(), scale * returns, episodes(lengths, steps=9)
    mask = mask[torch.randperm(9, generator=rng(seed))]  # which steps count is what the mask says
    baselines = scale * baselines if with_baselines else None
    expected = loss(log_probs, returns, mask, torch.zeros_like(returns) if baselines is None else baselines)
    got = reinforce_loss(log_probs, returns, mask, baselines=baselines)
    expect_close(got, expected, "-1/E times the sum of log_prob * (return - baseline)", rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("with_baselines", [True, False])
@pytest.mark.parametrize("bad", [math.nan, -math.inf, math.inf])
def test_what_lies_outside_the_mask_has_no_influence(bad, with_baselines):
    mask = episodes((2, 4, 1))
    log_probs, returns, baselines = normal(3, *mask.shape)
    baselines = baselines if with_baselines else None
    expected = reinforce_loss(log_probs, returns, mask, baselines=baselines)
    for part in (log_probs, returns, baselines)[: 2 + with_baselines]:
        part[~mask] = bad
    log_probs.requires_grad_()
    got = reinforce_loss(log_probs, returns, mask, baselines=baselines)
    expect_close(got, expected, f"{bad} where no step was made: the loss is the same")
    (slope,) = torch.autograd.grad(got, log_probs)
    expect_close(slope[~mask], [0.0] * 5, f"{bad} where no step was made: its gradient is 0, not 0 × {bad}")


def two_steps(theta):
    """Every episode of a task of two steps: (probability, log-probabilities, returns), by the policy softmax(theta).

    The second state is the first action. Rewards come with either step, or a penalty for two equal actions.
    """
    log_policy = torch.log_softmax(theta, dim=-1)
    for first, second in itertools.product(range(3), range(3)):
        log_probs = torch.stack([log_policy[0, first], log_policy[1 + first, second]])
        rewards = [1.0 + first, 5.0 * second - (7.0 if first == second else 0.0)]
        returns = torch.tensor([sum(rewards), rewards[1]], dtype=F64)
        yield log_probs.sum().exp(), log_probs, returns


@pytest.mark.parametrize("baseline", [None, 0.0, 40.0])
def test_on_average_it_is_the_gradient_of_the_expected_return(baseline):
    theta = normal(4, 3, seed=2).requires_grad_()
    expected_return = sum(probability * returns[0] for probability, _, returns in two_steps(theta))
    (exact,) = torch.autograd.grad(expected_return, theta)
    mean = torch.zeros_like(exact)
    for probability, log_probs, returns in two_steps(theta):
        guess = None if baseline is None else torch.full((2, 1), baseline, dtype=F64)
        one = reinforce_loss(log_probs[:, None], returns[:, None], episodes((2,)), baselines=guess)
        mean += probability.detach() * torch.autograd.grad(one, theta, retain_graph=True)[0]
    expect_close(-mean, exact, f"the mean over all episodes is the policy gradient, whatever the baseline ({baseline})")


def test_a_longer_episode_weighs_more():
    mask = episodes((2, 200))
    log_probs = torch.full(mask.shape, -1.0, dtype=F64, requires_grad=True)
    reinforce_loss(log_probs, torch.ones_like(log_probs), mask).backward()
    expect_close(log_probs.grad.sum(0), [-1.0, -100.0], "each step has the weight 1/E, in a long episode as well")


def test_returns_and_baselines_get_no_gradient():
    mask = episodes((2, 3))
    log_probs, returns, baselines = (part.requires_grad_() for part in normal(3, *mask.shape).unbind())
    reinforce_loss(log_probs, returns, mask, baselines=baselines).backward()
    assert returns.grad is None and baselines.grad is None, "the baseline is a judge: it has a loss of its own"
    reinforce_loss(log_probs, returns, mask).backward()
    assert returns.grad is None, "returns are data"


def test_the_gradient_is_that_of_the_formula():
    mask = episodes((2, 4, 1))
    log_probs, returns, baselines = normal(3, *mask.shape)
    gradients_are_right(lambda x: reinforce_loss(x, returns, mask, baselines=baselines), log_probs)


def test_the_log_probabilities_decide_the_dtype():
    log_probs, returns = normal(2, 3, 2)
    mask = episodes((3, 1))
    for baselines in (returns, None):
        got = reinforce_loss(log_probs.float(), returns, mask, baselines=baselines)
        assert got.dtype == torch.float32, f"float32 log-probabilities, float64 returns: the loss is {got.dtype}"


@pytest.mark.parametrize("shape", [(0, 3), (4, 0), (0, 0)])
def test_no_steps_or_no_episodes_give_zero(shape):
    log_probs = torch.zeros(shape, dtype=F64, requires_grad=True)
    got = reinforce_loss(log_probs, torch.zeros(shape, dtype=F64), torch.ones(shape, dtype=torch.bool))
    expect_close(got, 0.0, f"(T, E) = {shape}: 0 and not NaN")


@pytest.mark.parametrize("law", STANDING_LAWS)
def test_standing_laws(law):
    mask = episodes((2, 5, 4))
    log_probs, returns, baselines = normal(3, *mask.shape)
    law(reinforce_loss, log_probs, returns, mask, baselines=baselines)
    law(reinforce_loss, log_probs, returns, mask)
