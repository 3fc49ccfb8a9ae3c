"""Handwritten digits: scikit-learn's 8 × 8 ones, embedded, and MNIST from a data folder."""

from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from katas.lab.data import DataError, DataMissing

NUM_CLASSES = 10


class Digits(NamedTuple):
    """`images` float32 (N, 1, H, W) in [0, 1], `labels` int64 (N,), the digit itself."""

    images: Tensor
    labels: Tensor


def small_digits(split: str) -> Digits:
    """scikit-learn's 1,797 digits of 8 × 8 pixels: every fourth one is "test", the others are "train"."""
    if split not in ("train", "test"):
        raise ValueError(f"split must be 'train' or 'test', got {split!r}")
    from sklearn.datasets import load_digits  # takes seconds, and no spec needs it

    digits = load_digits()
    chosen = torch.arange(len(digits.target)) % 4 == 3
    chosen = chosen if split == "test" else ~chosen
    images = torch.from_numpy(digits.images).float()[chosen] / 16
    return Digits(images[:, None], torch.from_numpy(digits.target).long()[chosen])


def mnist(data_dir: Path | str, split: str, *, download: bool = False) -> Digits:
    """MNIST, 60,000 digits to train on and 10,000 to test on, of 28 × 28 pixels."""
    if split not in ("train", "test"):
        raise ValueError(f"split must be 'train' or 'test', got {split!r}")
    from torchvision.datasets import MNIST  # takes seconds, too

    try:
        data = MNIST(data_dir, train=split == "train", download=download)
    except (RuntimeError, OSError, ValueError, KeyError, IndexError, AssertionError) as error:
        folder = Path(data_dir) / "MNIST" / "raw"
        if download:
            raise DataError(f"MNIST could not be fetched into {folder}: {error}") from error
        missing = not folder.is_dir()
        what = "is missing" if missing else "is incomplete or damaged"
        why = "" if "not found" in str(error) else f" ({error})"  # torchvision's advice is not about --download
        raise (DataMissing if missing else DataError)(
            f"MNIST {what}: expected its four files, unpacked, in {folder}{why}. "
            "Point to another folder with --data DIR, or let it be fetched with --download."
        ) from error
    return Digits(data.data[:, None].float() / 255, data.targets.long())
