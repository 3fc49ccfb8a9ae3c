"""By brute force, with square roots of the degrees and the inverse of the viewmat."""

import torch

from solutions.splatting.projection import project_gaussians
from solutions.splatting.rasterizer import rasterize
from solutions.splatting.rendering import Rendering
from solutions.splatting.rotations import covariances
from solutions.splatting.spherical_harmonics import eval_sh


def render(gaussians, viewmat, K, width, height, *, background, sh_degree=None):
    means, log_scales, quats, opacity_logits, sh = gaussians
    for name in gaussians._fields:
        if not torch.isfinite(getattr(gaussians, name)).all():
            raise ValueError(name)
    if sh_degree is None:
        sh_degree = {1: 0, 4: 1, 9: 2, 16: 3}[sh.shape[1]]
    if sh_degree < 0 or (sh_degree + 1) ** 2 > sh.shape[1]:
        raise ValueError("sh_degree")
    centre = torch.linalg.inv(viewmat.double())[:3, 3].to(means.dtype)
    colors = eval_sh(degree=sh_degree, sh=sh, directions=means - centre)
    scales = torch.exp(log_scales)
    if torch.isinf(scales**2).any():
        raise ValueError("log_scales")
    flat = project_gaussians(means, covariances(scales=scales, quats=quats), viewmat, K, width, height)
    means2d = flat.means2d + 0
    image = rasterize(
        flat._replace(means2d=means2d), colors, 1 / (1 + torch.exp(-opacity_logits)), background, width, height
    )
    return Rendering(image=image, means2d=means2d, radii=flat.radii)
