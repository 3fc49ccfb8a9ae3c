"""How unsure one model is of one prediction: three scores of its class probabilities, higher is more worth buying."""

import torch
from jaxtyping import Float
from torch import Tensor


def least_confidence(log_probs: Float[Tensor, "*batch C"]) -> Float[Tensor, "*batch"]:
    """1 - p_1, where p_1 is the largest of the C probabilities.

    `log_probs` are checked: a row that holds NaN, or whose probabilities do not sum to 1 within 1e-3 (8 times the eps
    of the dtype where that is more), raises a ValueError. -inf is a probability of 0.

    Source: Settles, Active Learning Literature Survey (2009), section 3.1.
    """
    _check(log_probs)
    return 1 - log_probs.amax(-1).exp()


def margin(log_probs: Float[Tensor, "*batch C"]) -> Float[Tensor, "*batch"]:
    """1 - (p_1 - p_2), of the two largest probabilities: 1 if they tie, 0 if the prediction is certain.

    With a single class there is no p_2, and the score is 0. `log_probs` are checked as in `least_confidence`.

    Source: Settles (2009), section 3.1. He buys where p_1 - p_2 is smallest; here it is subtracted from 1.
    """
    _check(log_probs)
    largest, where = log_probs.max(dim=-1, keepdim=True)
    second = log_probs.scatter(-1, where, -torch.inf).amax(-1)  # topk takes three times as long
    return 1 - (largest[..., 0].exp() - second.exp())


def entropy(log_probs: Float[Tensor, "*batch C"]) -> Float[Tensor, "*batch"]:
    """-sum_c p_c log p_c in nats: between 0, certain, and log C, all classes alike.

    A class with p = 0 adds 0, and its gradient is finite. `log_probs` are checked as in `least_confidence`.

    Source: Settles (2009), section 3.1.
    """
    _check(log_probs)
    # 0 · -inf is NaN, in the backward pass also where the product is masked afterwards
    finite = log_probs.masked_fill(log_probs == -torch.inf, 0)
    return -(log_probs.exp() * finite).sum(-1)


def _check(log_probs: Tensor) -> None:
    off = (log_probs.detach().exp().sum(-1) - 1).abs()
    tolerance = max(1e-3, 8 * torch.finfo(log_probs.dtype).eps)  # float16 rounds the logarithms themselves
    if not (off <= tolerance).all():  # false for NaN
        raise ValueError(
            f"log_probs must be logarithms of probabilities that sum to 1, off by {off.max():.3g}: log_softmax?"
        )
