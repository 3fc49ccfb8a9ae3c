"""objective: random timesteps, three things that a network may be asked for, and the loss of each sample.

The definition is computed in Python floats, element by element. The mean of the loss over the batch is left to the
caller. Weights belong to timesteps, not to places in the batch. Out of scope: learnt variances, other errors.
"""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import chdtri

from katas.diffusion.objective import diffusion_loss, noise_target, sample_timesteps, v_target, x_start_target
from katas.lab.expect import expect_close, expect_equal, expect_refused
from katas.lab.laws import STANDING_LAWS, device_is_followed, global_rng_is_untouched, gradients_are_right
from katas.lab.strategies import normal, rng, seeds

LEVELS = [0.9999, 0.8, 0.36, 0.05]
SCHEDULE = torch.tensor(LEVELS, dtype=torch.float64)
WEIGHTS = SCHEDULE.new_tensor([2.0, 0.5, 1.25, 4.0])
TARGETS = {"noise": noise_target, "x_start": x_start_target, "v": v_target}
DIGITS = {torch.float16: 5e-3, torch.bfloat16: 3e-2, torch.float32: 1e-6, torch.float64: 1e-9}

# Where all sizes are equal, a wrong broadcast raises no error.
sizes = st.sampled_from([((1,), 1), ((3,), 1e-3), ((4, 4), 1), ((1000, 2), 1e5), ((2, 4, 3, 2), 1), ((3, 3, 3, 3), 1)])


# --- the definition ---------------------------------------------------------------------------------------------------


def numbers(what, x_start, t, noise):
    """x_t, or what a network should answer, for every element of every sample."""
    rows = []
    for clean, step, eps in zip(x_start, t.tolist(), noise, strict=True):
        a, s = math.sqrt(LEVELS[step]), math.sqrt(1 - LEVELS[step])
        pairs = zip(clean.flatten().tolist(), eps.flatten().tolist(), strict=True)
        rows.append([{"x_t": a * x + s * z, "noise": z, "x_start": x, "v": a * z - s * x}[what] for x, z in pairs])
    return torch.tensor(rows, dtype=torch.float64).reshape(x_start.shape)


def model(x_t, t):
    """It depends on x_t and on t, element by element."""
    return 0.5 * x_t + 0.3 * t.to(x_t.dtype).reshape(-1, *[1] * (x_t.dim() - 1))


def mean_squares(answers, targets):
    pairs = zip(answers.reshape(len(answers), -1).tolist(), targets.reshape(len(answers), -1).tolist(), strict=True)
    losses = [sum((a - b) ** 2 for a, b in zip(*rows, strict=True)) / len(rows[0]) for rows in pairs]
    return torch.tensor(losses, dtype=torch.float64)


# --- timesteps --------------------------------------------------------------------------------------------------------


def expect_even_counts(outcomes, count):
    """Chi-square of `count` equally likely outcomes: a false alarm once in a million seeds."""
    counts, share = outcomes.bincount(minlength=count), len(outcomes) / count
    score = float(((counts - share) ** 2).sum()) / share
    law = f"each of the {count} outcomes comes about {share:.0f} times"
    assert score < chdtri(max(count - 1, 1), 1e-6), f"{law}, but they came {counts[:30].tolist()} times"


@pytest.mark.parametrize("batch_size, T", [(5, 1), (20_000, 10), (100_000, 4000)])
def test_every_timestep_is_drawn_equally_often(batch_size, T):
    t = sample_timesteps(batch_size=batch_size, num_timesteps=T, generator=rng())
    assert ((t >= 0) & (t < T)).all(), f"timesteps 0 ... {T - 1}, but {int(t.min())} ... {int(t.max())} came out"
    expect_even_counts(t, T)


@pytest.mark.parametrize("batch_size, T", [(3, 3), (4, 2)])
def test_the_samples_of_a_batch_draw_independently(batch_size, T):
    generator = rng()
    batches = torch.stack([sample_timesteps(batch_size, T, generator=generator) for _ in range(800)])
    expect_even_counts(batches @ T ** torch.arange(batch_size), T**batch_size)  # all batches are as likely


