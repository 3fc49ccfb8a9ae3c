"""Batches whose examples differ: far from each other, or with gradients that point to different sides.

The most uncertain examples of a pool are often the same example many times over. K-center greedy covers the pool and
does not look at uncertainty. BADGE draws by k-means++ among gradient embeddings: they are long where the model is
uncertain, and they differ in direction where the examples differ.
"""

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional as F

_DISTANCES = 2**20  # at a time


@torch.no_grad()
def k_center_greedy(
    features: Float[Tensor, "N D"], labelled: Float[Tensor, "M D"], budget: int
) -> Int64[Tensor, "budget"]:
    """The rows of `features` to buy, in the order in which they are chosen.

        next = argmax_i min_j |features_i - c_j|,   c_j: all labelled points and all rows chosen so far

    Distances are Euclidean and computed in float64, not by way of |a|² - 2ab + |b|². Of equal distances the lowest row
    wins. Without any labelled point the first row is 0. No row is chosen twice, also where rows are equal. Memory grows
    with N and M, not with N · M or N². `budget` lies between 0 and N.

    Source: Sener & Savarese, Active Learning for Convolutional Neural Networks: A Core-Set Approach (arXiv 1708.00489).
    """
    _check_budget(budget, len(features))
    points, centers = features.double(), labelled.double()
    nearest = points.new_full((len(points),), torch.inf)
    at_once = max(_DISTANCES // max(len(points), 1), 1)
    for start in range(0, len(centers), at_once):
        nearest = torch.minimum(nearest, _distances(points, centers[start : start + at_once]).amin(1))
    chosen = [nearest.new_empty(0, dtype=torch.int64)]
    for _ in range(budget):
        row = nearest.argmax(dim=0, keepdim=True)
        nearest = torch.minimum(nearest, _distances(points, points[row]).squeeze(1))
        nearest[row] = -1  # a duplicate of a chosen row has the distance 0, and may still be chosen
        chosen.append(row)
    return torch.cat(chosen)


@torch.no_grad()
def badge_embeddings(log_probs: Float[Tensor, "N C"], features: Float[Tensor, "N D"]) -> Float[Tensor, "N C*D"]:
    """The gradient of the loss that each example would have if the model were right, for the last linear layer.

        logits = W h + b,   loss = -log p_ŷ with ŷ = argmax p:   d loss / dW = (p - onehot(ŷ)) ⊗ h

    `features` are h, the input of that layer. ŷ counts as a constant, and is the lowest class where several are the
    most likely. Each row is one example's own gradient, flattened class by class: the D numbers of class 0 come first.
    The bias has no part in it. The embeddings carry no gradient.

    Source: Ash et al., Deep Batch Active Learning by Diverse, Uncertain Gradient Lower Bounds (arXiv 1906.03671).
    """
    classes = log_probs.shape[1]
    errors = log_probs.exp() - F.one_hot(log_probs.argmax(dim=1), classes)
    embeddings = errors[:, :, None] * features[:, None, :]  # (N, C, D)
    return embeddings.flatten(1).to(log_probs.dtype)


@torch.no_grad()
def kmeans_plus_plus(
    points: Float[Tensor, "N D"], budget: int, *, generator: torch.Generator
) -> Int64[Tensor, "budget"]:
    """Rows of `points`, drawn one after the other, each likely to be far from those before it.

        P(first = i) = 1 / N,   P(next = i) ∝ min_j |points_i - points_j|²,   j: the rows drawn so far

    Distances are computed in float64, not by way of |a|² - 2ab + |b|². No row is drawn twice. Where all rows that are
    left lie on rows already drawn, the next one is uniform among those left. Memory grows with N, not with N². `budget`
    lies between 0 and N. The generator is on the device of `points`.

    Source: Arthur & Vassilvitskii, k-means++: The Advantages of Careful Seeding (2007).
    """
    _check_budget(budget, len(points))
    points = points.double()
    left = points.new_ones(len(points))
    nearest, chosen = torch.full_like(left, torch.inf), [left.new_empty(0, dtype=torch.int64)]
    for step in range(budget):
        weights = nearest.square() if step else left
        weights = torch.where(weights.any(), weights, left)
        row = torch.multinomial(weights, 1, generator=generator)
        nearest = torch.minimum(nearest, _distances(points, points[row]).squeeze(1))
        left[row] = 0
        chosen.append(row)
    return torch.cat(chosen)


def _distances(a: Float[Tensor, "A D"], b: Float[Tensor, "B D"]) -> Float[Tensor, "A B"]:
    # |a|² + |b|² - 2 ab, the default of cdist, loses all digits far from the origin: a row is not at 0 from itself
    return torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")


def _check_budget(budget: int, count: int) -> None:
    if not 0 <= budget <= count:
        raise ValueError(f"budget must lie between 0 and the number of rows, {count}, got {budget}")
