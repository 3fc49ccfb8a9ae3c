"""Photographs with their cameras, and a cloud of points: a sparse model of COLMAP, binary or text.

A model is a folder with `cameras`, `images` and `points3D`, all as .bin or all as .txt. Where both are there, the
binary files are read, as COLMAP does. The files `rigs` and `frames` of newer versions are not needed.

Format: https://colmap.github.io/format.html. The sizes of binary fields: `scene/reconstruction_io_binary.cc` of COLMAP.
COLMAP's conventions are those of the README. Quaternions are (w, x, y, z). They and the translations lead from the
world to the camera, which has x right, y down and z forward. The upper left corner of an image is (0, 0), and the
centre of its first pixel is (0.5, 0.5), as COLMAP's `sensor/models.h` says.
"""

import math
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from katas.splatting.given.views import View, matrix, posed, rows

RECORDS = {"cameras": "camera", "images": "image", "points3D": "point"}  # name of a file → one of its records
# A binary file names a camera model by its place in this list, the one of COLMAP's `sensor/models.h`.
MODELS = (
    "SIMPLE_PINHOLE", "PINHOLE", "SIMPLE_RADIAL", "RADIAL", "OPENCV", "OPENCV_FISHEYE", "FULL_OPENCV", "FOV",
    "SIMPLE_RADIAL_FISHEYE", "RADIAL_FISHEYE", "THIN_PRISM_FISHEYE", "RAD_TAN_THIN_PRISM_FISHEYE", "SIMPLE_DIVISION",
    "DIVISION", "SIMPLE_FISHEYE", "FISHEYE", "EUCM", "EQUIRECTANGULAR",
)  # fmt: skip
LARGEST = torch.finfo(torch.float32).max
PARAMETERS = {"SIMPLE_PINHOLE": 3, "PINHOLE": 4}  # (f, cx, cy) and (fx, fy, cx, cy)


class Camera(NamedTuple):
    """The camera of one photograph, in float64. `name` is the path of the photograph in its folder."""

    name: str
    viewmat: Float[Tensor, "4 4"]  # world to camera
    K: Float[Tensor, "3 3"]
    width: int
    height: int


class SparseModel(NamedTuple):
    """Cameras sorted by name, and float32 points with their colours in [0, 1]."""

    cameras: list[Camera]
    points: Float[Tensor, "N 3"]
    colors: Float[Tensor, "N 3"]


def read_views(folder: Path | str, *, images: Path | str, downscale: int = 1) -> tuple[list[View], Tensor, Tensor]:
    """The photographs of a model as views, sorted by name, and the points and colours of the model.

    `folder` holds the model, and `images` the photographs. `downscale` divides the sides of a photograph, which are
    rounded to whole pixels. K is scaled by new width / old width and by new height / old height.
    """
    if not (isinstance(downscale, int) and downscale >= 1):
        raise ValueError(f"downscale must be a positive whole number, got {downscale}")
    model = read_model(folder)
    return [_view(camera, Path(images), downscale) for camera in model.cameras], model.points, model.colors


def read_model(folder: Path | str) -> SparseModel:
    """The model in `folder`. A damaged file is refused with a ValueError that names the file and the record."""
    folder = Path(folder)
    kind = _kind(folder)
    read = _read_binary if kind == "bin" else _read_text
    lenses = {}
    read(folder / f"cameras.{kind}", partial(_add_lens, lenses))
    cameras = read(folder / f"images.{kind}", partial(_camera, lenses))
    points = torch.tensor(read(folder / f"points3D.{kind}", _point), dtype=torch.float32).reshape(-1, 6)
    return SparseModel(sorted(cameras, key=lambda camera: camera.name), points[:, :3], points[:, 3:] / 255)


def _kind(folder: Path) -> str:
    found = [path.name for path in sorted(folder.glob("*.*")) if path.stem in RECORDS]
    for kind in ("bin", "txt"):
        if all(f"{stem}.{kind}" in found for stem in RECORDS):
            return kind
    raise FileNotFoundError(
        f"{folder} is no COLMAP model: expected the files cameras, images and points3D there, all .bin or all .txt, "
        f"and found {', '.join(found) or 'none of them'}. COLMAP writes them to a folder such as sparse/0"
    )


# --- from the values of a record to what is returned, for both formats ---


def _add_lens(lenses: dict, number: int, model: str, width: int, height: int, *parameters: float) -> None:
    """Adds the (K, width, height) that the images of a camera share."""
    if number in lenses:
        raise ValueError(f"the camera id {number} is there twice")
    if width < 1 or height < 1:
        raise ValueError(f"the size must be positive, got {width} × {height}")
    _check_finite("the parameters", parameters)
    f, cx, cy = parameters[:-2], *parameters[-2:]
    if min(f) <= 0:
        raise ValueError(f"the focal length must be positive, got {min(f)}")
    lenses[number] = matrix(f[0], f[-1], cx, cy), width, height


def _camera(lenses: dict, pose: tuple[float, ...], camera_id: int, name: str) -> Camera:
    _check_finite("the pose", pose)
    length = math.hypot(*pose[:4])
    if length == 0:
        raise ValueError("the quaternion is 0")
    if camera_id not in lenses:
        raise ValueError(f"unknown camera id {camera_id}")
    if not name:
        raise ValueError("the name is empty")
    w, x, y, z = (value / length for value in pose[:4])
    rotation = rows(
        (1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)),
        (2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)),
        (2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)),
    )
    return Camera(name, posed(rotation, rows(*pose[4:])), *lenses[camera_id])


def _point(*values: float) -> tuple[float, ...]:
    """(x, y, z, red, green, blue)"""
    _check_finite("the point", values)
    if not all(channel in range(256) for channel in values[3:]):
        raise ValueError(f"colours are whole numbers from 0 to 255, got {values[3:]}")
    return values


