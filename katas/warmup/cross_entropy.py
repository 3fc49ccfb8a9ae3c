"""Cross-entropy: the loss of a classifier, from logits, without ever computing exp of a large number."""

from jaxtyping import Float, Int64
from torch import Tensor


def log_softmax(logits: Float[Tensor, "*batch C"]) -> Float[Tensor, "*batch C"]:
    """Logarithms of the probabilities of C classes, along the last axis:

        log p_c = z_c - log Σ_k exp(z_k)

    exp(89) is infinite in float32. Softmax does not change if the same number is added to all logits, so subtract the
    largest first: then every exp is at most 1, and one of them is 1. A logit of -inf has the probability 0. Values and
    gradients are right at gaps of 1000 between logits, where a softmax followed by a logarithm gives log 0.
    (`torch.nn.functional.log_softmax`.)
    """
    raise NotImplementedError


def cross_entropy(
    logits: Float[Tensor, "N C"],
    targets: Int64[Tensor, " N"],
    *,
    label_smoothing: float = 0.0,
    ignore_index: int = -100,
) -> Float[Tensor, ""]:
    """The mean over the rows of the negative log-likelihood of their targets. With s = `label_smoothing`, a row costs

        -(1 - s) * log p_target - s * mean over c of log p_c

    A row whose target is `ignore_index`, be it a class, counts nowhere: not in the sum, not in the number of rows, not
    in the gradient, even if its logits are NaN. Without any row that counts the loss is 0, and so is its gradient.
    (`torch.nn.functional.cross_entropy`, which gives NaN there.) A network that knows nothing has a loss of log C.

    0 <= `label_smoothing` <= 1.
    """
    raise NotImplementedError
