"""PLY files as plyfile writes them: good ones, those of other programs, and broken ones."""

import io
import re

import numpy as np
import torch
from plyfile import PlyData, PlyElement

from katas.lab.strategies import normal
from katas.splatting.given.gaussians import Gaussians

SPELLED = {b"char": b"int8", b"uchar": b"uint8", b"short": b"int16", b"ushort": b"uint16", b"int": b"int32",
           b"uint": b"uint32", b"float": b"float32", b"double": b"float64"}  # fmt: skip


def gaussians_of(n=5, k=4, seed=0):
    shapes = [(n, 3), (n, 3), (n, 4), (n,), (n, k, 3)]
    return Gaussians(*(normal(*shape, seed=seed + i, dtype=torch.float32) for i, shape in enumerate(shapes)))


def columns_of(gaussians):
    """The layout, written down: every property by its name, in the order of the file."""
    means, log_scales, quats, opacity_logits, sh = (field.numpy() for field in gaussians)
    rest = [sh[:, k, c] for c in range(3) for k in range(1, sh.shape[1])]
    columns = {name: means[:, i] for i, name in enumerate("xyz")} | {f"n{axis}": 0 * opacity_logits for axis in "xyz"}
    columns |= {f"f_dc_{c}": sh[:, 0, c] for c in range(3)} | {f"f_rest_{i}": column for i, column in enumerate(rest)}
    columns |= {"opacity": opacity_logits} | {f"scale_{i}": log_scales[:, i] for i in range(3)}
    return columns | {f"rot_{i}": quats[:, i] for i in range(4)}


def element(columns, name="vertex", **options):
    """An element of plyfile with these columns."""
    rows = np.empty(len(next(iter(columns.values()))), [(key, column.dtype) for key, column in columns.items()])
    for key, column in columns.items():
        rows[key] = column
    return PlyElement.describe(rows, name, **options)


def written(*elements, **options):
    PlyData(list(elements), **options).write(stream := io.BytesIO())
    return stream.getvalue()


def of_another_program(columns, shuffle, *, spelled=False):
    """Without normals, with more of everything, shuffled; `spelled`: with the other names of the types."""
    columns = {name: column for name, column in columns.items() if name not in ("nx", "ny", "nz")}
    more = {f"rot_of_{kind}": np.arange(len(columns["x"])).astype(kind) for kind in "i1 u1 i2 u2 i4 u4 f4 f8".split()}
    names = shuffle.sample([*columns, *more], len(columns) + len(more))
    vertex = element({name: (columns | more)[name] for name in names}, comments=["property float w", "meters"])
    camera = element({"x": np.arange(3.0), "list": np.arange(3).astype("u1")}, "camera")
    faces = PlyElement.describe(np.array([([1, 2],)] * 40, [("list", "O")]), "face", val_types={"list": "i4"})
    comments, note = ["end_header", "element vertex 9"], ["format ascii 1.0"]
    content = written(camera, vertex, faces, comments=comments, obj_info=note)
    if spelled:
        content = re.sub(rb"property (\w+) ", lambda m: b"property %b " % SPELLED.get(m[1], m[1]), content)
        content = content.replace(b"comment meters", b"comment \xff")  # neither ASCII nor UTF-8
    return content


# --- broken files ---

COLUMNS = columns_of(gaussians_of(3, 4))
GOOD = written(element(COLUMNS))


def without(part):
    return written(element({name: column for name, column in COLUMNS.items() if part != name}))


def with_rest(count):
    others = {name: column for name, column in COLUMNS.items() if "f_rest" not in name}
    return written(element(others | {f"f_rest_{i}": COLUMNS["x"] for i in range(count)}))


def changed(old, new):
    assert GOOD.count(old) == 1
    return GOOD.replace(old, new)


# The word that a refusal must say, and the file.
BROKEN = {
    **{f"without {name}": (name, without(name)) for name in COLUMNS if not name.startswith(("n", "f_rest"))},
    **{f"{count} rests": ("f_rest", with_rest(count)) for count in (1, 3, 6, 8, 10, 12, 21, 25, 44, 46)},
    "rests with a gap": ("f_rest_4", changed(b"f_rest_4\n", b"f_rest_9\n")),
    "big-endian": ("binary_big_endian", written(element(COLUMNS), byte_order=">")),
    "text": ("ascii", written(element(COLUMNS), text=True)),
    "double": ("y", written(element(COLUMNS | {"y": COLUMNS["y"].astype("f8")}))),
    "integers": ("f_rest_8", written(element(COLUMNS | {"f_rest_8": COLUMNS["x"].astype("i4")}))),
    "a list": ("rot_1", changed(b"property float rot_1", b"property list uchar float rot_1")),
    "a list more": ("near", changed(b"end_header", b"property list uchar int near\nend_header")),
    "a list before": ("near", changed(b"element", b"element camera 1\nproperty list uchar int near\nelement")),
    "twice the same": ("z", changed(b"property float nz", b"property float z")),
    "another element": ("vertex", written(element(COLUMNS, "point"))),
}  # fmt: skip
NAMELESS = {
    "nothing": b"", "no PLY": b"solid cube\n" + GOOD, "noise": bytes(range(256)), "plywood": b"plywood" + GOOD[3:],
    "a header without its end": changed(b"end_header\n", b""), "half a header": GOOD[:100],
    "no rows and no end": written(element({key: col[:0] for key, col in COLUMNS.items()}))[: -len(b"end_header\n")],
    "no format": changed(b"format binary_little_endian 1.0\n", b""),
    "no number of rows": changed(b"element vertex 3", b"element vertex"),
    "rows in words": changed(b"element vertex 3", b"element vertex three"),
    "less than no rows": changed(b"element vertex 3", b"element vertex -3"),
    "an unknown type": changed(b"property float nx", b"property half nx"),
    "no element": changed(b"element vertex 3\n", b""),
    "a byte too few": GOOD[:-1], "only a header": GOOD[: -3 * 4 * len(COLUMNS)],
    "too many rows": changed(b"element vertex 3", b"element vertex 4000000000000"),
}  # fmt: skip
BROKEN |= {name: ("scene.ply", content) for name, content in NAMELESS.items()}
