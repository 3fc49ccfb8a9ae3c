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
    if weight.dim() < 2:
        raise ValueError(f"weight needs two axes to have a fan, got the shape {tuple(weight.shape)}")
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f"mode must be 'fan_in' or 'fan_out', got {mode!r}")
    fan = weight.shape[1 if mode == "fan_in" else 0] * math.prod(weight.shape[2:])
    with torch.no_grad():
        return weight.normal_(0, math.sqrt(2 / max(1, fan)), generator=generator)


def expected_initial_loss(num_classes: int) -> float:
    """The cross-entropy of a classifier that knows nothing: log C, in nats.

    All classes get the probability 1 / C. A first loss far above it means logits that are too large; one below it means
    labels that leak. `num_classes` >= 1.
    """
    if num_classes < 1:
        raise ValueError(f"num_classes must be at least 1, got {num_classes}")
    return math.log(num_classes)


def activation_scales(model: nn.Module, x: Tensor) -> dict[str, float]:
    """The root mean square of what each layer puts out for the batch `x`, in the mode in which the model is.

    A layer is a module without children. Its key is its name in `model.named_modules()`. Layers come in the order in
    which they run; of one that runs twice, the first time counts.

    Nothing is changed: parameters, buffers (a batch norm counts every forward pass in training mode), gradients, modes
    and hooks of the model are as they were, and so is the global random state (dropout draws from it).
    """
    scales: dict[str, float] = {}

    def note(name: str):
        def hook(module, inputs, output):
            scales.setdefault(name, float(output.double().square().mean().sqrt()))

        return hook

    model = copy.deepcopy(model)  # so that nothing has to be put back
    for name, module in model.named_modules():
        if not any(module.children()):
            module.register_forward_hook(note(name))
    with torch.no_grad(), torch.random.fork_rng():
        model(x.clone())  # the first layer may work in place
    return scales
