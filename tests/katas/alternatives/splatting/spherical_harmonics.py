"""The harmonics by the recurrences of their associated Legendre functions, one order after another."""

import math

import torch


def eval_sh(degree, sh, directions):
    if not 0 <= degree <= 3:
        raise ValueError("degree")
    if sh.size(1) < (degree + 1) ** 2:
        raise ValueError("sh")
    wide = torch.promote_types(sh.dtype, directions.dtype)
    lengths = torch.linalg.vector_norm(directions, dim=-1, keepdim=True)
    x, y, z = (directions / torch.where(lengths > 0, lengths, 1)).to(wide).T
    # sin(θ)^m cos(mφ) and sin(θ)^m sin(mφ): real and imaginary part of (x + iy)^m
    waves = [(torch.ones_like(x), torch.zeros_like(x))]
    for _ in range(degree):
        real, imaginary = waves[-1]
        waves.append((x * real - y * imaginary, x * imaginary + y * real))
    color = torch.full_like(sh[:, 0].to(wide), 0.5)
    for m, (real, imaginary) in enumerate(waves):
        before, legendre = torch.zeros_like(z), torch.full_like(z, (-1) ** m * math.prod(range(1, 2 * m, 2)))
        for l in range(m, degree + 1):
            norm = math.sqrt((2 * l + 1) / (4 * math.pi) * math.factorial(l - m) / math.factorial(l + m))
            norm *= math.sqrt(2) if m else 1
            color = color + (norm * legendre * real)[:, None] * sh[:, l * l + l + m]
            if m:
                color = color + (norm * legendre * imaginary)[:, None] * sh[:, l * l + l - m]
            before, legendre = legendre, ((2 * l + 1) * z * legendre - (l + m) * before) / (l + 1 - m)
    return torch.relu(color).to(sh.dtype)
