"""Handwritten digits: scikit-learn's 8 × 8 ones, embedded, and MNIST from a data folder."""

import gzip
import math
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
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
    """MNIST, 60,000 digits to train on and 10,000 to test on, of 28 × 28 pixels.

    Its files are in `data_dir`/MNIST/raw, unpacked or as .gz.
    """
    if split not in ("train", "test"):
        raise ValueError(f"split must be 'train' or 'test', got {split!r}")
    folder, part = Path(data_dir) / "MNIST" / "raw", "train" if split == "train" else "t10k"
    if download:
        _fetch_mnist(data_dir, folder)
    advice = "Point to another folder with --data DIR, or let it be fetched with --download."
    if not folder.is_dir():
        raise DataMissing(f"MNIST is missing: expected its four files in {folder}. {advice}")
    try:
        images = _bytes_in_idx(folder / f"{part}-images-idx3-ubyte", axes=3)
        labels = _bytes_in_idx(folder / f"{part}-labels-idx1-ubyte", axes=1)
        if len(images) != len(labels):
            raise ValueError(f"{len(images):,} images with {len(labels):,} labels")
        if len(labels) and labels.max() >= NUM_CLASSES:
            raise ValueError(f"a label of {labels.max()}")
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise DataError(f"MNIST in {folder} is incomplete or damaged: {error}. {advice}") from error
    return Digits(torch.from_numpy(images)[:, None].float() / 255, torch.from_numpy(labels).long())


def _fetch_mnist(data_dir: Path | str, folder: Path) -> None:
    from torchvision.datasets import MNIST  # takes seconds

    try:
        MNIST(data_dir, download=True)
    except (RuntimeError, OSError, ValueError) as error:
        raise DataError(f"MNIST could not be fetched into {folder}: {error}") from error


def _bytes_in_idx(file: Path, *, axes: int) -> np.ndarray:
    """An IDX file: 0, 0, 8 for uint8, the number of axes, the size of each as a big-endian int32, the values."""
    packed = file.with_name(f"{file.name}.gz")
    content = gzip.decompress(packed.read_bytes()) if packed.is_file() and not file.is_file() else file.read_bytes()
    first, values = content[: 4 + 4 * axes], content[4 + 4 * axes :]
    if len(first) < 4 + 4 * axes or first[:4] != bytes([0, 0, 8, axes]):
        raise ValueError(f"{file.name} is no IDX file of bytes with {axes} axes")
    shape = np.frombuffer(first, dtype=">i4", offset=4).tolist()
    if len(values) != math.prod(shape):
        raise ValueError(f"{file.name} is cut off: {len(values):,} of {math.prod(shape):,} values")
    return np.frombuffer(values, dtype=np.uint8).reshape(shape).copy()
