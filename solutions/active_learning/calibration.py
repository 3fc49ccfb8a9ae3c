"""Is a model right as often as it says? A measure of the difference, and one number that makes it smaller.

Networks that are trained to a small loss are often overconfident: of the predictions with confidence 0.99, perhaps 90 %
are right. Uncertainty that decides what to buy is only as good as these numbers.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

_COLDEST, _HOTTEST = 0.05, 20.0  # the temperatures that are searched
_HALVINGS = 40  # of log 400: the last interval is 5e-12 long


@torch.no_grad()
def expected_calibration_error(
    log_probs: Float[Tensor, "N C"], labels: Int[Tensor, " N"], *, num_bins: int = 15
) -> Float[Tensor, ""]:
    """The distance between accuracy and confidence, averaged over bins of confidence.

        ECE = sum_b n_b / N · |accuracy_b - mean confidence_b|

    The prediction is the most likely class, the lowest of several. Its probability is the confidence. Bin b = 0, 1, …,
    num_bins - 1 holds the n_b examples with confidence in (b / num_bins, (b + 1) / num_bins]: a confidence of 1 is in
    the last bin. An empty bin counts nothing. Without examples the error is 0. Computed in float64. `num_bins` ≥ 1.

    Source: Guo et al., On Calibration of Modern Neural Networks (arXiv 1706.04599).
    """
    if num_bins < 1:
        raise ValueError(f"num_bins must be at least 1, got {num_bins}")
    confidences, predictions = log_probs.double().exp().max(dim=1)
    bins = (confidences * num_bins).ceil().long().clamp(1, num_bins) - 1
    # n_b · (accuracy_b - confidence_b) is the sum of these over the bin: no division, so empty bins need no care
    gaps = (predictions == labels).double() - confidences
    sums = gaps.new_zeros(num_bins).index_add(0, bins, gaps)
    return (sums.abs().sum() / max(len(labels), 1)).to(log_probs.dtype)


@torch.no_grad()
def fit_temperature(logits: Float[Tensor, "N C"], labels: Int[Tensor, " N"]) -> Float[Tensor, ""]:
    """The temperature T in [0.05, 20] by which logits are divided, so that their cross-entropy is smallest.

        T = argmin_T  mean_i -log softmax(z_i / T)[y_i]

    T > 1 takes confidence away, T < 1 adds it. Predictions stay what they are. The loss is convex in 1/T. All
    predictions right: T is 0.05, also where the loss is so small that it is rounded to 0. Each label the least likely
    class: T is 20. T is computed in float64, and is exact to 1e-4 relative. Without examples it is 1. It carries no
    gradient. Logits are finite.

    Fit it on labelled examples that the model was not trained on.

    Source: Guo et al. (arXiv 1706.04599), temperature scaling.
    """
    if len(labels) == 0:
        return logits.new_ones(())
    exact = logits.double()
    above_label = exact - exact.gather(1, labels.long()[:, None])
    low, high = exact.new_tensor([_COLDEST, _HOTTEST]).log()
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        colder_is_better = _slope(above_label, 1 / middle.exp()) <= 0  # 0: rounded, all right
        low, high = torch.where(colder_is_better, low, middle), torch.where(colder_is_better, middle, high)
    return ((low + high) / 2).exp().to(logits.dtype)


def _slope(above_label: Float[Tensor, "N C"], inverse: Float[Tensor, ""]) -> Float[Tensor, ""]:
    """Of the loss, mean log sum exp(s / T) with s = z - z[y], with respect to 1/T. It never falls as 1/T grows."""
    return ((inverse * above_label).softmax(dim=1) * above_label).sum(dim=1).mean()
