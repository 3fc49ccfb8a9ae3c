"""Batches whose examples differ: far from each other, or with gradients that point to different sides.

The most uncertain examples of a pool are often the same example many times over. K-center greedy covers the pool and
does not look at uncertainty. BADGE draws by k-means++ among gradient embeddings: they are long where the model is
uncertain, and they differ in direction where the examples differ.
"""

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional as F


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
    raise NotImplementedError


@torch.no_grad()
def badge_embeddings(log_probs: Float[Tensor, "N C"], features: Float[Tensor, "N D"]) -> Float[Tensor, "N C*D"]:
    """The gradient of the loss that each example would have if the model were right, for the last linear layer.

        logits = W h + b,   loss = -log p_ŷ with ŷ = argmax p:   d loss / dW = (p - onehot(ŷ)) ⊗ h

    `features` are h, the input of that layer. ŷ counts as a constant, and is the lowest class where several are the
    most likely. Each row is one example's own gradient, flattened class by class: the D numbers of class 0 come first.
    The bias has no part in it. The embeddings carry no gradient.

    Source: Ash et al., Deep Batch Active Learning by Diverse, Uncertain Gradient Lower Bounds (arXiv 1906.03671).
    """
    raise NotImplementedError


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
    raise NotImplementedError
