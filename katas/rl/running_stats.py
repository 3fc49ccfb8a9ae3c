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
        raise NotImplementedError

    def update(self, batch: Float[Tensor, "N *shape"]) -> None:
        """Adds N samples of `shape`; another shape is refused. No samples change nothing."""
        raise NotImplementedError

    def normalise(
        self, x: Float[Tensor, "*batch"], *, clip: float = 10.0, eps: float = 1e-8
    ) -> Float[Tensor, "*batch"]:
        """(x - mean) / sqrt(var + eps), cut to [-clip, clip]. It is computed in float64 and has the dtype of x.

        x is one sample or a batch of them. The statistics stay what they are. `clip` > 0.
        """
        raise NotImplementedError

    def state_dict(self) -> dict:
        """A copy of `mean`, `var` and `count`, for a checkpoint."""
        raise NotImplementedError

    def load_state_dict(self, state: dict) -> None:
        """Goes on, with copies on its own device, from the `state_dict` of statistics of the same shape."""
        raise NotImplementedError


def normalise_advantages(advantages: Float[Tensor, "*batch"], *, eps: float = 1e-8) -> Float[Tensor, "*batch"]:
    """(advantages - mean) / (std + eps) over all of them: steps and environments together.

    `std` is that of the population (divided by N). So a single advantage becomes 0 and not NaN.
    """
    raise NotImplementedError
