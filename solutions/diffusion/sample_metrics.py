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
    _check(x, y, at_least=1)
    return 2 * _distances(x, y).mean() - _distances(x, x).mean() - _distances(y, y).mean()


def mmd_rbf_biased(x: Float[Tensor, "N D"], y: Float[Tensor, "M D"], *, bandwidth: float) -> Float[Tensor, ""]:
    """The squared maximum mean discrepancy, E k(x, x') + E k(y, y') - 2 E k(x, y), with the kernel

        k(x, y) = exp(-|x - y|² / (2 bandwidth²))

    The means run over all pairs, and a sample is also paired with itself. So the result is at least 0 up to rounding,
    and 0 for equal sets. For two sets from one distribution it is above 0 on average. `bandwidth` > 0; `x` and `y` have
    at least 1 row.

    Source: Gretton et al., A Kernel Two-Sample Test (2012).
    """
    _check(x, y, at_least=1)
    within_x, within_y, between = _kernels(x, y, bandwidth)
    return within_x.mean() + within_y.mean() - 2 * between.mean()


def mmd_rbf_unbiased(x: Float[Tensor, "N D"], y: Float[Tensor, "M D"], *, bandwidth: float) -> Float[Tensor, ""]:
    """The same, but within a set no sample is paired with itself. Between the sets all pairs count.

    For two sets from one distribution the average over many draws is 0, so single values can be negative. `bandwidth` >
    0; `x` and `y` have at least 2 rows.

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

    The squared Wasserstein-2 distance of two Gaussians. FID is this distance of the features of two sets of images.
    Covariances are symmetric. They may be singular (fewer images than features). The result is correct then as well.
    The arguments should be float64: for singular covariances the error may reach D · √eps of the dtype.

    Source: Dowson & Landau, The Fréchet distance between multivariate normal distributions (1982); Heusel et al., GANs
    Trained by a Two Time-Scale Update Rule (arXiv 1706.08500).
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
