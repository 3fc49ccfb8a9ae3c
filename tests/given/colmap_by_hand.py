"""One small sparse model of COLMAP, written by hand in both formats: two cameras, three images, two points."""

import struct

import numpy as np

LENSES = {7: (1, "PINHOLE", 12, 8, (10.0, 11.0, 6.5, 4.25)), 2: (0, "SIMPLE_PINHOLE", 9, 6, (8.0, 4.5, 3.0))}
POINTS = {3: ((0.25, -0.5, 1.5), (255, 0, 51)), 900: ((-1.0, 0.75, 2.0), (10, 20, 30))}
IMAGES = {  # (w, x, y, z), t, camera id, name, and which points were observed
    5: ((0.8, 0.0, 0.6, 0.0), (0.5, -0.25, 4.0), 7, "b c.png", (3, 900)),
    1: ((0.5, 0.5, -0.5, 0.5), (0.0, 1.0, 5.0), 2, "a.png", ()),
    12: ((0.72, -0.96, 0.0, 1.6), (0.125, 0.0, 6.0), 2, "d.png", (3, 900)),
}


def observed(image, point):
    """q v q⁻¹ + t by cross products, then the pinhole."""
    ((w, *q), t, camera, *_), xyz = IMAGES[image], POINTS[point][0]
    once = np.cross(q, xyz)
    x, y, z = (xyz + 2 * (w * once + np.cross(q, once)) / (w * w + np.dot(q, q)) + t).tolist()
    *f, cx, cy = LENSES[camera][4]
    return f[0] * x / z + cx, f[-1] * y / z + cy, point


def binary_files():
    cameras, images, points = (struct.pack("<Q", len(records)) for records in (LENSES, IMAGES, POINTS))
    for number, (model, _, width, height, values) in LENSES.items():
        cameras += struct.pack(f"<IiQQ{len(values)}d", number, model, width, height, *values)
    for number, (q, t, camera, name, found) in IMAGES.items():
        images += struct.pack("<I7dI", number, *q, *t, camera) + name.encode() + struct.pack("<xQ", len(found))
        images += b"".join(struct.pack("<ddQ", *observed(number, point)) for point in found)
    for place, (number, (xyz, rgb)) in enumerate(POINTS.items()):
        points += struct.pack("<Q3d3BdQ4I", number, *xyz, *rgb, 0.5, 2, 5, place, 12, place)
    return {"cameras.bin": cameras, "images.bin": images, "points3D.bin": points}


def text_files():
    cameras, images, points = ["# Number of cameras: 2"], ["# Two lines each", ""], ["", "  # X Y Z"]
    for number, (_, model, width, height, values) in LENSES.items():
        cameras.append((number, model, width, height, *values))
    for number, (q, t, camera, name, found) in IMAGES.items():
        images += [(number, *q, *t, camera, name), [x for point in found for x in observed(number, point)]]
    for place, (number, (xyz, rgb)) in enumerate(POINTS.items()):
        points.append((number, *xyz, *rgb, 0.5, 5, place, 12, place))
    lines = {"cameras.txt": cameras, "images.txt": images, "points3D.txt": points}
    words = {
        name: [line if isinstance(line, str) else " ".join(map(str, line)) for line in lines[name]] for name in lines
    }
    return {name: "".join(f"{line}\n" for line in words[name]).encode() for name in words}


BINARY, TEXT = binary_files(), text_files()
