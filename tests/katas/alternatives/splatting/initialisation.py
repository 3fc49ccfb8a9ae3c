"""gaussians_from_points with scipy's k-d tree: no matrix of distances at all."""

import numpy as np
import torch
from scipy.spatial import cKDTree
from scipy.special import logit

from katas.splatting.given.gaussians import Gaussians


def gaussians_from_points(points, colors, *, sh_degree=3, initial_opacity=0.1):
    if sh_degree < 0 or sh_degree > 3:
        raise ValueError("sh_degree")
    if not (initial_opacity > 0 and initial_opacity < 1):
        raise ValueError("initial_opacity")
    places = points.detach().cpu().double().numpy()
    squares = np.zeros(len(places))
    if len(places) > 1:
        distances, _ = cKDTree(places).query(places, k=range(2, min(4, len(places)) + 1))
        squares = np.mean(distances**2, axis=1)
    sizes = torch.from_numpy(np.log(np.sqrt(np.maximum(squares, 1e-7)))).to(points)
    sh = torch.cat(
        [
            (colors.detach().double()[:, None] - 0.5) * 2 * np.pi**0.5,
            colors.new_zeros(len(colors), sh_degree * (sh_degree + 2), 3, dtype=torch.float64),
        ],
        dim=1,
    )
    identity = torch.tensor([1.0, 0, 0, 0], device=points.device, dtype=points.dtype)
    return Gaussians(
        points.detach() + 0,
        torch.stack([sizes, sizes, sizes], dim=1),
        identity.repeat(len(points), 1),
        torch.full_like(sizes, float(logit(initial_opacity))),
        sh.to(points),
    )