def test_the_generator_decides_and_goes_on():
    generator = rng(3)
    first, second = (sample_timesteps(6, 10**6, generator=generator) for _ in range(2))
    expect_equal(sample_timesteps(6, 10**6, generator=rng(3)), first, "the same seed draws the same timesteps")
    assert not torch.equal(first, second), "the next batch from the same generator is another one"


# --- targets ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wanted, expected", [
    ("noise", [[10, 0], [1, 3]]),
    ("x_start", [[1, 2], [0, 1]]),
    # alphas_cumprod 0.36: 0.6 of the noise minus 0.8 of the sample.  0.8: sqrt(0.8) of the noise minus sqrt(0.2)
    ("v", [[6 - 0.8, -1.6], [math.sqrt(0.8), 3 * math.sqrt(0.8) - math.sqrt(0.2)]]),
])  # fmt: skip
def test_targets_by_hand(wanted, expected):
    x_start, noise = SCHEDULE.new_tensor([[1, 2], [0, 1]]), SCHEDULE.new_tensor([[10, 0], [1, 3]])
    got = TARGETS[wanted](x_start=x_start, t=torch.tensor([2, 1]), noise=noise, alphas_cumprod=SCHEDULE)
    expect_close(got, expected, f"what a network that predicts {wanted} should answer")


@pytest.mark.parametrize("wanted", TARGETS)
@given(sizes=sizes, seed=seeds())
def test_targets_agree_with_the_definition(wanted, sizes, seed):
    (shape, unit), t = sizes, torch.randint(4, sizes[0][:1], generator=rng(seed))
    x_start, noise = unit * normal(2, *shape, seed=seed)
    got, expected = TARGETS[wanted](x_start, t, noise, SCHEDULE), numbers(wanted, x_start, t, noise)
    expect_close(got / unit, expected / unit, f"what a network that predicts {wanted} should answer")


@pytest.mark.parametrize("dtype", DIGITS)
@pytest.mark.parametrize("wanted", TARGETS)
def test_targets_keep_the_dtype_and_their_digits(wanted, dtype):
    # 1 - 0.9999 has four digits in float32, and none in float16
    x_start, noise = torch.tensor([[[1, 0]], [[0, 1]]], dtype=dtype)
    expected = numbers(wanted, x_start, torch.tensor([0]), noise).to(dtype)
    got, law = TARGETS[wanted](x_start, torch.tensor([0]), noise, SCHEDULE), "float64 factors, cast afterwards"
    expect_close(got, expected, law, rtol=DIGITS[dtype], atol=0)


# --- loss -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("weights, expected, law", [
    # noise (1, 3): (1 + 9) / 2 = 5.  noise (2, 0): (4 + 0) / 2 = 2.  A mean over the batch would say 3.5.
    (None, [5, 2], "one loss per sample: its squared errors, averaged over its elements"),
    ([2.0, 0.5, 1.25, 4.0], [5 * 4, 2 * 0.5], "times weights[t], here of timesteps 3 and 1"),
])  # fmt: skip
def test_the_loss_of_a_silent_model_by_hand(weights, expected, law):
    x_start, noise = SCHEDULE.new_tensor([[7, 8], [9, 6]]), SCHEDULE.new_tensor([[1, 3], [2, 0]])
    arguments = {"x_start": x_start, "t": torch.tensor([3, 1]), "noise": noise, "alphas_cumprod": SCHEDULE}
    weights = weights and SCHEDULE.new_tensor(weights)
    expect_close(diffusion_loss(model=lambda x_t, t: 0 * x_t, weights=weights, **arguments), expected, law)


