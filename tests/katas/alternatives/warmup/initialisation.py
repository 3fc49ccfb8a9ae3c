"""PyTorch's own fans, and hooks on the model itself, with everything put back."""

import torch
from jaxtyping import Float
from torch import Tensor, nn


def kaiming_normal_(
    weight: Float[Tensor, "*shape"], *, generator: torch.Generator, mode: str = "fan_in"
) -> Float[Tensor, "*shape"]:
    if weight.ndim <= 1:
        raise ValueError("weight: two axes at least")
    if mode not in {"fan_in", "fan_out"}:
        raise ValueError("mode: fan_in or fan_out")
    return nn.init.kaiming_normal_(weight, mode=mode, nonlinearity="relu", generator=generator)


def expected_initial_loss(num_classes: int) -> float:
    if num_classes <= 0:
        raise ValueError("num_classes: at least one")
    return -torch.zeros(num_classes, dtype=torch.float64).log_softmax(0)[0].item()


def activation_scales(model: nn.Module, x: Tensor) -> dict[str, float]:
    found, handles = {}, []
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    state = torch.get_rng_state()
    try:
        for name, module in model.named_modules():
            if len(list(module.children())) == 0:

                def hook(module, inputs, output, name=name):
                    if name not in found:
                        found[name] = (output.norm() / output.numel() ** 0.5).item()

                handles.append(module.register_forward_hook(hook))
        with torch.inference_mode(False), torch.no_grad():
            model(x)
    finally:
        for handle in handles:
            handle.remove()
        with torch.no_grad():
            for name, buffer in model.named_buffers():
                buffer.copy_(buffers[name])
        torch.set_rng_state(state)
    return found
