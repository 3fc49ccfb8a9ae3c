"""Debugging: four instruments for a network that does not learn.

They run the model in the modes in which it is, and leave it as they found it: parameters, buffers, gradients, modes,
hooks, and the global random state, also after an error.
"""

import contextlib
import copy
import math
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn

Loss = Callable[..., Tensor]  # loss_fn(model, *batch) → a scalar


def gradient_norms(model: nn.Module) -> dict[str, float]:
    """The Euclidean norm of each parameter's gradient, by its name in `model.named_parameters()`; 0 without a gradient.

    A layer whose norm is 0 does not learn. Norms that fall from layer to layer vanish, norms that grow explode.
    """
    return {
        name: 0.0 if parameter.grad is None else float(parameter.grad.double().norm())
        for name, parameter in model.named_parameters()
    }


def dead_relu_fraction(model: nn.Module, x: Tensor) -> dict[str, float]:
    """For each `nn.ReLU` that runs, by its name: the share of its units that are 0 for the whole batch `x`.

    A unit is a channel of (B, C, …), or a feature of (B, C). It is dead if it is 0 for every example and every place:
    no gradient reaches it. Of a ReLU that runs several times, all outputs count together.
    """
    alive: dict[str, Tensor] = {}

    def note(name: str):
        def hook(module, inputs, output):
            now = (output != 0).transpose(0, 1).flatten(1).any(dim=1)
            alive[name] = now | alive.get(name, torch.zeros_like(now))

        return hook

    with _copy_of(model) as model, torch.no_grad():
        for name, module in model.named_modules():
            if isinstance(module, nn.ReLU):
                module.register_forward_hook(note(name))
        model(x.clone())  # the first layer may work in place
    return {name: 1 - float(units.double().mean()) for name, units in alive.items()}


def overfit_one_batch(model: nn.Module, loss_fn: Loss, batch: tuple, *, steps: int, lr: float = 1e-3) -> list[float]:
    """The loss `loss_fn(model, *batch)` of each of `steps` steps of Adam, all on this batch.

    It must come near 0. A model that cannot overfit sixteen examples has a bug: in the labels, the loss, or a
    layer that lets no gradient through. The loss of a step is the one before its update.
    """
    with _copy_of(model) as model:
        optimizer = torch.optim.Adam(model.parameters(), lr=lr)
        return [_step(model, optimizer, loss_fn, batch) for _ in range(steps)]


def learning_rate_range_test(
    model: nn.Module, loss_fn: Loss, batches: Sequence[tuple], *, min_lr: float, max_lr: float
) -> list[tuple[float, float]]:
    """(rate, loss) for each of the `batches`, while the rate of plain SGD grows from batch to batch.

        rate_i = min_lr * (max_lr / min_lr) ** (i / (len(batches) - 1))         a single batch has min_lr

    The loss is the one before the step with that rate. The test ends with a loss that is not finite, or above 4 times
    the lowest so far. A good rate is well below the one where the loss turns up.

    0 < `min_lr` <= `max_lr`.

    Source: Smith, Cyclical Learning Rates for Training Neural Networks (arXiv 1506.01186), section 3.3.
    """
    if not 0 < min_lr <= max_lr:
        raise ValueError(f"min_lr must lie above 0 and not above max_lr, got {min_lr} and {max_lr}")
    found: list[tuple[float, float]] = []
    with _copy_of(model) as model:
        optimizer = torch.optim.SGD(model.parameters(), lr=min_lr)
        for i, batch in enumerate(batches):
            rate = min_lr * (max_lr / min_lr) ** (i / max(1, len(batches) - 1))
            optimizer.param_groups[0]["lr"] = rate
            found.append((rate, _step(model, optimizer, loss_fn, batch)))
            lowest = min(loss for _, loss in found)
            if not math.isfinite(found[-1][1]) or found[-1][1] > 4 * lowest:
                break
    return found


@contextlib.contextmanager
def _copy_of(model: nn.Module) -> Iterator[nn.Module]:
    """All is done to a copy, so that nothing has to be put back but the random state, from which dropout draws."""
    with torch.random.fork_rng():
        yield copy.deepcopy(model)


def _step(model: nn.Module, optimizer: torch.optim.Optimizer, loss_fn: Loss, batch: tuple) -> float:
    model.zero_grad()
    with torch.enable_grad():
        loss = loss_fn(model, *batch)
        loss.backward()
    optimizer.step()
    return float(loss.detach())
