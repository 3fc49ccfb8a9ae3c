"""Sample metrics: how far apart two sets of samples are, as sets.

A generated sample has no right answer, but its distribution has. It is compared by the distances of all pairs, by a
kernel, or by mean and covariance in the features of a network.
"""

import torch
from jaxtyping import Float
from torch import Tensor


def energy_distance(x: Float[Tensor, "N D"], y: Float[Tensor, "M D"]) -> Float[Tensor, ""]:
    """2 E|x - y| - E|x - x'| - E|y - y'| with the Euclidean norm. Of two distributions it is 0 only if they are equal.

    The means run over all pairs, and a sample is also paired with itself (the biased V-statistic). So the result is at
    least 0 up to rounding, and 0 for equal sets. One sample each gives 2 |x - y|. Some libraries (scipy) return the
    square root of this. `x` and `y` have at least 1 row.

    Source: Székely & Rizzo, Energy statistics: A class of statistics based on distances (2013).
    """
    raise NotImplementedError


def mmd_rbf_biased(x: Float[Tensor, "N D"], y: Float[Tensor, "M D"], *, bandwidth: float) -> Float[Tensor, ""]:
    """The squared maximum mean discrepancy, E k(x, x') + E k(y, y') - 2 E k(x, y), with the kernel

        k(x, y) = exp(-|x - y|² / (2 bandwidth²))

    The means run over all pairs, and a sample is also paired with itself. So the result is at least 0 up to rounding,
    and 0 for equal sets. For two sets from one distribution it is above 0 on average. `bandwidth` > 0; `x` and `y` have
    at least 1 row.

    Source: Gretton et al., A Kernel Two-Sample Test (2012).
    """
    raise NotImplementedError


def mmd_rbf_unbiased(x: Float[Tensor, "N D"], y: Float[Tensor, "M D"], *, bandwidth: float) -> Float[Tensor, ""]:
    """The same, but within a set no sample is paired with itself. Between the sets all pairs count.

    For two sets from one distribution the average over many draws is 0, so single values can be negative. `bandwidth` >
    0; `x` and `y` have at least 2 rows.

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

    The squared Wasserstein-2 distance of two Gaussians. FID is this distance of the features of two sets of images.
    Covariances are symmetric. They may be singular (fewer images than features). The result is correct then as well.
    The arguments should be float64: for singular covariances the error may reach D · √eps of the dtype.

    Source: Dowson & Landau, The Fréchet distance between multivariate normal distributions (1982); Heusel et al., GANs
    Trained by a Two Time-Scale Update Rule (arXiv 1706.08500).
    """
    raise NotImplementedError
