"""The time embedding as real and imaginary parts of e^(i t f), all in double precision."""

import torch


def timestep_embedding(t, dim, *, max_period=10_000):
    if not dim > 1:
        raise ValueError("dim of at least 2, please")
    half = dim // 2
    frequencies = torch.tensor([max_period ** (-i / half) for i in range(half)], dtype=torch.float64, device=t.device)
    waves = torch.polar(torch.ones_like(frequencies).expand(len(t), -1), torch.outer(t.double(), frequencies))
    row = torch.zeros(len(t), dim, dtype=torch.float64, device=t.device)
    row[:, :half], row[:, half : 2 * half] = waves.real, waves.imag
    return row.to(t.dtype if t.is_floating_point() else torch.float32)
