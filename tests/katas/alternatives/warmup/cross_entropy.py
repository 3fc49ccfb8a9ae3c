"""By PyTorch's logsumexp, and one matrix of wanted shares for all options."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor


def log_softmax(logits: Float[Tensor, "*batch C"]) -> Float[Tensor, "*batch C"]:
    return logits - torch.logsumexp(logits, dim=-1, keepdim=True)


def cross_entropy(
    logits: Float[Tensor, "N C"],
    targets: Int64[Tensor, " N"],
    *,
    label_smoothing: float = 0.0,
    ignore_index: int = -100,
) -> Float[Tensor, ""]:
    if not (label_smoothing >= 0 and label_smoothing <= 1):
        raise ValueError("label_smoothing: from 0 to 1")
    rows = torch.nonzero(targets != ignore_index).flatten()
    if len(rows) == 0:
        return logits[:0].sum()
    classes = logits.shape[1]
    shares = (1 - label_smoothing) * F.one_hot(targets[rows], classes).to(logits.dtype) + label_smoothing / classes
    logs = log_softmax(logits.index_select(0, rows))
    return -torch.where(shares > 0, shares * logs.where(shares > 0, 0), 0).sum() / len(rows)
