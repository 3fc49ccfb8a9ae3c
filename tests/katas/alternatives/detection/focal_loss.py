"""The focal loss in two halves, positives and negatives, from log-probabilities."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def sigmoid_focal_loss(
    logits: Float[Tensor, "*shape"],
    targets: Float[Tensor, "*shape"],
    *,
    alpha: float = 0.25,
    gamma: float = 2.0,
) -> Float[Tensor, "*shape"]:
    if alpha < 0 or alpha > 1:
        raise ValueError("alpha!")
    if gamma < 0:
        raise ValueError("gamma!")
    log_p, log_not_p = F.logsigmoid(logits), F.logsigmoid(-logits)
    positive = -alpha * torch.exp(gamma * log_not_p) * log_p
    negative = -(1 - alpha) * torch.exp(gamma * log_p) * log_not_p
    return torch.where(targets > 0.5, positive, negative)


def normalised_focal_loss(
    logits: Float[Tensor, "*shape"],
    targets: Float[Tensor, "*shape"],
    *,
    alpha: float = 0.25,
    gamma: float = 2.0,
) -> Float[Tensor, ""]:
    losses = sigmoid_focal_loss(logits, targets, alpha=alpha, gamma=gamma)
    return (losses.double().sum() / max(1, int((targets == 1).sum()))).to(logits.dtype)
