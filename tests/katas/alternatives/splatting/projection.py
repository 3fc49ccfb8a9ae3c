"""projection as gsplat's PyTorch reference does it: tangents, covariances in the camera, eigenvalues by torch."""

import torch

from solutions.splatting.projection import ProjectedGaussians


def project_gaussians(means, covars, viewmat, K, width, height, *, eps2d=0.3, near_plane=0.01):
    for name, number in dict(width=width, height=height, eps2d=eps2d, near_plane=near_plane).items():
        if number <= 0 or number != number:
            raise ValueError(name)
    dtype = means.dtype
    covars, viewmat, K = covars.to(dtype), viewmat.to(dtype), K.to(dtype)
    x, y, depths = (viewmat[:3] @ torch.cat([means, torch.ones_like(means[:, :1])], dim=1).T).unbind(0)
    front = depths > near_plane
    z = depths.clamp(min=near_plane)
    (fx, _, cx), (_, fy, cy) = K[0], K[1]
    tan_x, tan_y = 0.5 * width / fx, 0.5 * height / fy
    u = torch.maximum(torch.minimum(x / z, (width - cx) / fx + 0.3 * tan_x), -cx / fx - 0.3 * tan_x)
    v = torch.maximum(torch.minimum(y / z, (height - cy) / fy + 0.3 * tan_y), -cy / fy - 0.3 * tan_y)
    zero = torch.zeros_like(z)
    jacobians = torch.stack([fx / z, zero, -fx * u / z, zero, fy / z, -fy * v / z], dim=1).reshape(-1, 2, 3)
    in_camera = torch.einsum("ij,njk,lk->nil", viewmat[:3, :3], covars, viewmat[:3, :3])
    sharp = torch.einsum("nij,njk,nlk->nil", jacobians, in_camera, jacobians)
    covars2d = sharp + torch.diag_embed(torch.full_like(z, eps2d)[:, None].expand(-1, 2))
    det = torch.relu(torch.linalg.det(sharp)) + eps2d * (sharp[:, 0, 0] + sharp[:, 1, 1]) + eps2d**2
    b = (sharp[:, 0, 1] + sharp[:, 1, 0]) / 2
    conics = torch.stack([covars2d[:, 1, 1] / det, -b / det, covars2d[:, 0, 0] / det], dim=1)
    means2d = torch.stack([fx * x / z + cx, fy * y / z + cy], dim=1)
    radii = torch.ceil(3 * torch.linalg.eigvalsh(covars2d.detach())[:, 1].sqrt())
    px, py = means2d.detach().unbind(1)
    seen = front & (px + radii > 0) & (px - radii < width) & (py + radii > 0) & (py - radii < height)
    return ProjectedGaussians(means2d, depths, covars2d, conics, (radii * seen).int())
