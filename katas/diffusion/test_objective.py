"""objective: random timesteps, three things that a network may be asked for, and the loss of every sample.

The loss is one number a sample, averaged over its elements; the mean over the batch is left to the caller. Weights
belong to timesteps, not to places in the batch. Out of scope: learnt variances, other norms than the squared error.
"""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from katas.diffusion.objective import diffusion_loss, noise_target, sample_timesteps, v_target, x_start_target
from katas.lab.expect import expect_close, expect_equal
from katas.lab.laws import STANDING_LAWS, device_is_followed, global_rng_is_untouched, gradients_are_right
from katas.lab.strategies import seeds

LEFT = [0.9999, 0.8, 0.36, 0.05]
ALPHAS_CUMPROD = torch.tensor(LEFT, dtype=torch.float64)
WEIGHTS = [2.0, 0.5, 1.25, 4.0]


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


@st.composite
def cases(draw):
    """Samples and noise of rank 1 to 4 and a timestep each. All sizes are equal: a wrong broadcast raises no error."""
    size, rank = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    t = draw(st.lists(st.integers(0, len(LEFT) - 1), min_size=size, max_size=size))
    x_start, noise = torch.randn(2, *[size] * rank, generator=rng(draw(seeds())), dtype=torch.float64)
    return x_start, torch.tensor(t), noise


def model(x_t, t):
    """Something that depends on x_t and on t, one element at a time."""
    return 0.5 * x_t + 0.3 * t.to(x_t.dtype).reshape(-1, *[1] * (x_t.dim() - 1))


def numbers_by_definition(wanted, x_start, step, noise):
    signal, sigma = math.sqrt(LEFT[step]), math.sqrt(1 - LEFT[step])
    pairs = zip(x_start.flatten().tolist(), noise.flatten().tolist(), strict=True)
    return [
        {"x_t": signal * x + sigma * z, "noise": z, "x_start": x, "v": signal * z - sigma * x}[wanted] for x, z in pairs
    ]


def loss_by_definition(wanted, x_start, t, noise, weights=(1, 1, 1, 1)):
    losses = []
    for clean, step, eps in zip(x_start, t.tolist(), noise, strict=True):
        answers = [0.5 * x + 0.3 * step for x in numbers_by_definition("x_t", clean, step, eps)]
        targets = numbers_by_definition(wanted, clean, step, eps)
        errors = [(answer - target) ** 2 for answer, target in zip(answers, targets, strict=True)]
        losses.append(weights[step] * sum(errors) / len(errors))
    return torch.tensor(losses, dtype=torch.float64)


TARGETS = {"noise": noise_target, "x_start": x_start_target, "v": v_target}

# --- timesteps ------------------------------------------------------------------------------------------------------


def chi_square(t, num_outcomes):
    counts = torch.bincount(t, minlength=num_outcomes).double()
    expected = len(t) / num_outcomes
    return float(((counts - expected) ** 2 / expected).sum())


def test_every_timestep_is_drawn_equally_often():
    # 10 outcomes: chi-square with 9 degrees of freedom exceeds 44.8 once in a million seeds
    t = sample_timesteps(20_000, 10, generator=rng())
    assert 0 <= t.min() and t.max() <= 9, f"timesteps 0 ... 9, but {int(t.min())} ... {int(t.max())} came out"
    counts = torch.bincount(t, minlength=10).tolist()
    assert chi_square(t, 10) < 44.8, f"each of 0 ... 9 comes about 2000 times in 20000, but the counts are {counts}"


def test_the_samples_of_a_batch_draw_independently():
    # three samples, three timesteps: 27 equally likely batches; 26 degrees of freedom exceed 75.5 once in a million
    generator = rng()
    batches = torch.stack([sample_timesteps(3, 3, generator=generator) for _ in range(800)])
    score = chi_square(batches @ torch.tensor([9, 3, 1]), 27)
    assert score < 75.5, f"all 27 batches of three are equally likely: the first five were {batches[:5].tolist()}"


@given(st.integers(1, 9), seeds())
def test_the_generator_decides(batch_size, seed):
    generator = rng(seed)
    first, second = (sample_timesteps(batch_size, 10**6, generator=generator) for _ in range(2))
    again = sample_timesteps(batch_size, 10**6, generator=rng(seed))
    expect_equal(again, first, "a generator with the same seed draws the same timesteps, one for each sample")
    # one timestep comes twice in a row once in a million seeds
    assert not torch.equal(first, second), "the next batch has to be another one"


def test_a_single_timestep_leaves_no_choice():
    expect_equal(sample_timesteps(4, 1, generator=rng()), [0, 0, 0, 0], "T = 1 has timestep 0 only")


@pytest.mark.parametrize("law", [global_rng_is_untouched, device_is_followed])
def test_timesteps_come_from_the_generator_and_its_device(law):
    law(sample_timesteps, 5, 100, generator=rng())


# --- targets --------------------------------------------------------------------------------------------------------


