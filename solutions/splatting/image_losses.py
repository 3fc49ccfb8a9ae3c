"""How far a rendered picture is from the photograph: PSNR, SSIM, and the loss that trains a scene.

Images are (B, C, H, W) with values in [0, 1]. Every function gives one number per image. All are computed in float32 at
least, because the square of 1e-4 is 0 in float16. The result has the dtype of `pred`.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def psnr(pred: Float[Tensor, "B C H W"], target: Float[Tensor, "B C H W"]) -> Float[Tensor, " B"]:
    """The peak signal-to-noise ratio of every image in dB, for a peak of 1. Higher is better.

        psnr = -10 · log10(mse),     mse = mean of (pred - target)² over all pixels and channels of the image

    An mse ten times smaller is 10 dB more. Identical images have infinity. A metric: no gradient is promised.
    """
    pred, target, dtype = _wide(pred, target)
    return (-10 * torch.log10((pred - target).square().mean(dim=(1, 2, 3)))).to(dtype)


def ssim(pred: Float[Tensor, "B C H W"], target: Float[Tensor, "B C H W"]) -> Float[Tensor, " B"]:
    """The structural similarity of every image: 1 for identical images, and -1 at worst.

        mean_x = Σ w · x,    var_x = Σ w · x² - mean_x²,    cov = Σ w · x · y - mean_x · mean_y
        ssim   = (2 mean_x mean_y + C1) (2 cov + C2) / ((mean_x² + mean_y² + C1) (var_x + var_y + C2))

    per pixel and channel, then the mean over both. The sums go over a window of 11 × 11 pixels around the pixel. Its
    weights w are a Gaussian with a standard deviation of 1.5 pixels and sum to 1. Outside the image all pixels are 0,
    so an image may be smaller than the window. C1 = 0.01² and C2 = 0.03². `target` gets no gradient.

    Source: Wang et al., Image Quality Assessment (IEEE TIP 13, 2004). Borders are those of loss_utils.py in
    graphdeco-inria/gaussian-splatting.
    """
    x, y, dtype = _wide(pred, target)
    mean_x, mean_y, square_x, square_y, product = _blurred(torch.stack([x, y, x * x, y * y, x * y]))
    var_x, var_y, cov = square_x - mean_x**2, square_y - mean_y**2, product - mean_x * mean_y
    c1, c2 = 0.01**2, 0.03**2
    numerator = (2 * mean_x * mean_y + c1) * (2 * cov + c2)
    denominator = (mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2)
    return (numerator / denominator).mean(dim=(1, 2, 3)).to(dtype)


def photometric_loss(
    pred: Float[Tensor, "B C H W"], target: Float[Tensor, "B C H W"], *, lambda_dssim: float = 0.2
) -> Float[Tensor, " B"]:
    """The loss of every image: (1 - lambda_dssim) · mean |pred - target| + lambda_dssim · (1 - ssim).

    L1 gets the colours right, and 1 - SSIM the edges. `lambda_dssim` lies in [0, 1]. `target` gets no gradient.

    Source: Kerbl et al., 3D Gaussian Splatting (arXiv 2308.04079), equation 7, with 0.2.
    """
    if not 0 <= lambda_dssim <= 1:
        raise ValueError(f"lambda_dssim must lie in [0, 1], got {lambda_dssim}")
    pred, target, dtype = _wide(pred, target)
    l1 = (pred - target).abs().mean(dim=(1, 2, 3))
    return ((1 - lambda_dssim) * l1 + lambda_dssim * (1 - ssim(pred, target))).to(dtype)


def _wide(pred: Tensor, target: Tensor) -> tuple[Tensor, Tensor, torch.dtype]:
    """Both in float32 at least, the target without gradient; and the dtype of the result."""
    wide = torch.promote_types(pred.dtype, torch.float32)
    return pred.to(wide), target.detach().to(wide), pred.dtype


def _blurred(images: Float[Tensor, "*batch H W"]) -> Float[Tensor, "*batch H W"]:
    """The weighted mean around every pixel. A Gaussian window is separable: 11 + 11 products instead of 121."""
    offsets = torch.arange(-5, 6, dtype=images.dtype, device=images.device)
    weights = torch.exp(-(offsets**2) / (2 * 1.5**2))
    weights = weights / weights.sum()
    planes = images.flatten(end_dim=-3)[:, None]  # every channel of every image for itself
    planes = F.conv2d(planes, weights.reshape(1, 1, 1, 11), padding=(0, 5))
    return F.conv2d(planes, weights.reshape(1, 1, 11, 1), padding=(5, 0)).reshape(images.shape)
