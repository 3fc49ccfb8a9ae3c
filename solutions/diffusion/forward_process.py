"""The forward process: any amount of noise in one step.

Adding a little Gaussian noise t times is the same as adding a lot once. So training can jump to any timestep.
"""

from jaxtyping import Float, Int64
from torch import Tensor


def extract(
    values: Float[Tensor, " T"], t: Int64[Tensor, " B"], x: Float[Tensor, "B *shape"]
) -> Float[Tensor, "B *ones"]:
    """`values[t]`, one number per sample of the batch, shaped (B, 1, ..., 1) so that it multiplies `x`.

    The result has as many dimensions as `x`, and the dtype of `x`: schedules are float64, images usually float32.
    """
    return values[t].to(x.dtype).reshape(-1, *[1] * (x.dim() - 1))


def q_sample(
    x_start: Float[Tensor, "B *shape"],
    t: Int64[Tensor, " B"],
    noise: Float[Tensor, "B *shape"],
    alphas_cumprod: Float[Tensor, " T"],
) -> Float[Tensor, "B *shape"]:
    """Clean samples as they are at timestep t, each with its own t:

        x_t = sqrt(alphas_cumprod[t]) * x_start + sqrt(1 - alphas_cumprod[t]) * noise

    Samples have any rank, from (B,) on. If `x_start` and `noise` have variance 1, so has x_t. Both factors are computed
    in the dtype of `alphas_cumprod`, because 1 - alphas_cumprod is tiny at the first timesteps.

    Source: Ho et al., Denoising Diffusion Probabilistic Models (arXiv 2006.11239), equation 4.
    """
    # Cast first, and float32 keeps only 4 digits of 1 - alphas_cumprod = 1e-4.
    signal, sigma = alphas_cumprod.sqrt(), (1 - alphas_cumprod).sqrt()
    return extract(signal, t, x_start) * x_start + extract(sigma, t, x_start) * noise
