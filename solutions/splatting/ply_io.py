"""PLY files in the published layout of 3D Gaussian splatting, which common viewers open.

A PLY file is a header of text lines, and then binary rows. Here the header says

    ply
    format binary_little_endian 1.0
    element vertex N
    property float x                    (and one such line for every property of a row, in its order)
    end_header

and each of the N rows holds float32 numbers:

    x y z                   the mean
    nx ny nz                normals: 0, kept for viewers of point clouds
    f_dc_0 … f_dc_2         coefficient 0 of the spherical harmonics: red, green, blue
    f_rest_i                coefficients 1 … K-1: all of red, then all of green, then all of blue
    opacity                 the logit
    scale_0 … scale_2       logarithms
    rot_0 … rot_3           the quaternion (w, x, y, z)

so f_rest_i is `sh[:, 1 + k, c]` with i = c (K - 1) + k. All parameters are raw: nothing is normalised or activated.

Source: Kerbl et al., 3D Gaussian Splatting (2023); graphdeco-inria/gaussian-splatting, scene/gaussian_model.py
(`construct_list_of_attributes`, `save_ply`, `load_ply`).
"""

import io
import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from katas.splatting.given.gaussians import Gaussians

_CLASSIC = {"char": "i1", "uchar": "u1", "short": "<i2", "ushort": "<u2", "int": "<i4", "uint": "<u4"}
_SIZED = {"int8": "i1", "uint8": "u1", "int16": "<i2", "uint16": "<u2", "int32": "<i4", "uint32": "<u4"}
_REAL = {"float": "<f4", "float32": "<f4", "double": "<f8", "float64": "<f8"}
_TYPES = _CLASSIC | _SIZED | _REAL  # PLY has two names for each type


def save_ply(path: Path | str, gaussians: Gaussians) -> None:
    """Writes the Gaussians into one file. What is not float32 is stored as float32.

    Tensors may require gradients, and may lie on any device. A missing folder is made. A file that stands at `path` is
    overwritten.

    A ValueError names the field whose shape is not that of `Gaussians` with N = len(means), or `sh` if K is not
    (degree + 1)². Nothing is written then.
    """
    _check(gaussians)
    means, log_scales, quats, logits, sh = (field.detach().to("cpu", torch.float32) for field in gaussians)
    rest = sh[:, 1:].transpose(1, 2).flatten(1)  # (N, 3 (K - 1)), channels first; reshape(N, -1) fails for N = 0
    normals = torch.zeros_like(means)
    table = torch.cat([means, normals, sh[:, 0], rest, logits[:, None], log_scales, quats], dim=1)
    x, y, z, *others = _names(rest.shape[1])
    properties = [f"property float {name}" for name in (x, y, z, "nx", "ny", "nz", *others)]
    header = ["ply", "format binary_little_endian 1.0", f"element vertex {len(table)}", *properties, "end_header\n"]
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes("\n".join(header).encode("ascii") + table.numpy().astype("<f4").tobytes())


def load_ply(path: Path | str) -> Gaussians:
    """Reads Gaussians: float32, on the CPU, no gradients, each tensor contiguous and with memory of its own.

    float32 comes back to the bit. Other programs may write other orders, no normals, more properties or elements of any
    type, and comments (`comment`, `obj_info`). Types:

        char  uchar  short  ushort  int    uint    float    double
        int8  uint8  int16  uint16  int32  uint32  float32  float64

    A missing file is a FileNotFoundError. A ValueError names the file, and

    - a format other than binary_little_endian
    - a property of the layout that is missing, repeated, or not float32
    - `f_rest`, if their number is not 3 ((degree + 1)² - 1)
    - a list property in or before the element `vertex`, or that there is no `vertex`

    It also refuses no PLY, unknown header lines, a header without its end, and too few bytes.
    """
    content = Path(path).read_bytes()
    try:
        elements, start = _header(content)
        return _gaussians(_rows(content, start, elements))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _names(rest: int) -> list[str]:
    """The properties that carry something, in the order of the layout."""
    colors = [f"f_dc_{i}" for i in range(3)] + [f"f_rest_{i}" for i in range(rest)]
    return [*"xyz", *colors, "opacity", *(f"scale_{i}" for i in range(3)), *(f"rot_{i}" for i in range(4))]


