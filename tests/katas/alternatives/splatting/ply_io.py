"""ply_io with struct and plain lists, row by row: slow, and without numpy."""

import os
import re
import struct

import torch

from katas.splatting.given.gaussians import Gaussians

CODES = {"char": "b", "uchar": "B", "short": "h", "ushort": "H", "int": "i", "uint": "I", "float": "f", "double": "d"}
CODES |= {"int8": "b", "uint8": "B", "int16": "h", "uint16": "H", "int32": "i", "uint32": "I"}
CODES |= {"float32": "f", "float64": "d"}


def save_ply(path, gaussians):
    n = gaussians.means.shape[0] if gaussians.means.ndim else -1
    for name, inner in (("means", [3]), ("log_scales", [3]), ("quats", [4]), ("opacity_logits", [])):
        if list(getattr(gaussians, name).shape) != [n, *inner]:
            raise ValueError(f"shape of {name}")
    sh = gaussians.sh
    if sh.ndim != 3 or sh.shape[0] != n or sh.shape[2] != 3 or sh.shape[1] not in (1, 4, 9, 16, 25):
        raise ValueError(f"shape of sh: {sh.shape}")
    properties = "x y z nx ny nz f_dc_0 f_dc_1 f_dc_2".split()
    properties += [f"f_rest_{i}" for i in range(3 * sh.shape[1] - 3)]
    properties += "opacity scale_0 scale_1 scale_2 rot_0 rot_1 rot_2 rot_3".split()
    # as integers: a signalling NaN would lose its bits on the way through a Python float
    means, log_scales, quats, logits, sh = (words(field) for field in gaussians)
    if os.path.dirname(path):
        os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(b"ply\nformat binary_little_endian 1.0\ncomment by hand\nelement vertex %d\n" % n)
        file.writelines(b"property float32 %s\n" % name.encode() for name in properties)
        file.write(b"end_header\n")
        for i in range(n):
            row = [*means[i], 0, 0, 0, *sh[i][0]]
            for channel in range(3):
                row += [coefficients[channel] for coefficients in sh[i][1:]]
            row += [logits[i], *log_scales[i], *quats[i]]
            file.write(struct.pack(f"<{len(row)}i", *row))


def words(field):
    return field.detach().cpu().float().contiguous().view(torch.int32).tolist()


def load_ply(path):
    with open(path, "rb") as file:
        content = file.read()

    def wrong(what):
        return ValueError(f"in {path}: {what}")

    end = re.search(rb"^end_header *\r?\n", content, re.MULTILINE)
    if content[:4] not in (b"ply\n", b"ply\r") or not end:
        raise wrong("no PLY header")
    lines = [line.split() for line in content[: end.start()].decode("utf-8", "replace").split("\n")[1:-1]]
    lines = [line for line in lines if line[:1] not in (["comment"], ["obj_info"])]
    if not lines or lines[0][0] != "format" or lines[0][1] != "binary_little_endian":
        raise wrong(f"cannot read {lines[:1]}")
    place, found = end.end(), None
    blocks = []
    for line in lines[1:]:
        if line[0] == "element" and len(line) == 3 and re.fullmatch("[0-9]+", line[2]):
            blocks.append((line[1], int(line[2]), []))
        elif line[0] == "property" and blocks and line[1] in (*CODES, "list"):
            blocks[-1][2].append((line[-1], line[1]))
        else:
            raise wrong(" ".join(line))
    for element, count, properties in blocks:
        lists = [name for name, kind in properties if kind == "list"]
        if lists:
            raise wrong(f"list: {lists[0]}")
        row = struct.Struct("<" + "".join(CODES[kind] for _, kind in properties))
        if element == "vertex":
            found = count, properties, row
            break
        place += count * row.size
    if found is None:
        raise wrong("no vertex")
    count, properties, row = found
    if len(content) - place < count * row.size:
        raise wrong("too short")
    names = [name for name, _ in properties]
    for name in names:
        if names.count(name) > 1:
            raise wrong(f"{name} twice")
    rests = len([name for name in names if re.fullmatch("f_rest_[0-9]+", name)])
    if rests not in (0, 9, 24, 45, 72):
        raise wrong(f"{rests} f_rest")
    offsets = {}
    for i, (name, kind) in enumerate(properties):
        before = struct.calcsize("<" + "".join(CODES[one] for _, one in properties[:i]))
        offsets[name] = before if CODES[kind] == "f" else None

    def numbers(*wanted):
        for name in wanted:
            if offsets.get(name) is None:
                raise wrong(f"property {name}")
        rows = [place + i * row.size for i in range(count)]
        table = [[struct.unpack_from("<i", content, at + offsets[name])[0] for name in wanted] for at in rows]
        flat = torch.tensor(table, dtype=torch.int32, device="cpu").reshape(count, len(wanted))
        return flat.view(torch.float32)

    k = rests // 3
    channels = [numbers(f"f_dc_{c}", *(f"f_rest_{c * k + i}" for i in range(k))) for c in range(3)]
    return Gaussians(
        numbers("x", "y", "z"),
        numbers("scale_0", "scale_1", "scale_2"),
        numbers("rot_0", "rot_1", "rot_2", "rot_3"),
        numbers("opacity")[:, 0].clone(),
        torch.stack(channels, dim=2),
    )
