"""By sorting, by index_put_, and by a mean that moves."""

import torch
from jaxtyping import Float, Int, Int64
from torch import Tensor


def topk_accuracy(logits: Float[Tensor, "N C"], targets: Int64[Tensor, " N"], k: int = 1) -> Float[Tensor, ""]:
    if k not in range(1, logits.shape[1] + 1):
        raise ValueError("k: at least one class, at most all")
    if len(targets) == 0:
        return torch.zeros((), dtype=logits.dtype, device=logits.device)
    rows = torch.arange(len(targets), device=logits.device)
    mine = logits[rows, targets]
    others = logits.nan_to_num(nan=torch.inf, posinf=torch.inf, neginf=-torch.inf).clone()
    others[rows, targets] = -torch.inf
    larger_or_equal = others >= mine[:, None]
    larger_or_equal[rows, targets] = False
    right = larger_or_equal.sum(1).lt(k).logical_and(mine == mine)
    return right.double().mean().to(logits.dtype)


def confusion_matrix(
    predictions: Int[Tensor, " N"], targets: Int[Tensor, " N"], num_classes: int
) -> Int64[Tensor, "num_classes num_classes"]:
    for name, some in {"targets": targets, "predictions": predictions}.items():
        if len(some) and not (0 <= int(some.min()) and int(some.max()) < num_classes):
            raise ValueError(f"{name}: no such class")
    matrix = torch.zeros(num_classes, num_classes, dtype=torch.int64, device=targets.device)
    one = torch.ones(len(targets), dtype=torch.int64, device=targets.device)
    return matrix.index_put_((targets.long(), predictions.long()), one, accumulate=True)


class RunningMean:
    def __init__(self) -> None:
        self.mean, self.seen = float("nan"), 0

    def update(self, mean: float | Float[Tensor, ""], count: int) -> None:
        if count < 0:
            raise ValueError("count: not negative")
        if count == 0:
            return
        new = mean.item() if isinstance(mean, Tensor) else float(mean)
        self.seen += count
        self.mean = new if self.seen == count else self.mean + (new - self.mean) * count / self.seen

    @property
    def value(self) -> float:
        return self.mean
