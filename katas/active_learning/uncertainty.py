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
    raise NotImplementedError


def margin(log_probs: Float[Tensor, "*batch C"]) -> Float[Tensor, "*batch"]:
    """1 - (p_1 - p_2), of the two largest probabilities: 1 if they tie, 0 if the prediction is certain.

    With a single class there is no p_2, and the score is 0. `log_probs` are checked as in `least_confidence`.

    Source: Settles (2009), section 3.1. He buys where p_1 - p_2 is smallest; here it is subtracted from 1.
    """
    raise NotImplementedError


def entropy(log_probs: Float[Tensor, "*batch C"]) -> Float[Tensor, "*batch"]:
    """-sum_c p_c log p_c in nats: between 0, certain, and log C, all classes alike.

    A class with p = 0 adds 0, and its gradient is finite. `log_probs` are checked as in `least_confidence`.

    Source: Settles (2009), section 3.1.
    """
    raise NotImplementedError