def _check(gaussians: Gaussians) -> None:
    count = gaussians.means.shape[:1]
    rows = {"means": (3,), "log_scales": (3,), "quats": (4,), "opacity_logits": (), "sh": (*gaussians.sh.shape[1:2], 3)}
    for name, row in rows.items():
        shape = getattr(gaussians, name).shape
        if shape != (*count, *row):
            raise ValueError(f"{name} must have the shape {(*count, *row)}, got {tuple(shape)}")
    coefficients = gaussians.sh.shape[1]
    if coefficients == 0 or math.isqrt(coefficients) ** 2 != coefficients:
        raise ValueError(f"sh must have (degree + 1)² coefficients, got {coefficients}")


class _Element(NamedTuple):
    name: str
    count: int
    properties: dict[str, str]  # numpy's name of the type, or "list"


def _header(content: bytes) -> tuple[list[_Element], int]:
    """The elements, and where their rows begin."""
    stream = io.BytesIO(content)
    if stream.readline().strip() != b"ply":
        raise ValueError("not a PLY file: the first line is not `ply`")
    elements, layout = [], "(none)"
    for line in stream:
        match line.decode("latin-1").split():  # comments may hold any byte
            case ["end_header"]:
                if layout != "binary_little_endian":
                    raise ValueError(f"the format must be binary_little_endian, not {layout}")
                return elements, stream.tell()
            case ["comment" | "obj_info", *_]:
                pass
            case ["format", word, _]:
                layout = word
            case ["element", name, count] if count.isdecimal():
                elements.append(_Element(name, int(count), {}))
            case ["property", "list", _, _, name] if elements:
                elements[-1].properties[name] = "list"
            case ["property", kind, name] if elements and kind in _TYPES and name not in elements[-1].properties:
                elements[-1].properties[name] = _TYPES[kind]
            case words:
                raise ValueError(f"the header has the line {' '.join(words)!r}")
    raise ValueError("the header has no line `end_header`")


def _rows(content: bytes, start: int, elements: list[_Element]) -> np.ndarray:
    """The rows of the element `vertex`, with named columns. Other elements may stand before it."""
    for element in elements:
        for name, kind in element.properties.items():
            if kind == "list":
                raise ValueError(f"{name} of the element {element.name} is a list property")
        row = np.dtype(list(element.properties.items()))
        end = start + element.count * row.itemsize
        if end > len(content):
            raise ValueError(f"the file has too few bytes: {len(content)}, and {element.name} ends at {end}")
        if element.name == "vertex":
            return np.ndarray(element.count, row, content, start)
        start = end
    raise ValueError("there is no element vertex")


def _gaussians(rows: np.ndarray) -> Gaussians:
    rest = sum(name.startswith("f_rest_") for name in rows.dtype.names)
    coefficients = math.isqrt(rest // 3 + 1) ** 2
    if rest != 3 * (coefficients - 1):
        raise ValueError(f"the number of properties f_rest must be 3 * ((degree + 1)² - 1), got {rest}")
    names = _names(rest)
    for name in names:
        if name not in rows.dtype.names:
            raise ValueError(f"the property {name} is missing")
        if rows.dtype[name] != np.float32:
            raise ValueError(f"the property {name} must be a float, got {rows.dtype[name]}")
    table = torch.from_numpy(np.stack([rows[name] for name in names], axis=1))
    means, dc, rest, logits, log_scales, quats = table.split([3, 3, rest, 1, 3, 4], dim=1)
    sh = torch.cat([dc[:, None], rest.unflatten(1, (3, coefficients - 1)).transpose(1, 2)], dim=1)
    return Gaussians(*(part.clone() for part in (means, log_scales, quats, logits.squeeze(1), sh)))
