"""Classifier-free guidance: exaggerate what the label changes.

A network that was taught with the label and, now and then, without it, gives two predictions. The way from
the one without to the one with the label is what the label means; going further along it makes samples more
typical of the label, and more alike.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int64
from torch import Tensor


def drop_labels(
    labels: Int64[Tensor, " B"], null_label: int, drop_probability: float, *, generator: torch.Generator
) -> Int64[Tensor, " B"]:
    """The labels, each replaced by `null_label` with `drop_probability`, independently of the others.

    Probability 0 changes none, 1 changes all. All randomness comes from `generator`, which is on the device
    of the labels; each call goes on with it, so the next batch loses other labels. Raises a ValueError that
    names `drop_probability` if it is outside [0, 1].

    Source: Ho & Salimans, Classifier-Free Diffusion Guidance (arXiv 2207.12598), where it is p_uncond.
    """
    if not 0 <= drop_probability <= 1:
        raise ValueError(f"drop_probability must lie in [0, 1], got {drop_probability}")
    dropped = torch.rand(labels.shape, generator=generator, device=labels.device) < drop_probability
    return torch.where(dropped, null_label, labels)


def guided_noise(
    model: Callable[[Tensor, Tensor, Tensor], Tensor],
    x: Float[Tensor, "B *shape"],
    t: Int64[Tensor, " B"],
    labels: Int64[Tensor, " B"],
    *,
    scale: float,
    null_label: int,
) -> Float[Tensor, "B *shape"]:
    """The guided prediction, without + scale * (with - without), where `with` is the model's answer for the
    labels, and `without` the same model's answer for `null_label`.

    Scale 0 is unconditional, 1 is conditional without guidance, above 1 exaggerates; below 0 leads away from
    the label. `model(x, t, labels)` answers each row by itself; it is called once, with 2 B rows in any
    order, whatever the scale: both answers cost one pass. For a given x_t, the clean sample and the velocity
    are affine in the noise, so predictions of those may be guided just the same.

    Source: Ho & Salimans, Classifier-Free Diffusion Guidance (arXiv 2207.12598); their w is scale - 1.
    """
    nulls = torch.full_like(labels, null_label)
    twice = model(torch.cat((x, x)), torch.cat((t, t)), torch.cat((labels, nulls)))
    conditional, unconditional = twice.chunk(2)
    return unconditional + scale * (conditional - unconditional)
