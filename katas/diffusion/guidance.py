"""Classifier-free guidance: exaggerate what the label changes.

A network that was trained with the label and, now and then, without it gives two predictions. The difference between
them is what the label changes. Adding more of it makes samples more typical of the label, and more alike.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int64
from torch import Tensor


def drop_labels(
    labels: Int64[Tensor, " B"], null_label: int, drop_probability: float, *, generator: torch.Generator
) -> Int64[Tensor, " B"]:
    """The labels, each replaced by `null_label` with probability `drop_probability`, independently of the others.

    Probability 0 changes none, 1 changes all. `drop_probability` lies in [0, 1]. `generator` is on the device of the
    labels.

    Source: Ho & Salimans, Classifier-Free Diffusion Guidance (arXiv 2207.12598), where the probability is p_uncond.
    """
    raise NotImplementedError


def guided_noise(
    model: Callable[[Tensor, Tensor, Tensor], Tensor],
    x: Float[Tensor, "B *shape"],
    t: Int64[Tensor, " B"],
    labels: Int64[Tensor, " B"],
    *,
    scale: float,
    null_label: int,
) -> Float[Tensor, "B *shape"]:
    """The guided prediction:

        without + scale * (with - without)

    `with` is the model's answer for the labels, `without` its answer for `null_label`. Scale 0 is unconditional, 1 is
    conditional without guidance. A scale above 1 exaggerates, one below 0 leads away from the label.

    `model(x, t, labels)` answers each row by itself. It is called once, with 2 B rows in any order, whatever the scale
    and the labels are. Predictions of the clean sample or the velocity may be guided in the same way.

    Source: Ho & Salimans, Classifier-Free Diffusion Guidance (arXiv 2207.12598), equation 6. Their w is scale - 1.
    """
    raise NotImplementedError
