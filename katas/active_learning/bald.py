"""Bayesian active learning by disagreement: what a label would tell about the model, not only how unsure it is.

An ensemble (or one network with dropout left on) predicts each example K times. Two kinds of uncertainty look alike in
the mean prediction. If every member says 50 : 50, the label is noise, and buying it teaches nothing. If half of them
are sure of one class and half of another, the label decides between them.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from .uncertainty import entropy


def predictive_entropy(log_probs: Float[Tensor, "N K C"]) -> Float[Tensor, "N"]:
    """H[mean_k p_k], the entropy in nats of the mean over the K members of their probabilities.

    Probabilities are averaged, neither logits nor log-probabilities: log mean_k p_k = logsumexp_k log p_k - log K.

    `log_probs` are checked as in `uncertainty`, the row of every member. -inf is a probability of 0; the gradient is
    finite, also where all members give the class p = 0, whose logsumexp has none.

    Source: Gal et al., Deep Bayesian Active Learning with Image Data (arXiv 1703.02910).
    """
    raise NotImplementedError


def expected_entropy(log_probs: Float[Tensor, "N K C"]) -> Float[Tensor, "N"]:
    """mean_k H[p_k], the mean over the K members of their entropies in nats: the noise that a label cannot remove.

    `log_probs` are checked as in `predictive_entropy`.
    """
    raise NotImplementedError


def mutual_information(log_probs: Float[Tensor, "N K C"]) -> Float[Tensor, "N"]:
    """I(y; model) = H[mean_k p_k] - mean_k H[p_k] in nats: how much the label says about which member is right.

    It lies between 0, where all members predict the same, and min(log K, log C). Rounding does not make it negative: it
    is clamped there. `log_probs` are checked as in `predictive_entropy`.

    Source: Houlsby et al., Bayesian Active Learning for Classification and Preference Learning (arXiv 1112.5745).
    """
    raise NotImplementedError
