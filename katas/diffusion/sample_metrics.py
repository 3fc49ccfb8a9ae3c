"""Sample metrics: how far apart two sets of samples are, as sets.

No sample has a right answer of its own; what can be compared is the distribution. Distances between all
pairs, kernels, or just mean and covariance in the features of a network.
"""

import torch
from jaxtyping import Float
from torch import Tensor


def energy_distance(x: Float[Tensor, "N D"], y: Float[Tensor, "M D"]) -> Float[Tensor, ""]:
    """2 E|x - y| - E|x - x'| - E|y - y'|, with the Euclidean norm: for two distributions, 0 only if they are
    equal.

    The means run over all pairs, a sample with itself included (the V-statistic, which is biased): up to
    rounding, the result is at least 0, and 0 for equal sets; one sample each gives 2 |x - y|. It is not the
    square root of this, which some libraries (scipy) return. Raises a ValueError that names `x` or `y` if it
    has no rows.

    Source: Székely & Rizzo, Energy statistics: A class of statistics based on distances (2013).
    """
    raise NotImplementedError


def mmd_rbf_biased(x: Float[Tensor, "N D"], y: Float[Tensor, "M D"], *, bandwidth: float) -> Float[Tensor, ""]:
    """The squared maximum mean discrepancy, E k(x, x') + E k(y, y') - 2 E k(x, y), with the kernel

        k(x, y) = exp(-|x - y|² / (2 bandwidth²))

    The means run over all pairs, a sample with itself included: up to rounding, the result is at least 0, and
    0 for equal sets; but on average it is above 0 for two sets from one distribution. Raises a ValueError
    that names `bandwidth` if it is not positive, and `x` or `y` if it has no rows.

    Source: Gretton et al., A Kernel Two-Sample Test (2012).
    """
    raise NotImplementedError


def mmd_rbf_unbiased(x: Float[Tensor, "N D"], y: Float[Tensor, "M D"], *, bandwidth: float) -> Float[Tensor, ""]:
    """The same, but a sample is never paired with itself within its own set; between the sets all pairs
    count. So the average over many draws of two sets from one distribution is 0, and single values can be
    negative.

    Raises a ValueError that names `bandwidth` if it is not positive, and `x` or `y` if it has fewer than two
    rows.

    Source: Gretton et al., A Kernel Two-Sample Test (2012).
    """
    raise NotImplementedError


def frechet_distance(
    mean1: Float[Tensor, " D"],
    covariance1: Float[Tensor, "D D"],
    mean2: Float[Tensor, " D"],
    covariance2: Float[Tensor, "D D"],
) -> Float[Tensor, ""]:
    """|mean1 - mean2|² + trace(covariance1 + covariance2 - 2 (covariance1 covariance2)^(1/2)).

    The squared Wasserstein-2 distance of two Gaussians; of the features of two sets of images, it is what FID
    measures. Covariances are symmetric, and may be singular (fewer images than features): the result is right
    there, too, and never NaN. It is 0 up to rounding for equal Gaussians. The result has the dtype of
    the arguments, which should be float64: for singular covariances rounding costs up to the square root of the
    dtype's precision, for each dimension.

    Source: Dowson & Landau, The Fréchet distance between multivariate normal distributions (1982); Heusel et
    al., GANs Trained by a Two Time-Scale Update Rule (arXiv 1706.08500).
    """
    raise NotImplementedError