def _check_finite(what: str, values: tuple[float, ...]) -> None:
    if not all(abs(value) <= LARGEST for value in values):  # False for NaN
        raise ValueError(f"{what} must be finite in float32, got {values}")


def _number_of_parameters(model: str) -> int:
    if model in PARAMETERS:
        return PARAMETERS[model]
    if model in MODELS:
        raise ValueError(f"{model} is no pinhole camera. Undistort the photographs with COLMAP's image_undistorter")
    raise ValueError(f"unknown camera model {model}")


@contextmanager
def _naming(where: str) -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


# --- binary: a count, then records without gaps, little-endian ---


class _Bytes:
    def __init__(self, content: bytes) -> None:
        self.content, self.place = content, 0

    def take(self, layout: str) -> tuple:
        start = self.place
        self.skip(struct.calcsize(f"<{layout}"))
        return struct.unpack_from(f"<{layout}", self.content, start)

    def skip(self, size: int) -> None:
        if self.place + size > len(self.content):
            raise ValueError("cut off")
        self.place += size

    def take_text(self) -> str:
        """Up to a byte of 0, which is left out."""
        start, end = self.place, self.content.find(0, self.place)
        self.skip(end - start + 1 if end >= 0 else len(self.content) + 1)
        return self.content[start:end].decode()


def _read_binary(path: Path, build: Callable) -> list:
    content, results = _Bytes(path.read_bytes()), []
    with _naming(path.name):
        (count,) = content.take("Q")
    for index in range(count):
        with _naming(f"{path.name}: {RECORDS[path.stem]} {index + 1} of {count}"):
            results.append(build(*BINARY[path.stem](content)))
    left = len(content.content) - content.place
    if left:
        raise ValueError(f"{path.name}: {left} bytes follow {RECORDS[path.stem]} {count} of {count}")
    return results


def _binary_camera(content: _Bytes) -> tuple:
    number, model, width, height = content.take("IiQQ")
    name = MODELS[model] if 0 <= model < len(MODELS) else str(model)
    return number, name, width, height, *content.take(f"{_number_of_parameters(name)}d")


def _binary_image(content: _Bytes) -> tuple:
    _, *pose, camera_id = content.take("I7dI")
    name = content.take_text()
    content.skip(24 * content.take("Q")[0])  # observations: x, y and the id of a point
    return tuple(pose), camera_id, name


def _binary_point(content: _Bytes) -> tuple:
    _, *values, _, track = content.take("Q3d3BdQ")
    content.skip(8 * track)  # the id of an image and the place of an observation there
    return tuple(values)


# --- text: a record is a line, an image two ---


def _read_text(path: Path, build: Callable) -> list:
    with _naming(path.name):
        lines = enumerate(path.read_text(encoding="utf-8").split("\n"), start=1)
    results = []
    for number, line in lines:
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        with _naming(f"{path.name}: line {number}"):
            results.append(build(*TEXT[path.stem](line)))
        if path.stem == "images":  # The second line is empty if nothing was observed. An editor may drop it at the end.
            number, line = next(lines, (number + 1, ""))
            with _naming(f"{path.name}: line {number}"):
                _check_rest(line.split(), 3, "observations (x, y, point id)")
    return results


def _text_camera(line: str) -> tuple:
    words = line.split()
    count = _number_of_parameters(words[1]) if len(words) > 1 else 2
    if len(words) != 4 + count:
        raise ValueError(f"expected {4 + count} values, got {len(words)}")
    return int(words[0]), words[1], int(words[2]), int(words[3]), *map(float, words[4:])


def _text_image(line: str) -> tuple:
    words = line.split(maxsplit=9)  # the last one is the name, which may hold spaces
    if len(words) != 10:
        raise ValueError(f"expected 10 values, got {len(words)}")
    _, camera_id = int(words[0]), int(words[8])
    return tuple(map(float, words[1:8])), camera_id, words[9]


def _text_point(line: str) -> tuple:
    words = line.split()
    if len(words) < 8:
        raise ValueError(f"expected 8 values and a track, got {len(words)} values")
    _check_rest([words[0], *words[7:]], 2, "an error and a track (image id, place)")
    return tuple(map(float, words[1:7]))


def _check_rest(words: list[str], group: int, what: str) -> None:
    """Values that are not returned must still be numbers, in whole groups. Otherwise the lines are out of step."""
    if len(words) % group:
        raise ValueError(f"expected {what}, got {len(words)} values")
    np.array(words, dtype=float)


BINARY = {"cameras": _binary_camera, "images": _binary_image, "points3D": _binary_point}
TEXT = {"cameras": _text_camera, "images": _text_image, "points3D": _text_point}


# --- photographs ---


def _view(camera: Camera, images: Path, downscale: int) -> View:
    path, size = images / camera.name, (camera.width, camera.height)
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: the model has a camera for this photograph")
    try:
        with Image.open(path) as opened:
            photograph = opened.convert("RGB")
    except (OSError, SyntaxError, ValueError) as error:
        raise ValueError(f"{path} is no photograph that pillow can read: {error}") from error
    if photograph.size != size:
        raise ValueError(f"{path} has {photograph.size} pixels (width, height), and its camera {size}")
    smaller = photograph.resize([max(1, round(side / downscale)) for side in size], Image.Resampling.BICUBIC)
    ratios = rows(smaller.width / camera.width, smaller.height / camera.height, 1)
    pixels = torch.from_numpy(np.array(smaller)).float() / 255
    return View(pixels, camera.viewmat.float(), (ratios[:, None] * camera.K).float())
