"""Stand-ins that keep what a training loop shows them, so that a spec can follow the loop in plain numbers."""

import copy

import torch
from torch import Tensor, nn

from katas.diffusion.ema import EMA  # only its name: the average below is a fake


class Linear(nn.Module):
    """prediction = weight * x_t + bias. Keeps what it is called with, and its parameters at that time."""

    def __init__(self, bias=0.1):
        super().__init__()
        self.weight, self.bias = (nn.Parameter(torch.tensor(v, dtype=torch.float64)) for v in (0.5, bias))
        self.unused, self.frozen = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(()), requires_grad=False)
        self.register_buffer("count", torch.tensor(0))
        self.part, self.calls = nn.Identity(), []

    def forward(self, x, t, *labels):
        self.count += 1
        modes = self.training, self.part.training
        self.calls.append((x.detach().clone(), t.clone(), *(given.clone() for given in labels), modes))
        return self.weight * x + self.bias

    def line(self) -> tuple[float, float]:
        return float(self.weight), float(self.bias)


class Watch:
    """A target that keeps what it is asked about. The target is the noise."""

    def __init__(self):
        self.asked = []

    def __call__(self, x_start, t, noise, alphas_cumprod):
        self.asked.append((x_start.clone(), t.clone(), noise.clone()))
        self.schedule = alphas_cumprod
        return noise


class FakeEMA(EMA):
    """Keeps the weights it is shown; averages nothing."""

    def __init__(self):
        self.shown = []

    def update(self, model):
        self.shown.append(float(model.weight))

    def state_dict(self):
        return {"shown": list(self.shown)}

    def load_state_dict(self, state):
        self.shown = list(state["shown"])


STATE = ("the state of the generator", "learning rates", "the state of the optimizer", "the average", "the model")


def state_of(model, optimizer, ema, generator=None) -> list:
    """Copies of all that a step may change: `STATE` names them."""
    rates, moments = [float(group["lr"]) for group in optimizer.param_groups], optimizer.state_dict()["state"]
    draws = [] if generator is None else generator.get_state()
    return copy.deepcopy([draws, rates, moments, ema.shown, dict(model.state_dict())])


class PerTimestep(nn.Module):
    """One linear map per timestep: enough for Gaussian data, whose best noise prediction is linear in x."""

    def __init__(self, num_timesteps: int) -> None:
        super().__init__()
        self.slope, self.offset = (
            nn.Parameter(torch.zeros(num_timesteps, 2, 2)),
            nn.Parameter(torch.zeros(num_timesteps, 2)),
        )

    def forward(self, x, t):
        return (self.slope[t] @ x[..., None])[..., 0] + self.offset[t]
