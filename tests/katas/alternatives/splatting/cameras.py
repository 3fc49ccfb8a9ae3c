"""cameras by homogeneous coordinates, as in a textbook of computer vision."""

import torch

from solutions.splatting.cameras import ProjectedPoints


def world_to_camera(points, viewmat):
    homogeneous = torch.cat([points, torch.ones_like(points[..., :1])], dim=-1)
    return torch.einsum("ij,...j->...i", viewmat.to(points), homogeneous)[..., :3]


def project_points(points, K, *, near_plane=0.01):
    if not near_plane > 0:
        raise ValueError("near_plane")
    in_front = points[..., 2] > near_plane
    seen = torch.where(in_front[..., None], points, torch.ones_like(points))  # the others all move to (1, 1, 1)
    homogeneous = torch.einsum("ij,...j->...i", K.to(points), seen)
    return ProjectedPoints(homogeneous[..., :2] / homogeneous[..., 2:], in_front)


def look_at(eye, target, up):
    """The pose of the camera, camera to world, inverted by a solver."""
    if bool((eye == target).all()):
        raise ValueError("target")
    target, up = target.to(eye), up.to(eye)
    z = (target - eye) / (target - eye).norm()
    down = -(up - (up @ z) * z)
    if up.norm() == 0 or down.norm() < 1e-6 * up.norm():
        raise ValueError("up")
    y = down / down.norm()
    x = torch.linalg.cross(y, z)
    pose = torch.eye(4, dtype=eye.dtype, device=eye.device)
    pose = torch.cat([torch.cat([torch.stack([x, y, z, eye], dim=1), pose[3:]], dim=0)], dim=1)
    return torch.cat([torch.linalg.inv(pose)[:3], torch.eye(4, dtype=eye.dtype, device=eye.device)[3:]])
