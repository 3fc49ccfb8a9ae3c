"""Hypothesis strategies for tensors. Randomness inside torch comes from a seed: hypothesis does not seed torch."""

import torch
from hypothesis import strategies as st
from torch import Tensor


@st.composite
def tensors(draw, *shape, low: float = -3, high: float = 3, dtype: torch.dtype = torch.float64) -> Tensor:
    """A tensor with numbers in [low, high]; an entry of the shape is an int or a strategy of ints."""
    sizes = [size if isinstance(size, int) else draw(size) for size in shape]
    count = int(torch.tensor(sizes).prod()) if sizes else 1
    numbers = draw(st.lists(st.floats(low, high, width=32), min_size=count, max_size=count))
    return torch.tensor(numbers, dtype=dtype).reshape(sizes)


@st.composite
def boxes(draw, min_boxes: int = 0, max_boxes: int = 6, dtype: torch.dtype = torch.float64) -> Tensor:
    """(N, 4) boxes xyxy, x1 ≤ x2 and y1 ≤ y2, in steps of 0.5 within [-20, 40]; degenerate ones are among them."""
    half_steps = st.integers(-40, 80)
    count = draw(st.integers(min_boxes, max_boxes))
    rows = []
    for _ in range(count):
        x1, x2 = sorted((draw(half_steps), draw(half_steps)))
        y1, y2 = sorted((draw(half_steps), draw(half_steps)))
        rows.append([x1 / 2, y1 / 2, x2 / 2, y2 / 2])
    return torch.tensor(rows, dtype=dtype).reshape(count, 4)


def seeds():
    """For `torch.Generator().manual_seed(seed)`."""
    return st.integers(0, 2**31 - 1)
