"""BatchBALD: a batch whose labels together say most about the model.

The k best points by BALD are often copies of one another: each says the same about the model. What a batch says is the
mutual information of all its labels at once with the model, and a copy adds next to nothing to it.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from .bald import expected_entropy, predictive_entropy


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
    raise NotImplementedError


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
    raise NotImplementedError
