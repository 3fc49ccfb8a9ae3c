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
    _check(x, y, at_least=1)
    return 2 * _distances(x, y).mean() - _distances(x, x).mean() - _distances(y, y).mean()


def mmd_rbf_biased(x: Float[Tensor, "N D"], y: Float[Tensor, "M D"], *, bandwidth: float) -> Float[Tensor, ""]:
    """The squared maximum mean discrepancy, E k(x, x') + E k(y, y') - 2 E k(x, y), with the kernel

        k(x, y) = exp(-|x - y|² / (2 bandwidth²))

    The means run over all pairs, a sample with itself included: up to rounding, the result is at least 0, and
    0 for equal sets; but on average it is above 0 for two sets from one distribution. Raises a ValueError
    that names `bandwidth` if it is not positive, and `x` or `y` if it has no rows.

    Source: Gretton et al., A Kernel Two-Sample Test (2012).
    """
    _check(x, y, at_least=1)
    within_x, within_y, between = _kernels(x, y, bandwidth)
    return within_x.mean() + within_y.mean() - 2 * between.mean()


def mmd_rbf_unbiased(x: Float[Tensor, "N D"], y: Float[Tensor, "M D"], *, bandwidth: float) -> Float[Tensor, ""]:
    """The same, but a sample is never paired with itself within its own set; between the sets all pairs
    count. So the average over many draws of two sets from one distribution is 0, and single values can be
    negative.

    Raises a ValueError that names `bandwidth` if it is not positive, and `x` or `y` if it has fewer than two
    rows.

    Source: Gretton et al., A Kernel Two-Sample Test (2012).
    """
    _check(x, y, at_least=2)
    within_x, within_y, between = _kernels(x, y, bandwidth)
    return _mean_off_diagonal(within_x) + _mean_off_diagonal(within_y) - 2 * between.mean()


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
    # With the symmetric roots R1 and R2, C1 C2 has the eigenvalues of R1 C2 R1 = (R1 R2) (R1 R2)^T; their
    # roots are the singular values of R1 R2. C1 C2 itself is not symmetric: its eigenvalues come out complex.
    singular_values = torch.linalg.svdvals(_symmetric_root(covariance1) @ _symmetric_root(covariance2))
    traces = covariance1.trace() + covariance2.trace() - 2 * singular_values.sum()
    return ((mean1 - mean2) ** 2).sum() + traces


def _check(x: Tensor, y: Tensor, at_least: int) -> None:
    for name, samples in (("x", x), ("y", y)):
        if len(samples) < at_least:
            raise ValueError(f"{name} must have at least {at_least} rows, got {len(samples)}")


def _distances(x: Tensor, y: Tensor) -> Tensor:
    # Through |x|² + |y|² - 2 x·y, which cdist prefers for many rows, equal rows are not exactly 0 apart.
    return torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist")


def _kernels(x: Tensor, y: Tensor, bandwidth: float) -> list[Tensor]:
    if not bandwidth > 0:
        raise ValueError(f"bandwidth must be positive, got {bandwidth}")
    pairs = ((x, x), (y, y), (x, y))
    return [torch.exp(-(_distances(a, b) ** 2) / (2 * bandwidth**2)) for a, b in pairs]


def _mean_off_diagonal(kernel: Tensor) -> Tensor:
    n = len(kernel)
    return (kernel.sum() - kernel.trace()) / (n * (n - 1))


def _symmetric_root(matrix: Tensor) -> Tensor:
    eigenvalues, vectors = torch.linalg.eigh(matrix)
    return (vectors * eigenvalues.clamp(min=0).sqrt()) @ vectors.mT  # below 0 is rounding
