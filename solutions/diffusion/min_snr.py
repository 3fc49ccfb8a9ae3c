"""Min-SNR weights: no timestep may dominate.

The three kinds of prediction differ by a factor that depends on the timestep alone. The squared error of the clean
sample times the SNR is that of the noise, and times SNR + 1 it is that of the velocity. Cutting the SNR at gamma
balances easy and hard timesteps. With these weights the objective is the same for all three. An SNR of 0 and an
infinite SNR get the limits of the formulas.
"""

import torch
from jaxtyping import Float
from torch import Tensor


def min_snr_noise_weight(snr: Float[Tensor, " T"], *, gamma: float = 5) -> Float[Tensor, " T"]:
    """For a network that predicts the noise: min(snr, gamma) / snr.

    It is 1 where the SNR is at most gamma, an SNR of 0 included. `gamma` > 0.

    Source: Hang et al., Efficient Diffusion Training via Min-SNR Weighting Strategy (arXiv 2303.09556).
    """
    _check(gamma)
    return torch.clamp(gamma / snr, max=1)  # min(snr, gamma) / snr would be 0 / 0 in pure noise


def min_snr_x_start_weight(snr: Float[Tensor, " T"], *, gamma: float = 5) -> Float[Tensor, " T"]:
    """For a network that predicts the clean sample: min(snr, gamma). `gamma` > 0."""
    _check(gamma)
    return torch.clamp(snr, max=gamma)


def min_snr_v_weight(snr: Float[Tensor, " T"], *, gamma: float = 5) -> Float[Tensor, " T"]:
    """For a network that predicts the velocity: min(snr, gamma) / (snr + 1). `gamma` > 0."""
    _check(gamma)
    return torch.clamp(snr, max=gamma) / (snr + 1)


def _check(gamma: float) -> None:
    if not gamma > 0:
        raise ValueError(f"gamma must be positive, got {gamma}")