def test_the_velocity_by_hand():
    # alphas_cumprod 0.36: 0.6 of the noise minus 0.8 of the sample.  0.8: sqrt(0.8) of the noise minus sqrt(0.2)
    x_start, noise = torch.tensor([[1.0, 2.0], [0.0, 1.0]]).double(), torch.tensor([[10.0, 0.0], [1.0, 0.0]]).double()
    expected = [[6 - 0.8, -1.6], [math.sqrt(0.8), -math.sqrt(0.2)]]
    got = v_target(x_start, torch.tensor([2, 1]), noise, ALPHAS_CUMPROD)
    expect_close(got, expected, "v = sqrt(abar) noise - sqrt(1 - abar) x_start")


@pytest.mark.parametrize("wanted", TARGETS)
def test_targets_have_the_dtype_of_the_samples(wanted):
    x_start, t = torch.tensor([[0.1, -2.0], [0.3, 1.0]]), torch.tensor([3, 0])
    got = TARGETS[wanted](x_start, t, 3 * x_start, ALPHAS_CUMPROD)
    assert got.dtype == torch.float32, f"samples in float32, schedule in float64, but {got.dtype} came out"


@pytest.mark.parametrize("wanted", TARGETS)
@settings(max_examples=40)
@given(case=cases())
def test_targets_agree_with_the_definition(wanted, case):
    rows = [numbers_by_definition(wanted, x, step, z) for x, step, z in zip(case[0], case[1].tolist(), case[2])]
    expected = torch.tensor(rows, dtype=torch.float64).reshape(case[0].shape)
    got = TARGETS[wanted](*case, ALPHAS_CUMPROD)
    expect_close(got, expected, f"what a network that predicts {wanted} should answer")


def test_the_first_timesteps_keep_their_digits():
    # 1 - 0.9999 is 1e-4, its root 0.01.  In float32 0.9999 is off by 2e-8, and the root by 1e-4 of itself.
    got = v_target(torch.tensor([[1.0, -2.0]]), torch.tensor([0]), torch.zeros(1, 2), ALPHAS_CUMPROD)
    expect_close(got, [[-0.01, 0.02]], "the factors in float64, the velocity in float32", rtol=1e-6, atol=0)


# --- loss -----------------------------------------------------------------------------------------------------------


def test_the_loss_of_a_silent_model_by_hand():
    # noise (1, 3): (1 + 9) / 2 = 5.  noise (2, 0): (4 + 0) / 2 = 2.  A mean over the batch would say 3.5.
    x_start = torch.tensor([[7.0, 8.0], [9.0, 6.0]], dtype=torch.float64)
    noise = torch.tensor([[1.0, 3.0], [2.0, 0.0]], dtype=torch.float64)
    got = diffusion_loss(lambda x_t, t: torch.zeros_like(x_t), x_start, torch.tensor([3, 1]), noise, ALPHAS_CUMPROD)
    expect_close(got, [5, 2], "one loss for each sample: its squared errors, averaged over its elements")


def test_weights_belong_to_timesteps():
    # as above, times the weights of timesteps 3 and 1
    x_start, t = torch.zeros(2, 2, dtype=torch.float64), torch.tensor([3, 1])
    noise = torch.tensor([[1.0, 3.0], [2.0, 0.0]], dtype=torch.float64)
    weights = torch.tensor(WEIGHTS, dtype=torch.float64)
    got = diffusion_loss(lambda x_t, t: 0 * x_t, x_start, t, noise, ALPHAS_CUMPROD, weights=weights)
    expect_close(got, [5 * 4.0, 2 * 0.5], "weights[t], not the first two weights")


def test_the_model_is_asked_once_with_the_noisy_samples():
    calls, t = [], torch.tensor([2, 0, 2])
    x_start, noise = torch.randn(2, 3, 2, generator=rng(), dtype=torch.float64)

    def recording(*arguments):
        calls.append(arguments)
        return arguments[0]

    diffusion_loss(recording, x_start, t, noise, ALPHAS_CUMPROD)
    assert len(calls) == 1, f"one call for the whole batch, not {len(calls)}"
    rows = [numbers_by_definition("x_t", x, step, z) for x, step, z in zip(x_start, t.tolist(), noise)]
    expect_close(calls[0], (torch.tensor(rows, dtype=torch.float64), t), "model(x_t, t)")


@pytest.mark.parametrize("wanted", TARGETS)
@settings(max_examples=40)
@given(case=cases(), weighted=st.booleans())
def test_the_loss_agrees_with_the_definition(wanted, case, weighted):
    weights = torch.tensor(WEIGHTS, dtype=torch.float64) if weighted else None
    got = diffusion_loss(model, *case, ALPHAS_CUMPROD, target=TARGETS[wanted], weights=weights)
    expected = loss_by_definition(wanted, *case, WEIGHTS if weighted else (1, 1, 1, 1))
    expect_close(got, expected, f"the mean squared error of every sample, of a model that predicts {wanted}")


