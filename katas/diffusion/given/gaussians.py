"""Exact denoisers: for data that is a mixture of Gaussians, the best possible noise prediction is a formula.

A diffusion model trained for ever on such data would predict exactly this. So samplers can be tested against
exact answers, and training against the best that there is.
"""

from collections.abc import Sequence

import torch
from torch import Tensor


class GaussianMixture:
    """K Gaussians in D dimensions: `weights` (K,), `means` (K, D), `covariances` (K, D, D), all float64."""

    def __init__(self, weights: Sequence[float], means: Sequence, covariances: Sequence) -> None:
        def table(numbers) -> Tensor:
            return torch.as_tensor(numbers, dtype=torch.float64)

        self.weights, self.means, self.covariances = table(weights), table(means), table(covariances)
        self.weights = self.weights / self.weights.sum()

    def component(self, k: int) -> "GaussianMixture":
        """The k-th Gaussian alone: what conditioning on the label k leaves."""
        return GaussianMixture([1.0], self.means[[k]], self.covariances[[k]])

    def mean(self) -> Tensor:
        """(D,)"""
        return self.weights @ self.means

    def covariance(self) -> Tensor:
        """(D, D): the average within the components plus that of their means."""
        apart = self.means - self.mean()
        within = (self.weights[:, None, None] * self.covariances).sum(dim=0)
        return within + (self.weights * apart.T) @ apart

    def sample(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """(count, D) samples, and (count,) the component that each comes from."""
        components = torch.multinomial(self.weights, count, replacement=True, generator=generator)
        noise = torch.randn(count, self.means.shape[1], 1, dtype=torch.float64, generator=generator)
        roots = torch.linalg.cholesky(self.covariances)
        return self.means[components] + (roots[components] @ noise)[..., 0], components

    def predict_noise(self, x: Tensor, t: Tensor, alphas_cumprod: Tensor) -> Tensor:
        """E[noise | x_t = x], for x (B, *shape) with D elements a sample and t (B,): what the best of all
        networks predicts.

        x_t is a mixture too, of Gaussians with means sqrt(abar) μ_k and covariances abar Σ_k + (1 - abar) I,
        and the noise is - sqrt(1 - abar) times the gradient of its log-density.
        """
        abar = alphas_cumprod.double().cpu()[t.cpu()][:, None]  # (B, 1)
        away = x.detach().double().cpu().reshape(len(x), 1, -1) - (abar.sqrt()[..., None] * self.means)
        identity = torch.eye(self.means.shape[1], dtype=torch.float64)
        noised = abar[..., None, None] * self.covariances + (1 - abar[..., None, None]) * identity  # (B, K, D, D)
        pulls = torch.linalg.solve(noised, away[..., None])[..., 0]  # (B, K, D)
        log_likelihoods = -0.5 * ((away * pulls).sum(dim=-1) + torch.logdet(noised))
        shares = (self.weights.log() + log_likelihoods).softmax(dim=-1)
        noise = (1 - abar).sqrt() * (shares[..., None] * pulls).sum(dim=1)
        return noise.reshape(x.shape).to(x)
