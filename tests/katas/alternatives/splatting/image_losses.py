"""Every window cut out and weighed as a whole; PSNR from the root mean square."""

import torch
import torch.nn.functional as F


def psnr(pred, target):
    wide = torch.float64
    errors = (pred.to(wide) - target.to(wide)).flatten(1)
    return (20 * torch.log10(1 / errors.pow(2).mean(dim=1).sqrt())).to(pred.dtype)


def _windows(images):
    """(B, C, H·W, 121): the window around every pixel."""
    cut = F.pad(images, (5, 5, 5, 5)).unfold(2, 11, 1).unfold(3, 11, 1)
    return cut.flatten(4).flatten(2, 3)


def ssim(pred, target):
    wide = torch.promote_types(pred.dtype, torch.float32)
    x, y = _windows(pred.to(wide)), _windows(target.to(wide).detach())
    squared = (torch.arange(11, device=pred.device) - 5).to(wide) ** 2
    weights = torch.softmax(-(squared[:, None] + squared[None, :]).flatten() / 4.5, dim=0)
    mean_x, mean_y = ((weights * part).sum(-1, keepdim=True) for part in (x, y))
    cov = (weights * (x - mean_x) * (y - mean_y)).sum(-1)
    spread = (weights * ((x - mean_x) ** 2 + (y - mean_y) ** 2)).sum(-1)
    mean_x, mean_y = mean_x[..., 0], mean_y[..., 0]
    light = (2 * mean_x * mean_y + 1e-4) / (mean_x**2 + mean_y**2 + 1e-4)
    return (light * (2 * cov + 9e-4) / (spread + 9e-4)).mean(dim=(1, 2)).to(pred.dtype)


def photometric_loss(pred, target, *, lambda_dssim=0.2):
    if not (lambda_dssim >= 0 and lambda_dssim <= 1):
        raise ValueError("lambda_dssim")
    wide = torch.promote_types(pred.dtype, torch.float32)
    first, second = pred.to(wide), target.detach().to(wide)
    absolute = F.l1_loss(first, second, reduction="none").flatten(1).mean(1)
    return torch.lerp(absolute, 1 - ssim(first, second), lambda_dssim).to(pred.dtype)
