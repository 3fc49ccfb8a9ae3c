"""Mean and variance of a stream, so that a network sees observations of size one; and advantages on one scale.

Observations come in batches, and what is their scale changes as the policy gets better. The statistics cover everything
that has been seen, each sample with the same weight. Observations and advantages are data: no gradient is promised.
"""

import torch
from jaxtyping import Float
from torch import Tensor


class RunningMeanStd:
    """Mean and population variance of all samples so far, batch by batch.

    `shape` is that of one sample. Before the first one, `mean` is 0, `var` 1 and `count`, an int, 0. Batches merge as

        delta = mean_b - mean_a,   mean = mean_a + delta * n_b / n
        n * var = n_a * var_a + n_b * var_b + delta^2 * n_a * n_b / n,       n = n_a + n_b

    which loses no digits where the mean is large beside the spread; E[x^2] - E[x]^2 does. The statistics are float64
    whatever the samples are.

    Source: Chan, Golub & LeVeque, Updating Formulae and a Pairwise Algorithm for Computing Sample Variances (1979).
    """

    def __init__(self, shape: tuple[int, ...], *, device: torch.device | str = "cpu") -> None:
        self.mean = torch.zeros(shape, dtype=torch.float64, device=device)
        self.var = torch.ones(shape, dtype=torch.float64, device=device)
        self.count = 0

    def update(self, batch: Float[Tensor, "N *shape"]) -> None:
        """Adds N samples of `shape`; another shape is refused. No samples change nothing."""
        if batch.shape[1:] != self.mean.shape:
            raise ValueError(f"batch must hold samples of shape {tuple(self.mean.shape)}, got {tuple(batch.shape)}")
        if len(batch) == 0:
            return
        batch = batch.detach().to(self.mean)
        count = self.count + len(batch)
        var, mean = torch.var_mean(batch, dim=0, correction=0)
        delta, share = mean - self.mean, len(batch) / count
        self.var = (1 - share) * self.var + share * var + delta.square() * share * (1 - share)
        self.mean = self.mean + delta * share
        self.count = count

    def normalise(
        self, x: Float[Tensor, "*batch"], *, clip: float = 10.0, eps: float = 1e-8
    ) -> Float[Tensor, "*batch"]:
        """(x - mean) / sqrt(var + eps), cut to [-clip, clip]. It is computed in float64 and has the dtype of x.

        x is one sample or a batch of them. The statistics stay what they are. `clip` > 0.
        """
        if not clip > 0:
            raise ValueError(f"clip must be positive, got {clip}")
        return ((x.to(self.mean) - self.mean) / torch.sqrt(self.var + eps)).clamp(-clip, clip).to(x)

    def state_dict(self) -> dict:
        """A copy of `mean`, `var` and `count`, for a checkpoint."""
        return {"mean": self.mean.clone(), "var": self.var.clone(), "count": self.count}

    def load_state_dict(self, state: dict) -> None:
        """Goes on, with copies on its own device, from the `state_dict` of statistics of the same shape."""
        if state["mean"].shape != self.mean.shape:
            raise ValueError(f"state is of samples {tuple(state['mean'].shape)}, not of {tuple(self.mean.shape)}")
        self.mean, self.var = (state[name].to(self.mean, copy=True) for name in ("mean", "var"))
        self.count = state["count"]


def normalise_advantages(advantages: Float[Tensor, "*batch"], *, eps: float = 1e-8) -> Float[Tensor, "*batch"]:
    """(advantages - mean) / (std + eps) over all of them: steps and environments together.

    `std` is that of the population (divided by N). So a single advantage becomes 0 and not NaN.
    """
    if advantages.numel() == 0:
        return advantages.clone()
    std, mean = torch.std_mean(advantages, correction=0)
    return (advantages - mean) / (std + eps)
