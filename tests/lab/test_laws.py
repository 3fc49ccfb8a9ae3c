"""The standing laws: each must notice what it is there for, and leave right code alone."""

import numpy as np
import pytest
import torch

from katas.lab import laws
from katas.lab.expect import expect_close, expect_equal
from katas.lab.laws import STANDING_LAWS, gradients_are_finite, gradients_are_right

X = torch.tensor([[0.5, -1.0, 2.0], [3.0, 0.25, -0.5]], dtype=torch.float64)


def right(x, generator=None):
    noise = torch.rand(x.shape, generator=torch.Generator().manual_seed(0), dtype=x.dtype, device=x.device)
    return (x + noise).T.reshape(-1)[: x.numel() - 1] * x.new_tensor(2.0)


def changes_its_input(x):
    return x.clamp_(min=0)


def changes_its_input_and_undoes_it(x):
    x += 1
    return x - 1


def float32_always(x):
    return x.float()


def default_dtype(x):
    return x + torch.zeros(x.shape, device=x.device)[0, 0] + torch.ones(3, device=x.device)


def default_device(x):
    return x * torch.ones(3, dtype=x.dtype)


def result_on_the_default_device(x):
    return torch.zeros(3, dtype=x.dtype)


def looks_up_on_the_default_device(x):
    table = torch.nn.functional.embedding(torch.tensor([1, 0]), x)  # from the meta device garbage is read
    return table + x


def draws_from_torch(x):
    return x + torch.rand_like(x)


def draws_from_numpy(x):
    return x * float(np.random.rand() >= 0)


def seeds_the_global_generator(x):
    torch.manual_seed(0)
    return x


def needs_contiguous_memory(x):
    return x.view(-1)


def reads_the_memory_itself(x):
    return torch.as_strided(x, (2, 3), (3, 1)) * 1


@pytest.mark.parametrize("law", STANDING_LAWS)
def test_right_code_obeys_every_law(law):
    law(right, X.clone())


@pytest.mark.parametrize(
    "law, wrong",
    [
        (laws.inputs_are_not_changed, changes_its_input),
        (laws.inputs_are_not_changed, changes_its_input_and_undoes_it),
        (laws.dtype_is_followed, float32_always),
        (laws.dtype_is_followed, default_dtype),
        (laws.device_is_followed, default_device),
        (laws.device_is_followed, result_on_the_default_device),
        (laws.device_is_followed, looks_up_on_the_default_device),
        (laws.global_rng_is_untouched, draws_from_torch),
        (laws.global_rng_is_untouched, draws_from_numpy),
        (laws.global_rng_is_untouched, seeds_the_global_generator),
        (laws.memory_layout_does_not_matter, needs_contiguous_memory),
        (laws.memory_layout_does_not_matter, reads_the_memory_itself),
    ],
)
def test_a_law_notices_the_code_that_breaks_it_and_names_it(law, wrong):
    with pytest.raises(AssertionError, match=wrong.__name__):
        law(wrong, X.clone())


def test_the_device_law_leaves_code_alone_that_computes_on_the_cpu_on_purpose():
    def on_the_cpu(x, weights=(1.0, 2.0, 3.0)):
        return (x.cpu() * torch.tensor(weights, dtype=x.dtype)).to(x)

    laws.device_is_followed(on_the_cpu, X.clone())


def test_the_device_law_is_the_same_where_there_is_a_gpu(monkeypatch):
    """What a function has in itself, a module or a generator, is not on the GPU: right code was refused there."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    module, generator = torch.nn.Linear(3, 2).double(), torch.Generator()
    laws.device_is_followed(lambda x: module(x) + torch.rand(2, generator=generator, device=x.device), X.clone())


def test_a_failed_comparison_shows_the_law_and_both_sides():
    with pytest.raises(AssertionError) as failure:
        expect_close(torch.tensor([1.0, 2.0]), [1.0, 2.5], "the law", dtype=torch.float32)
    text = str(failure.value)
    assert text.startswith("the law\n  got       [1.0, 2.0]   float32 (2,)\n  expected  [1.0, 2.5]")
    assert "0.5 at index (1,)" in text


def test_of_a_large_tensor_the_first_difference_is_shown_with_its_neighbours():
    expected = torch.arange(120.0, dtype=torch.float64).reshape(2, 60)
    got = expected.clone()
    got[1, 5:9] = -1
    with pytest.raises(AssertionError) as failure:
        expect_close(got, expected, "the law")
    assert str(failure.value).splitlines()[1:3] == [
        "  got       … 62.0, 63.0, 64.0, -1.0, -1.0, -1.0, -1.0 …   float64 (2, 60), around [1, 5]",
        "  expected  … 62.0, 63.0, 64.0, 65.0, 66.0, 67.0, 68.0 …   float64 (2, 60), around [1, 5]",
    ]


@pytest.mark.parametrize(
    "got, expected, told",
    [
        (torch.tensor([1.0, float("nan")]).double(), [1.0, 2.0], "NaN came out"),
        (torch.zeros(2), [0.0, 0.0], "dtype torch.float32 came out, not torch.float64"),
        (torch.zeros(2, device="meta"), torch.zeros(2), "on the device meta came out, not on cpu"),
        (torch.zeros(2, 3), torch.zeros(3, 2), r"shape \(2, 3\) came out, not \(3, 2\)"),
        (torch.zeros(2), torch.zeros(2).double(), "dtype torch.float32 came out"),
        (torch.zeros(1), torch.zeros(()), r"shape \(1,\) came out"),
        ([torch.zeros(2)], [torch.zeros(2), torch.zeros(2)], "1 came out, not 2"),
        (None, torch.zeros(2), "a NoneType came out"),
        (float("nan"), 1.0, "NaN came out"),
    ],
)
def test_what_differs_is_said_in_words(got, expected, told):
    with pytest.raises(AssertionError, match=told):
        expect_close(got, expected, "the law")


def test_equal_things_are_equal():
    expect_equal(torch.tensor([[1, 2]]), [[1, 2]], "indices")
    expect_equal(torch.empty(0, 4).double(), [], "an empty tensor of any shape is written []")
    expect_close([torch.ones(2), 3.0], [torch.ones(2), 3.0], "lists")
    expect_close(torch.tensor([float("nan")]).double(), [float("nan")], "NaN where NaN is expected")
    with pytest.raises(AssertionError):
        expect_equal(torch.tensor([1.0 + 1e-6]), [1.0], "exact", dtype=torch.float32)


class _WrongGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x * 2

    @staticmethod
    def backward(ctx, gradient):
        return gradient * 3


def test_gradients_are_compared_with_finite_differences():
    gradients_are_right(lambda x: x.exp().sum(1), X)
    with pytest.raises(AssertionError, match="is not that of the formula"):
        gradients_are_right(_WrongGradient.apply, X)
    with pytest.raises(AssertionError, match="no gradient flows"):
        gradients_are_right(lambda x: x.detach() * 2, X)
    with pytest.raises(AssertionError, match="to output 1"):
        gradients_are_right(lambda x: (x * 2, x.detach() * 2), X)


def test_a_gradient_that_is_masked_too_late_is_noticed():
    def masked_too_late(x):
        return torch.where(x > 0, x.sqrt(), 0)

    with pytest.raises(AssertionError, match="not finite"):
        gradients_are_finite(masked_too_late, X)
    gradients_are_finite(lambda x: x.clamp(min=0.1).sqrt(), X)
