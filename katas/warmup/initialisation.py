"""Initialisation: activations that neither vanish nor explode, and two instruments that show it.

A layer multiplies the variance of what goes through it. Thirty layers that each halve it leave 1e-9.
"""

import copy
import math

import torch
from jaxtyping import Float
from torch import Tensor, nn


def kaiming_normal_(
    weight: Float[Tensor, "*shape"], *, generator: torch.Generator, mode: str = "fan_in"
) -> Float[Tensor, "*shape"]:
    """Fills `weight` in place with draws from N(0, 2 / fan), and returns it.

        fan_in  = shape[1] * receptive field        inputs that one output adds up
        fan_out = shape[0] * receptive field        outputs that one input reaches

    The receptive field is the product of the axes after the second: k · k for a convolution (out, in, k, k), 1 for a
    linear layer (out, in). ReLU drops half of the mean square, hence the 2. `mode` = "fan_in" keeps the size of the
    activations, "fan_out" that of the gradients. No gradient is recorded. (`torch.nn.init.kaiming_normal_` with
    nonlinearity "relu".)

    `weight` has at least two axes.

    Source: He et al., Delving Deep into Rectifiers (arXiv 1502.01852).
    """
    raise NotImplementedError


def expected_initial_loss(num_classes: int) -> float:
    """The cross-entropy of a classifier that knows nothing: log C, in nats.

    All classes get the probability 1 / C. A first loss far above it means logits that are too large; one below it means
    labels that leak. `num_classes` >= 1.
    """
    raise NotImplementedError


def activation_scales(model: nn.Module, x: Tensor) -> dict[str, float]:
    """The root mean square of what each layer puts out for the batch `x`, in the mode in which the model is.

    A layer is a module without children. Its key is its name in `model.named_modules()`. Layers come in the order in
    which they run; of one that runs twice, the first time counts.

    Nothing is changed: parameters, buffers (a batch norm counts every forward pass in training mode), gradients, modes
    and hooks of the model are as they were, and so is the global random state (dropout draws from it).
    """
    raise NotImplementedError