def test_model_and_target_are_asked_once():
    asked, told, t, (x_start, noise) = [], [], torch.tensor([2, 0, 2]), normal(2, 3, 2, dtype=torch.float32)

    def recording(calls):
        return lambda *arguments: calls.append(arguments) or arguments[0]

    diffusion_loss(recording(asked), x_start, t, noise, SCHEDULE, target=recording(told))
    assert len(asked) == 1 and len(told) == 1, f"one call for the whole batch, not {len(asked)} and {len(told)}"
    x_t = numbers("x_t", x_start, t, noise).float()
    expect_close(asked[0], (x_t, t), "model(x_t, t), noisy samples in their dtype", rtol=1e-6, atol=1e-6)
    expect_equal(told[0], (x_start, t, noise, SCHEDULE), "target(x_start, t, noise, alphas_cumprod), as they came")


@pytest.mark.parametrize("wanted", TARGETS)
@given(sizes=sizes, weighted=st.booleans(), seed=seeds())
def test_the_loss_agrees_with_the_definition(wanted, sizes, weighted, seed):
    (shape, unit), t = sizes, torch.randint(4, sizes[0][:1], generator=rng(seed))
    x_start, noise = unit * normal(2, *shape, seed=seed)
    options = {"target": TARGETS[wanted], "weights": WEIGHTS if weighted else None}
    expected = mean_squares(model(numbers("x_t", x_start, t, noise), t), numbers(wanted, x_start, t, noise))
    expected = expected * WEIGHTS[t] if weighted else expected
    got = diffusion_loss(model, x_start, t, noise, SCHEDULE, **options)
    expect_close(got / unit**2, expected / unit**2, f"mean square per sample of a model that predicts {wanted}")


@pytest.mark.parametrize("answers", [torch.float32, torch.float64])
@pytest.mark.parametrize("dtype", DIGITS)
def test_the_loss_has_the_dtype_of_the_samples(dtype, answers):
    x_start, t = torch.tensor([[1, 2], [0, 1]], dtype=dtype), torch.tensor([3, 1])
    options = {"target": lambda x_start, t, noise, levels: noise.to(answers), "weights": WEIGHTS}
    got = diffusion_loss(lambda x_t, t: torch.zeros(2, 2, dtype=answers), x_start, t, x_start, SCHEDULE, **options)
    expect_close(
        got, torch.tensor([2.5 * 4, 0.5 * 0.5], dtype=dtype), f"{dtype} samples, {answers} answers and targets"
    )


def test_gradients_reach_the_model():
    (x_start, noise), t = normal(2, 3, 2), torch.tensor([2, 0, 3])

    def loss_of_a_line(slope, bias):
        options = {"target": v_target, "weights": WEIGHTS}
        return diffusion_loss(lambda x_t, t: slope * x_t + bias * t[:, None], x_start, t, noise, SCHEDULE, **options)

    gradients_are_right(loss_of_a_line, SCHEDULE.new_tensor(0.7), SCHEDULE.new_tensor([0.2, -0.4]))


# --- promises of all katas --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("answered, wanted", [((4, 4), (4,)), ((4, 1), (4,)), ((), (4,)), ((2, 3, 1), (2, 3, 4))])
def test_an_answer_of_another_shape_is_refused(answered, wanted):
    x, t = torch.ones(wanted), torch.zeros(wanted[0], dtype=torch.int64)
    expect_refused("model", lambda: diffusion_loss(lambda x_t, t: torch.ones(answered), x, t, x, SCHEDULE))


@pytest.mark.parametrize("law", [global_rng_is_untouched, device_is_followed])
def test_standing_laws_of_timesteps(law):
    law(sample_timesteps, 5, 100, generator=rng())


@pytest.mark.parametrize("target", TARGETS.values())
@pytest.mark.parametrize("law", STANDING_LAWS)
def test_standing_laws(law, target):
    (x_start, noise), t = normal(2, 3, 2, 5), torch.tensor([3, 0, 2])
    law(target, x_start, t, noise, SCHEDULE)
    law(diffusion_loss, model, x_start, t, noise, SCHEDULE, target=target, weights=WEIGHTS)
