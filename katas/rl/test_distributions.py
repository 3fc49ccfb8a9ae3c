"""distributions: log-probabilities and entropies of choices and of Gaussians, plain and squashed.

The definitions are sums over Python floats; the squashed density is the slope of its distribution function, in exact
arithmetic where floats end. Out of scope: drawing actions.
"""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from katas.lab.expect import expect_close
from katas.lab.laws import STANDING_LAWS, gradients_are_finite, gradients_are_right
from katas.lab.strategies import normal, rng, tensors
from katas.rl.distributions import categorical_log_prob_entropy, gaussian_log_prob_entropy, tanh_gaussian_log_prob

F64, INF = torch.float64, math.inf
SHAPES = [(), (1,), (5,), (3, 2)]
# Beyond 19 the squared tanh is 1 in float64, and beyond 350 its complement is below the smallest number.
FAR = [0.0, 0.3, -2.0, 9.0, -9.0, 20.0, 90.0, -400.0, 1e4, -1e6]


# --- the definition ---------------------------------------------------------------------------------------------------


def choice(logits, action):
    """(log-probability, entropy) of one choice; a logit of -inf forbids its action."""
    highest = max(logits)
    weights = [math.exp(logit - highest) for logit in logits]
    total = sum(weights)
    entropy = -sum(w / total * (x - highest - math.log(total)) for w, x in zip(weights, logits, strict=True) if w > 0)
    return logits[action] - highest - math.log(total), entropy


def gaussian(mean, log_std, action):
    """(log-probability, entropy) over the dimensions of one action."""
    std = [math.exp(one) for one in log_std]
    squares = [((a - m) / s) ** 2 for a, m, s in zip(action, mean, std, strict=True)]
    log_prob = sum(-q / 2 - math.log(s * math.sqrt(2 * math.pi)) for q, s in zip(squares, std, strict=True))
    return log_prob, sum(0.5 * math.log(2 * math.pi * math.e * s * s) for s in std)


def log_slope(u):
    """log(1 - tanh²(u)) = log(4 / (e^u + e^-u)²), with the larger power taken out."""
    return math.log(4) - 2 * abs(u) - 2 * math.log(1 + math.exp(-2 * abs(u)))


def over_the_batch(rule, *tensors_):
    """The rule for every row: its results, stacked in the shape of the batch."""
    batch = tensors_[0].shape[:-1]
    columns = [t.expand(*batch, t.shape[-1]).reshape(-1, t.shape[-1]).tolist() for t in tensors_]
    return [torch.tensor(part, dtype=F64).reshape(batch) for part in zip(*map(rule, *columns), strict=True)]


# --- worked examples --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("law, logits, action, log_prob, entropy", [
    # e^0 : e^ln 3 is 1 : 3, probabilities 1/4 and 3/4
    ("softmax, then the logarithm", [0, math.log(3)], 1, math.log(3 / 4), 0.25 * math.log(4) + 0.75 * math.log(4 / 3)),
    ("equal logits: the entropy is log K, in nats", [7, 7, 7, 7], 2, math.log(1 / 4), math.log(4)),
    ("a forbidden action adds nothing: 0 log 0 = 0", [0, -INF, math.log(3)], 0, math.log(1 / 4), 0.562335144618808),
    ("and has the log-probability -inf", [0, -INF, 0], 1, -INF, math.log(2)),
    ("large logits do not overflow", [1e4, 0], 1, -1e4, 0),
])  # fmt: skip
def test_choices_by_hand(law, logits, action, log_prob, entropy):
    got = categorical_log_prob_entropy(logits=torch.tensor(logits, dtype=F64), actions=torch.tensor(action))
    expect_close(got.log_prob, torch.tensor(log_prob, dtype=F64), law)
    expect_close(got.entropy, torch.tensor(entropy, dtype=F64), f"{law}: entropy")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_a_forbidden_action_in_narrow_dtypes(dtype):
    logits = torch.tensor([0, -INF, math.log(3)]).to(dtype)
    got = categorical_log_prob_entropy(logits, torch.tensor(0))
    expected = [torch.tensor(number).to(dtype) for number in (math.log(1 / 4), 0.5623351446)]
    expect_close(list(got), expected, f"-1e9 is no number of {dtype}, -inf is", rtol=2e-2, atol=0)


def test_a_gaussian_by_hand():
    # std 1 and e: z = 2 and (3 - 1) / e; log(2 pi) / 2 = 0.918938533
    mean, log_std, actions = (torch.tensor([row], dtype=F64) for row in ([0, 1], [0, 1], [2, 3]))
    got = gaussian_log_prob_entropy(mean=mean, log_std=log_std, actions=actions)
    expected = [-2 - 2 / math.e**2 - 1 - 2 * 0.9189385332046727]
    expect_close(got.log_prob, expected, "-z² / 2 - log std - log(2 pi) / 2, added up over the dimensions")
    expect_close(got.entropy, [1 + 1 + 2 * 0.9189385332046727], "log std + log(2 pi e) / 2, added up")


# --- agreement with the definitions -----------------------------------------------------------------------------------


