"""rotations by the outer products of quaternion algebra, and covariances by matrix products."""

import torch


def quats_to_rotmats(quats):
    """(w² - |v|²) I + 2 v v^T + 2 w [v]x, divided by |q|² at the end."""
    length = (quats * quats).sum(-1)[..., None, None]
    w, v = quats[..., 0, None, None], quats[..., 1:]
    eye = torch.eye(3, dtype=quats.dtype, device=quats.device)
    cross = torch.linalg.cross(v[..., None, :].expand(*v.shape[:-1], 3, 3), eye.expand(*v.shape[:-1], 3, 3)).mT
    turned = (w * w - (v * v).sum(-1)[..., None, None]) * eye + 2 * v[..., :, None] * v[..., None, :] + 2 * w * cross
    return torch.where(length > 0, turned / torch.where(length > 0, length, 1), eye)


def covariances(scales, quats):
    rotmats = quats_to_rotmats(quats).to(scales.dtype)
    covars = rotmats @ torch.diag_embed(scales**2) @ rotmats.mT
    return (covars + covars.mT) / 2
