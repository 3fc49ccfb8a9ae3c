"""Pascal VOC, read through torchvision from a folder that holds `VOCdevkit`; nothing is fetched unless asked
for.

VOC counts pixels from 1, and both ends belong to the box: a box over the first two columns has xmin = 1 and
xmax = 2. Here boxes are continuous coordinates, that is (0, 2): xmin and ymin less one, xmax and ymax as they
are.
"""

from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.datasets import VOCDetection
from torchvision.transforms.functional import pil_to_tensor

from katas.lab.data import DataError, DataMissing

CLASSES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable",
    "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip


class VocImage(NamedTuple):
    """`image` is uint8 (3, H, W); `boxes` float32 (M, 4) xyxy; `labels` int64 (M,), places in `CLASSES`;
    `difficult` bool."""

    image: Tensor
    boxes: Tensor
    labels: Tensor
    difficult: Tensor


class Voc(Dataset):
    """The images of one list, such as year "2007" and image_set "trainval" or "test", as `VocImage`."""

    def __init__(self, data_dir: Path | str, year: str, image_set: str, *, download: bool = False) -> None:
        self.data_dir, self.name = Path(data_dir), f"VOC{year} {image_set}"
        self._dataset = self._open(year, image_set, download)
        if not self._dataset.images:
            raise DataError(f"{self.name}: the list of images under {self.data_dir} is empty")

    def _open(self, year: str, image_set: str, download: bool) -> VOCDetection:
        try:
            return VOCDetection(self.data_dir, year=year, image_set=image_set, download=download)
        except (RuntimeError, OSError) as error:
            raise self._problem(year, image_set, download, error) from error

    def _problem(self, year: str, image_set: str, download: bool, error: Exception) -> DataError:
        if download:
            return DataError(f"{self.name} could not be fetched into {self.data_dir}: {error}")
        folder = self.data_dir / "VOCdevkit" / f"VOC{year}"
        missing = not folder.exists()
        return (DataMissing if missing else DataError)(
            f"{self.name} is {'missing' if missing else 'incomplete'}: expected {folder} with Annotations, JPEGImages "
            f"and ImageSets/Main/{image_set}.txt. Say where it is with --data DIR, or fetch it with --download"
        )

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, index: int) -> VocImage:
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        file = Path(self._dataset.images[index])
        try:
            image = _pixels(file)
            file = Path(self._dataset.annotations[index])
            return _voc_image(image, ElementTree.parse(file).getroot())
        except (OSError, SyntaxError, ValueError) as error:
            raise DataError(f"{self.name}: {file} is missing or damaged: {error}") from error


def _pixels(file: Path) -> Tensor:
    with Image.open(file) as picture:
        if picture.mode.startswith(("I", "F")):  # `convert` would cut them at 255
            raise ValueError(f"its pixels have more than 8 bits (mode {picture.mode})")
        return pil_to_tensor(picture.convert("RGB"))


def _voc_image(image: Tensor, annotation: ElementTree.Element) -> VocImage:
    if annotation.tag != "annotation":
        raise ValueError(f"it begins with <{annotation.tag}>, not with <annotation>")
    boxes, labels, difficult = [], [], []
    for item in annotation.findall("object"):
        name, box = _text(item, "name"), _child(item, "bndbox")
        if name not in CLASSES:
            raise ValueError(f"an object of class {name!r}, which VOC does not have")
        x1, y1, x2, y2 = (float(_text(box, side)) for side in ("xmin", "ymin", "xmax", "ymax"))
        if not (1 <= x1 <= x2 <= image.shape[2] and 1 <= y1 <= y2 <= image.shape[1]):
            raise ValueError(f"a box of {name} is not inside the image: {x1, y1, x2, y2}")
        boxes.append([x1 - 1, y1 - 1, x2, y2])
        labels.append(CLASSES.index(name))
        difficult.append(_yes_or_no(item.findtext("difficult", "0").strip()))
    return VocImage(
        image,
        torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        torch.tensor(labels, dtype=torch.int64),
        torch.tensor(difficult, dtype=torch.bool),
    )


def _child(item: ElementTree.Element, tag: str) -> ElementTree.Element:
    child = item.find(tag)
    if child is None:
        raise ValueError(f"<{item.tag}> has no <{tag}>")
    return child


def _text(item: ElementTree.Element, tag: str) -> str:
    return (_child(item, tag).text or "").strip()


def _yes_or_no(text: str) -> bool:
    if text.lower() not in ("0", "1", "false", "true"):
        raise ValueError(f"<difficult> is {text!r}, not 0 or 1")
    return text.lower() in ("1", "true")
