"""What specs draw their inputs from. Randomness inside torch comes from a seed: hypothesis does not seed torch."""

import torch
from hypothesis import strategies as st
from torch import Tensor

UNITS = [2.0**-10, 0.5, 2.0**16]  # of length: coordinates of 1e-2, of ten and of a million pixels, exact in binary


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    """Standard normal numbers, the same ones for every call with this seed."""
    return torch.randn(shape, generator=rng(seed), dtype=dtype)


@st.composite
def tensors(draw, *shape, low: float = -3, high: float = 3, dtype: torch.dtype = torch.float64) -> Tensor:
    """A tensor with numbers in [low, high]; an entry of the shape is an int or a strategy of ints."""
    sizes = [size if isinstance(size, int) else draw(size) for size in shape]
    count = int(torch.tensor(sizes).prod()) if sizes else 1
    numbers = draw(st.lists(st.floats(low, high, width=32), min_size=count, max_size=count))
    return torch.tensor(numbers, dtype=dtype).reshape(sizes)


@st.composite
def boxes(
    draw, min_boxes: int = 1, max_boxes: int = 6, units: list[float] = UNITS, dtype: torch.dtype = torch.float64
) -> Tensor:
    """(N, 4) boxes xyxy, x1 ≤ x2 and y1 ≤ y2, in whole units from -40 to 80; degenerate ones are among them."""
    count, unit = draw(st.integers(min_boxes, max_boxes)), draw(st.sampled_from(units))
    numbers = draw(st.lists(st.integers(-40, 80), min_size=4 * count, max_size=4 * count))
    corners = torch.tensor(numbers, dtype=dtype).reshape(count, 2, 2)
    return unit * corners.sort(dim=1).values.reshape(count, 4)


def seeds():
    """For `rng(seed)` and `normal(…, seed=seed)`."""
    return st.integers(0, 2**31 - 1)