@given(cases())
def test_any_target_will_do(case):
    def twice_the_noise(x_start, t, noise, alphas_cumprod):
        return 2 * noise + x_start * alphas_cumprod[t].reshape(-1, *[1] * (x_start.dim() - 1))

    x_start, t, noise = case
    got = diffusion_loss(lambda x_t, t: 0 * x_t, *case, ALPHAS_CUMPROD, target=twice_the_noise)
    targets = [2 * z + x * LEFT[step] for x, step, z in zip(x_start, t.tolist(), noise)]
    expected = torch.stack([(target**2).mean() for target in targets])
    expect_close(got, expected, "the model should answer target(x_start, t, noise, alphas_cumprod)")


# --- edges ----------------------------------------------------------------------------------------------------------


def test_the_loss_has_the_dtype_of_the_samples():
    x_start, noise = torch.randn(2, 3, 2, generator=rng())
    t, weights = torch.tensor([1, 0, 3]), torch.tensor(WEIGHTS, dtype=torch.float64)
    for wanted, target in TARGETS.items():
        got = diffusion_loss(model, x_start, t, noise, ALPHAS_CUMPROD, target=target, weights=weights)
        expected = loss_by_definition(wanted, x_start, t, noise, WEIGHTS).float()
        expect_close(got, expected, "samples in float32, schedule and weights in float64", rtol=1e-4, atol=1e-6)


def test_gradients_reach_the_model():
    x_start, noise = torch.randn(2, 3, 2, generator=rng(), dtype=torch.float64)
    t, weights = torch.tensor([2, 0, 3]), torch.tensor(WEIGHTS, dtype=torch.float64)

    def loss_of_the_model(slope, bias):
        def line(x_t, t):
            return slope * x_t + bias * t[:, None]

        return diffusion_loss(line, x_start, t, noise, ALPHAS_CUMPROD, target=v_target, weights=weights)

    gradients_are_right(loss_of_the_model, torch.tensor(0.7).double(), torch.tensor([0.2, -0.4]).double())


def test_the_loss_keeps_the_dtype_of_the_samples_whatever_the_target_answers():
    x_start, t = torch.ones(2, 3), torch.arange(2)

    def in_float64(x_start, t, noise, alphas_cumprod):
        return noise * alphas_cumprod[t][:, None]

    for model, target in ((lambda x_t, t: x_t, in_float64), (lambda x_t, t: x_t.double(), noise_target)):
        got = diffusion_loss(model, x_start, t, x_start, ALPHAS_CUMPROD, target=target).dtype
        assert got == torch.float32, f"float32 samples and a float64 schedule: the loss is float32, not {got}"


def test_the_schedule_is_used_and_handed_on_as_it_is():
    seen, handed = [], []

    def target(x_start, t, noise, alphas_cumprod):
        handed.append(alphas_cumprod.dtype)
        return noise

    def model(x_t, t):
        seen.append(x_t)
        return x_t

    diffusion_loss(model, torch.zeros(1, 1), torch.tensor([0]), torch.ones(1, 1), ALPHAS_CUMPROD, target=target)
    law = "sqrt(1 - alphas_cumprod) in float64, cast afterwards"
    expect_close(seen[0], (1 - ALPHAS_CUMPROD[:1, None]).sqrt().float(), law, rtol=1e-6, atol=0)
    assert handed == [torch.float64], f"the target is given the schedule as it came, in float64, not {handed}"


def test_an_answer_of_another_shape_is_refused_for_images_too():
    x_start = torch.ones(2, 3, 4, 4)
    with pytest.raises(ValueError, match="model"):
        diffusion_loss(lambda x_t, t: x_t[..., :1], x_start, torch.arange(2), x_start, ALPHAS_CUMPROD)


def test_pairs_of_timesteps_in_a_batch_are_independent():
    generator = rng()
    batches = torch.stack([sample_timesteps(4, 2, generator=generator) for _ in range(800)])
    counts = (batches @ torch.tensor([8, 4, 2, 1])).bincount(minlength=16)
    chi_squared = float(((counts - 50) ** 2 / 50).sum())
    # 15 degrees of freedom: above 56 once in a million generators; if one timestep settles another, 800 and more
    assert chi_squared < 56, f"each of the 16 batches of four comes 50 times of 800, not {counts.tolist()}"


@pytest.mark.parametrize("shape", [(4, 4), (1,), (4, 1), ()])
def test_an_answer_of_another_shape_is_refused(shape):
    x_start = torch.ones(4)
    with pytest.raises(ValueError, match="model"):
        diffusion_loss(lambda x_t, t: torch.zeros(shape), x_start, torch.arange(4), x_start, ALPHAS_CUMPROD)


@pytest.mark.parametrize("target", TARGETS.values())
@pytest.mark.parametrize("law", STANDING_LAWS[:5])
def test_standing_laws(law, target):
    x_start, noise = torch.randn(2, 3, 2, 4, generator=rng(), dtype=torch.float64)
    t, weights = torch.tensor([3, 0, 2]), torch.tensor(WEIGHTS, dtype=torch.float64)
    law(target, x_start, t, noise, ALPHAS_CUMPROD)
    law(diffusion_loss, model, x_start, t, noise, ALPHAS_CUMPROD, target=target, weights=weights)