@given(st.sampled_from(SHAPES), st.integers(1, 6), st.data())
def test_choices_agree_with_the_definition(shape, count, data):
    logits = data.draw(tensors(*shape, count, low=-30, high=30))
    allowed = torch.rand(logits.shape, generator=rng(count)) < 0.7
    allowed[..., 0] = True
    logits = logits.masked_fill(~allowed, -INF)
    actions = torch.randint(count, shape, generator=rng(1))
    expected = over_the_batch(lambda row, a: choice(row, int(a[0])), logits, actions[..., None].double())
    got = categorical_log_prob_entropy(logits, actions)
    expect_close(list(got), expected, "log p of the action taken; -sum p log p")


@given(st.sampled_from(SHAPES), st.integers(1, 4), st.booleans(), st.data())
def test_gaussians_agree_with_the_definition(shape, count, shared, data):
    mean, actions = (data.draw(tensors(*shape, count)) for _ in range(2))
    own = [*shape[:-1], 1] if shared and shape else shape  # shared along the last axis of the batch
    log_std = data.draw(tensors(*own, count, low=-25, high=8))
    expected = over_the_batch(gaussian, mean, log_std, actions)
    got = gaussian_log_prob_entropy(mean, log_std, actions)
    assert got.entropy.shape == shape, f"one entropy for each of the batch {shape}: {tuple(got.entropy.shape)}"
    expect_close(list(got), expected, "the sum over the dimensions")


@pytest.mark.parametrize("dtype, rtol", [(torch.float32, 1e-5), (F64, 1e-11)])
@pytest.mark.parametrize("batch", [(), (10,), (5, 2)])
def test_squashed_gaussians_agree_with_the_definition(batch, dtype, rtol):
    u = torch.tensor([FAR, [0.7] * 10], dtype=dtype).T  # two dimensions, the second one near
    u = u[5] if batch == () else u.reshape(*batch, 2)
    mean, log_std = u + normal(*batch, 2, dtype=dtype), normal(*[1] * len(batch), 2, seed=1, dtype=dtype)
    got = tanh_gaussian_log_prob(mean=mean, log_std=log_std, pre_tanh=u)
    (expected,) = over_the_batch(lambda m, s, u: [gaussian(m, s, u)[0] - sum(map(log_slope, u))], mean, log_std, u)
    law = "the Gaussian's log-probability minus sum log(1 - tanh²)"
    expect_close(got.double(), expected, law, rtol=rtol, atol=10 * rtol)


# --- laws -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mean, log_std", [(0.0, 0.0), (0.8, -1.0), (-3.0, 0.5)])
def test_probabilities_of_a_squashed_action_add_up_to_one(mean, log_std):
    # the substitution a = tanh(u) turns the integral over (-1, 1) into one over u, with the slope
    u = torch.linspace(-15, 15, 60_001, dtype=F64)[:, None]
    density = tanh_gaussian_log_prob(torch.full_like(u, mean), torch.full((1, 1), log_std, dtype=F64), u).exp()
    total = torch.trapezoid(density * (1 - u[:, 0].tanh() ** 2), u[:, 0])
    expect_close(float(total), 1.0, "a density over (-1, 1) has the integral 1", rtol=1e-6, atol=0)


def test_gradients_are_those_of_the_formulas():
    actions, shared = torch.tensor([2, 0, 1]), normal(1, 2, seed=4)
    for part in range(2):
        gradients_are_right(lambda x, part=part: categorical_log_prob_entropy(x, actions)[part], normal(3, 4))
    gradients_are_right(gaussian_log_prob_entropy, normal(3, 2), shared, normal(3, 2, seed=2))
    gradients_are_right(tanh_gaussian_log_prob, normal(3, 2), shared, normal(3, 2, seed=2))


def test_the_mean_decides_the_dtype():
    mean, log_std, actions = normal(3, 5, 2)
    for fn in (gaussian_log_prob_entropy, tanh_gaussian_log_prob):
        got = fn(mean.float(), log_std, actions.float())
        dtypes = {part.dtype for part in (got if isinstance(got, tuple) else (got,))}
        assert dtypes == {torch.float32}, f"float32 mean, float64 log_std: {dtypes}"


def test_gradients_are_finite_at_the_ends():
    logits = torch.tensor([[0.0, -INF, 1.0], [-INF, 3.0, -INF], [800.0, -800.0, 0.0]])
    gradients_are_finite(lambda x: categorical_log_prob_entropy(x, torch.tensor([0, 1, 2])), logits)
    both = categorical_log_prob_entropy(logits.requires_grad_(), torch.tensor([0, 1, 2]))
    (gradient,) = torch.autograd.grad(sum(part.sum() for part in both), logits)
    assert not gradient[logits == -INF].any(), f"a forbidden action gets the gradient 0, got {gradient.tolist()}"
    u = torch.tensor(FAR)[:, None]
    gradients_are_finite(tanh_gaussian_log_prob, u.clone(), torch.zeros(1, 1), u)


@pytest.mark.parametrize("law", STANDING_LAWS)
def test_standing_laws(law):
    mean, log_std, actions = normal(3, 5, 2)
    law(categorical_log_prob_entropy, normal(5, 4), torch.tensor([3, 0, 1, 2, 3]))
    law(gaussian_log_prob_entropy, mean, log_std, actions)
    law(tanh_gaussian_log_prob, mean, log_std, actions)
