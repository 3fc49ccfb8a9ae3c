"""REINFORCE: actions become more likely by as much as what followed was better than expected."""

from jaxtyping import Bool, Float
from torch import Tensor


def reinforce_loss(
    log_probs: Float[Tensor, "T E"],
    returns: Float[Tensor, "T E"],
    mask: Bool[Tensor, "T E"],
    *,
    baselines: Float[Tensor, "T E"] | None = None,
) -> Float[Tensor, ""]:
    """A loss whose gradient is an unbiased estimate of the negative gradient of the expected return.

        loss = -1/E * sum_e sum_t log_probs[t, e] * (returns[t, e] - baselines[t, e])

    Column e is one episode. `mask` says which of its T steps were made; what stands in the others has no influence,
    also where it is NaN or infinite. The sum over steps is not divided by the length of the episode: long episodes have
    more decisions to answer for. `returns` and `baselines`, a guess of the return that does not depend on the action,
    get no gradient. No episodes give 0.

    Source: Williams (1992); Sutton & Barto, Reinforcement Learning (2nd edition), section 13.4.
    """
    raise NotImplementedError
