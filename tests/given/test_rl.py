"""What rl is given: the instrument that sees where code would wait for a GPU; recipes that a GTX 1060 can follow."""

import numpy as np
import pytest
import torch

from katas.rl.given.waiting import NothingWaits

X, MASK = torch.tensor([1.0, -2.0, 3.0]), torch.tensor([True, False, True])


@pytest.mark.parametrize("read", [
    lambda x, mask: x[0].item(),
    lambda x, mask: x.tolist(),
    lambda x, mask: x.numpy(),
    lambda x, mask: np.asarray(x),
    lambda x, mask: x.cpu(),
    lambda x, mask: 1 if mask.any() else 0,
    lambda x, mask: float(x[0]),
    lambda x, mask: int(mask.sum()),
    lambda x, mask: range(5)[mask.sum()],
    lambda x, mask: x[mask],
    lambda x, mask: x[~mask],
    lambda x, mask: x[None].T[mask, 0],
    lambda x, mask: x.clone().__setitem__(mask, x[:2]),
    lambda x, mask: mask.nonzero(),
    lambda x, mask: torch.where(mask),
    lambda x, mask: torch.masked_select(x, mask),
    lambda x, mask: torch.unique(x),
    lambda x, mask: torch.equal(x, x),
    lambda x, mask: 3.0 in x,
])  # fmt: skip
def test_what_reads_numbers_waits(read):
    read(X, MASK)
    with pytest.raises(AssertionError, match="waits until all work is done"), NothingWaits():
        read(X, MASK)


@pytest.mark.parametrize("work", [
    lambda x, mask: torch.where(mask, x, 0.0),
    lambda x, mask: x.clone().__setitem__(mask, 0.0),
    lambda x, mask: x.clone().__setitem__(mask, x[:1]),
    lambda x, mask: x.clone().masked_fill_(mask, 0.0),
    lambda x, mask: x[torch.tensor([0, 2])] + x[:2] + x[..., 1:],
    lambda x, mask: [len(x), x.shape, x.device, x.numel(), *x.unbind()],
    lambda x, mask: mask.any() & (x > 1).all(),
    lambda x, mask: torch.empty(3).uniform_(-1, 1, generator=torch.Generator()),
    lambda x, mask: x * mask + (~mask).to(x.dtype),
])  # fmt: skip
def test_what_stays_with_tensors_does_not_wait(work):
    with NothingWaits():
        work(X, MASK)
