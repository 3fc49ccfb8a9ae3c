"""calibration with a loop over bins and a golden section on the loss itself."""

import math

import torch
from torch.nn import functional as F


def expected_calibration_error(log_probs, labels, *, num_bins=15):
    if num_bins <= 0:
        raise ValueError("num_bins")
    confidence = log_probs.detach().double().amax(1).exp()
    right = (log_probs.detach().argmax(1) == labels).double()
    error = torch.zeros((), dtype=torch.float64, device=log_probs.device)
    edges = torch.arange(num_bins + 1, dtype=torch.float64, device=log_probs.device) / num_bins
    for low, high in zip(edges[:-1], edges[1:], strict=True):
        inside = (confidence > low) & (confidence <= high)
        if inside.any():
            error = error + inside.double().mean() * (right[inside].mean() - confidence[inside].mean()).abs()
    return error.to(log_probs.dtype)


def fit_temperature(logits, labels):
    if not len(labels):
        return torch.ones((), dtype=logits.dtype, device=logits.device)

    def loss(log_t):
        return F.cross_entropy(logits.detach().double() / math.exp(log_t), labels.long()).item()

    low, high, ratio = math.log(0.05), math.log(20), (math.sqrt(5) - 1) / 2
    left, right = high - ratio * (high - low), low + ratio * (high - low)
    at_left, at_right = loss(left), loss(right)
    while high - low > 1e-6:
        if at_left <= at_right:
            high, right, at_right = right, left, at_left
            left = high - ratio * (high - low)
            at_left = loss(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + ratio * (high - low)
            at_right = loss(right)
    return torch.tensor(math.exp((low + high) / 2), dtype=logits.dtype, device=logits.device)
