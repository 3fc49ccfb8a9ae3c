"""On the model itself, with all of it put back."""

import contextlib
import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn


@contextlib.contextmanager
def _as_found(model):
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    values = {name: tensor.detach().clone() for name, tensor in tensors.items()}
    grads = {name: None if p.grad is None else p.grad.clone() for name, p in model.named_parameters()}
    state, modes = torch.get_rng_state(), {name: module.training for name, module in model.named_modules()}
    try:
        yield
    finally:
        torch.set_rng_state(state)
        with torch.no_grad():
            for name, tensor in tensors.items():
                tensor.copy_(values[name])
            for name, parameter in model.named_parameters():
                parameter.grad = grads[name]
        for name, module in model.named_modules():
            module.training = modes[name]


def gradient_norms(model: nn.Module) -> dict[str, float]:
    result = {}
    for name, parameter in model.named_parameters():
        gradient = parameter.grad
        result[name] = 0.0 if gradient is None else math.hypot(*gradient.double().flatten().tolist())
    return result


def dead_relu_fraction(model: nn.Module, x: Tensor) -> dict[str, float]:
    outputs, handles = {}, []
    for name, module in model.named_modules():
        if type(module) is nn.ReLU:

            def hook(module, inputs, output, name=name):
                outputs.setdefault(name, []).append(output.detach().clone())

            handles.append(module.register_forward_hook(hook))
    try:
        with _as_found(model), torch.no_grad():
            model(x)
    finally:
        for handle in handles:
            handle.remove()
    result = {}
    for name, all_outputs in outputs.items():
        largest = torch.stack([out.abs().amax(dim=[d for d in range(out.dim()) if d != 1]) for out in all_outputs])
        result[name] = (largest.amax(0) == 0).double().mean().item()
    return result


def overfit_one_batch(
    model: nn.Module, loss_fn: Callable[..., Tensor], batch: tuple, *, steps: int, lr: float = 1e-3
) -> list[float]:
    losses = []
    with _as_found(model):
        adam = torch.optim.Adam(model.parameters(), lr)
        while len(losses) < steps:
            adam.zero_grad()
            loss = loss_fn(model, *batch)
            losses.append(loss.item())
            loss.backward()
            adam.step()
    return losses


def learning_rate_range_test(
    model: nn.Module, loss_fn: Callable[..., Tensor], batches: Sequence[tuple], *, min_lr: float, max_lr: float
) -> list[tuple[float, float]]:
    if min_lr <= 0 or max_lr < min_lr:
        raise ValueError("min_lr: above 0, at most max_lr")
    rates = torch.logspace(math.log10(min_lr), math.log10(max_lr), len(batches), dtype=torch.float64).tolist()
    points, best = [], math.inf
    with _as_found(model):
        for rate, batch in zip(rates, batches, strict=True):
            for parameter in model.parameters():
                parameter.grad = None
            loss = loss_fn(model, *batch)
            points.append((rate, loss.item()))
            if math.isnan(points[-1][1]) or math.isinf(points[-1][1]):
                break
            best = min(best, points[-1][1])
            if points[-1][1] > 4 * best:
                break
            loss.backward()
            with torch.no_grad():
                for parameter in model.parameters():
                    if parameter.grad is not None:
                        parameter -= rate * parameter.grad
    return points
