"""Is a model right as often as it says? A measure of the difference, and one number that makes it smaller.

Networks that are trained to a small loss are often overconfident: of the predictions with confidence 0.99, perhaps 90 %
are right. Uncertainty that decides what to buy is only as good as these numbers.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

_COLDEST, _HOTTEST = 0.05, 20.0  # the temperatures that are searched


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
    raise NotImplementedError


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
    raise NotImplementedError
