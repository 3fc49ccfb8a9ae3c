"""BatchBALD: a batch whose labels together say most about the model.

The k best points by BALD are often copies of one another: each says the same about the model. What a batch says is the
mutual information of all its labels at once with the model, and a copy adds next to nothing to it.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from .bald import expected_entropy, predictive_entropy

_NUMBERS = 2**22  # at a time


class BatchBald(NamedTuple):
    """The points in the order in which they were chosen, and what each adds to those before it, in nats."""

    indices: Int64[Tensor, "batch"]
    gains: Float[Tensor, "batch"]


def joint_entropy(log_probs: Float[Tensor, "B K C"]) -> Float[Tensor, ""]:
    """H(y_1, …, y_B) in nats, the entropy of the labels of B points taken together.

        p(y_1, …, y_B) = mean_k prod_b p_k(y_b)

    The sum runs over all C^B configurations. Given a member the labels are independent; their mean is not, since every
    label says something about which member is right. Without points (B = 0) it is 0. A configuration with p = 0 adds 0,
    and the gradient is finite.

    Source: Kirsch et al., BatchBALD (arXiv 1906.08158), section 3.
    """
    return predictive_entropy(_all_likelihoods(log_probs)[None])[0]  # a configuration is a class of one large label


@torch.no_grad()
def batch_bald(
    log_probs: Float[Tensor, "N K C"],
    batch_size: int,
    *,
    max_configurations: int = 100_000,
    generator: torch.Generator | None = None,
) -> BatchBald:
    """Greedily, each time the point that adds most to what the labels of the batch say about the model:

        I(y_1, …, y_b; model) = H(y_1, …, y_b) - sum_i mean_k H[p_k(y_i)]

    `gains` are the increments of I. None is negative, and they never rise (estimates may: they err). No point comes
    twice. Ties go to the lowest index. Nothing carries a gradient.

    Labels of b chosen points have C^b configurations. Up to `max_configurations` all are used and nothing is drawn.
    Beyond, M = `max_configurations` draws y, each a member and then a class for each point, give an estimate. Then a
    `generator` is needed:

        H(y_1, …, y_b, y') ≈ -1/M sum_y sum_y' p(y, y') / p(y) log p(y, y')

    p(y) of 40 labels does not underflow in float32. No tensor exceeds

        max(2²⁴, N K C, M K, M C) numbers

    `log_probs` are checked as in `bald`.

        0 ≤ batch_size ≤ N,    max_configurations ≥ 1

    Source: Kirsch et al., BatchBALD (arXiv 1906.08158), section 3.
    """
    count, _, classes = log_probs.shape
    if not 0 <= batch_size <= count:
        raise ValueError(f"batch_size must lie between 0 and the {count} points that there are, got {batch_size}")
    if max_configurations < 1:
        raise ValueError(f"max_configurations must be positive, got {max_configurations}")
    if generator is None and classes ** max(batch_size - 1, 0) > max_configurations:
        raise ValueError(f"generator is needed: {classes}^{batch_size - 1} configurations are too many to enumerate")
    noise = expected_entropy(log_probs)
    indices, gains = torch.empty(0, dtype=torch.int64, device=log_probs.device), log_probs.new_empty(0)
    for _ in range(batch_size):
        likelihoods, weights = _likelihoods(log_probs[indices], max_configurations, generator)
        gain = (_conditional_entropies(log_probs, likelihoods, weights) - noise).clamp(min=0)
        gain[indices] = -1  # below every other
        best = gain.argmax()[None]
        indices, gains = torch.cat([indices, best]), torch.cat([gains, gain[best]])
    return BatchBald(indices, gains)


def _likelihoods(
    chosen: Float[Tensor, "B K C"], most: int, generator: torch.Generator | None
) -> tuple[Float[Tensor, "K M"], Float[Tensor, "M"]]:
    """log p_k(y) of configurations y of the labels of the chosen points, and how much each configuration counts."""
    if chosen.shape[2] ** len(chosen) <= most:
        likelihoods = _all_likelihoods(chosen)
        return likelihoods, likelihoods.exp().mean(0)
    members = torch.randint(chosen.shape[1], (most,), generator=generator, device=chosen.device)
    likelihoods = chosen.new_zeros(chosen.shape[1], most)
    for point in chosen:
        classes = torch.multinomial(point.exp()[members], 1, generator=generator)[:, 0]
        likelihoods = likelihoods + point[:, classes]
    return likelihoods, chosen.new_full((most,), 1 / most)


def _all_likelihoods(log_probs: Float[Tensor, "B K C"]) -> Float[Tensor, "K configurations"]:
    likelihoods = log_probs.new_zeros(log_probs.shape[1], 1)
    for point in log_probs:
        likelihoods = (likelihoods[:, :, None] + point[:, None]).flatten(1)
    return likelihoods


def _conditional_entropies(
    log_probs: Float[Tensor, "N K C"], likelihoods: Float[Tensor, "K M"], weights: Float[Tensor, "M"]
) -> Float[Tensor, "N"]:
    """H(y' | y_1, …, y_b) of every point: its joint entropy with the chosen ones, minus theirs.

    Labels y make some members likelier: p(k | y). p(y, y') / p(y) is the prediction of the members weighted by it. So
    the gain of a point is its BALD in the ensemble that has seen the labels, averaged over what they may be.
    """
    posterior = likelihoods.softmax(0).nan_to_num(0)  # NaN where p(y) = 0: such labels have no weight
    probs, entropies = log_probs.exp().mT, log_probs.new_zeros(len(log_probs))
    size = max(_NUMBERS // max(probs[:, :, 0].numel(), 1), 1)
    for some, weight in zip(posterior.split(size, dim=1), weights.split(size), strict=True):
        predictive = probs @ some  # (N, C, size)
        entropies = entropies - torch.xlogy(predictive, predictive).sum(1) @ weight
    return entropies
