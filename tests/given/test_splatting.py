"""What splatting is given: a ray traced scene, and a reader of COLMAP's sparse models."""

import math
import random
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from katas.splatting.given import ray_tracer
from katas.splatting.given.colmap import read_model, read_views
from katas.splatting.given.ray_tracer import HELD_OUT, orbit, render, scene_points, traced_views
from katas.splatting.given.views import matrix, posed, rows
from tests.given.colmap_by_hand import BINARY, POINTS, TEXT, observed
from tests.given.scene_by_hand import along, dot, first_hit, seen, unit

# --- the ray tracer ---


def test_every_pixel_is_what_its_rays_see():
    """From where the shadow of a sphere cuts through the highlight of another."""
    right, down, forward, eye = (-0.8, 0.6, 0), (0.168, 0.224, -0.96), (-0.576, -0.768, -0.28), (2.2, 3.1, 1.5)
    viewmat = posed(rows(right, down, forward), rows(*(-dot(axis, eye) for axis in (right, down, forward))))
    width, height, fx, fy, cx, cy = 23, 15, 27.0, 25.0, 11.6, 7.3
    image = render(viewmat.float(), matrix(fx, fy, cx, cy).float(), width=width, height=height)
    expected = torch.zeros(height, width, 3)
    for i, j, k, m in np.ndindex(height, width, 3, 3):
        x, y = (j + (m + 0.5) / 3 - cx) / fx, (i + (k + 0.5) / 3 - cy) / fy
        ray = unit(along(along(forward, x, right), y, down))
        expected[i, j] += torch.tensor(seen(eye, ray)) / 9
    wrong = (image - expected).abs().amax(dim=-1) > 1e-3
    assert wrong.sum() <= 2, "in float32 a ray may pass on the other side of an edge"
    assert len(expected.round(decimals=2).flatten(0, 1).unique(dim=0)) > 60, "the picture shows the scene"


def projected(points, viewmat, K):
    x, y, z = (viewmat[:3, :3] @ points.T + viewmat[:3, 3:]).unbind()
    return torch.stack([K[0, 0] * x / z + K[0, 2], K[1, 1] * y / z + K[1, 2]], dim=-1)


@pytest.mark.parametrize(("width", "height"), [(160, 100), (90, 150)])
def test_points_appear_where_they_are(width, height):
    points, colors = scene_points(500, torch.Generator().manual_seed(0), noise=0)
    for image, viewmat, K in traced_views(2, width=width, height=height):
        assert image.shape == (height, width, 3) and image.dtype == viewmat.dtype == K.dtype == torch.float32
        eye = (-viewmat[:3, 3] @ viewmat[:3, :3]).tolist()
        rays = [along(point, -1, eye) for point in points.tolist()]
        in_sight = torch.tensor([first_hit(eye, unit(ray))[0] > math.hypot(*ray) - 1e-3 for ray in rays])
        places = projected(points, viewmat, K)
        chosen = in_sight & ((places > 0) & (places < torch.tensor([width, height]))).all(dim=-1)
        j, i = places[chosen].long().T
        error, beside = ((picture[i, j] - colors[chosen]).abs().mean(dim=-1) for picture in (image, image.roll(2, 1)))
        assert chosen.sum() > 150 and error.median() < 0.015 and beside.median() > 3 * error.median()


def test_noise_moves_points_and_colours():
    points, colors = scene_points(3000, torch.Generator().manual_seed(0), noise=0)
    on_sphere = ((torch.cdist(points, ray_tracer.CENTRES) - ray_tracer.RADII).abs() < 1e-5).any(dim=1)
    assert (on_sphere | (points[:, 2] == 0)).all() and 0.45 < on_sphere.float().mean() < 0.55
    noisy, recolored = scene_points(3000, torch.Generator().manual_seed(0), noise=0.02)
    assert 0.019 < (noisy - points).std() < 0.021 and 0.015 < (recolored - colors).std() < 0.021


def test_cameras_surround_the_scene_and_differ():
    training, held_out = traced_views(30, width=6, height=4), traced_views(10, width=6, height=4, phase=HELD_OUT)
    viewmats = torch.stack([view.viewmat for view in training + held_out] + [*orbit(12)[0]])
    R, t = viewmats[:, :3, :3], viewmats[:, :3, 3]
    torch.testing.assert_close(R @ R.mT, torch.eye(3).expand_as(R), atol=1e-6, rtol=0)
    torch.testing.assert_close(torch.linalg.det(R), torch.ones(52))
    ahead = R @ torch.tensor(ray_tracer.CENTRE) + t
    torch.testing.assert_close(ahead, torch.tensor([0, 0, ray_tracer.DISTANCE]).expand(52, 3), atol=1e-5, rtol=0)
    nearest = (R[:30, 2] @ R[:40, 2].T).clamp(-1, 1).acos().rad2deg() + 180 * torch.eye(30, 40)
    assert nearest[:, :30].min() > 15 and nearest[:, 30:].min() > 7 and nearest[:, 30:].amin(dim=0).max() < 12


def test_the_same_arguments_give_the_same_scene():
    first, again = (torch.stack([view.image for view in traced_views(2, width=20, height=12)]) for _ in range(2))
    assert torch.equal(first, again) and not torch.equal(first[0], first[1])
    draws = [torch.Generator().manual_seed(3) for _ in range(2)]
    one, same, more = (scene_points(5, draws[which])[0] for which in (0, 1, 0))
    assert torch.equal(one, same) and not torch.equal(one, more)


# --- COLMAP ---

BOTH = pytest.mark.parametrize("files", [BINARY, TEXT], ids=["binary", "text"])


def read(folder, files):
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return read_model(folder)


def values(model):
    cameras = [(c.name, c.viewmat.tolist(), c.K.tolist(), c.width, c.height) for c in model.cameras]
    return cameras, model.points.tolist(), model.colors.tolist()


@BOTH
def test_points_project_to_their_observations(tmp_path, files):
    model = read(tmp_path, files)
    assert [c[::4] for c in values(model)[0]] == [("a.png", 6), ("b c.png", 8), ("d.png", 6)]
    assert model.points.tolist() == [list(xyz) for xyz, _ in POINTS.values()]
    torch.testing.assert_close(255 * model.colors, torch.tensor([rgb for _, rgb in POINTS.values()]).float())
    for image, camera in zip((1, 5, 12), model.cameras, strict=True):
        expected = rows(*(observed(image, point)[:2] for point in POINTS))
        torch.testing.assert_close(projected(model.points.double(), camera.viewmat, camera.K), expected)


def test_text_may_be_written_in_many_ways(tmp_path):
    expected = values(read(tmp_path, TEXT))
    for change in (
        lambda text: text.replace(b"\n", b"\r\n"),
        lambda text: text.rstrip(b"\n"),
        lambda text: b"# more\n\n#\n" + text.replace(b" ", b"  ").replace(b"b  c", b"b c"),
        lambda text: text[: text.index(b"d.png") + 5] if b"d.png" in text else text,  # the last second line is missing
    ):
        assert values(read(tmp_path, {name: change(text) for name, text in TEXT.items()})) == expected
    assert values(read(tmp_path, BINARY | {"cameras.txt": b"?"})) == expected, "binary files go first"


@pytest.mark.parametrize("name", BINARY)
def test_a_file_cut_anywhere_is_refused(tmp_path, name):
    read(tmp_path, BINARY)
    for size in range(len(BINARY[name])):
        with pytest.raises(ValueError, match=rf"^{name}: .*cut off$"):
            read(tmp_path, {name: BINARY[name][:size]})


@BOTH
def test_noise_is_read_or_refused(tmp_path, files):
    draw = random.Random(0)
    for name, good in files.items():
        read(tmp_path, files)
        for _ in range(60):
            start, noise = draw.randrange(len(good)), draw.choice([b"", b" ", b"\n", b"\xff", b"-", b"\0" * 8])
            try:
                read(tmp_path, {name: good[:start] + noise + good[start + draw.randrange(9) :]})
            except ValueError as error:
                assert str(error).startswith((f"{name}: ", "images.")), "a lost camera is missed by an image"


@pytest.mark.parametrize(("name", "old", "new", "message"), [
    ("cameras.txt", b"PINHOLE 12", b"PINHOL 12", "line 2: unknown camera model PINHOL"),
    ("cameras.txt", b"7 PINHOLE 12", b"7 OPENCV 12", "line 2: OPENCV is no pinhole.*image_undistorter"),
    ("cameras.txt", b" 4.25", b"", "line 2: expected 8 values, got 7"),
    ("cameras.txt", b"10.0", b"ten", "line 2: .*'ten'"),
    ("cameras.txt", b"10.0", b"nan", "line 2: .*finite.*nan"),
    ("cameras.txt", b"10.0", b"-10.0", "line 2: the focal length.*-10"),
    ("cameras.txt", b" 12 ", b" 0 ", "line 2: the size.*0 × 8"),
    ("cameras.txt", b"2 SIMPLE", b"7 SIMPLE", "line 3: the camera id 7 is there twice"),
    ("images.txt", b" 7 b c.png", b" 70 b c.png", "line 3: unknown camera id 70"),
    ("images.txt", b" 7 b c.png", b" 7", "line 3: expected 10 values, got 9"),
    ("images.txt", b"0.8 0.0 0.6 0.0", b"0.0 0.0 0.0 0.0", "line 3: the quaternion is 0"),
    ("images.txt", b" 900\n1 ", b" 900 1.5\n1 ", "line 4: expected observations .* got 7"),
    ("images.txt", b" 900\n1 ", b" many\n1 ", "line 4: .*'many'"),
    ("images.txt", b"a.png\n\n", b"a.png\n", "line 6: expected observations"),
    ("points3D.txt", b"255", b"256", "line 3: colours.*256"),
    ("points3D.txt", b" 1.5 ", b" 1e39 ", "line 3: the point.*1e[+]39"),
    ("points3D.txt", b"255 0 51 0.5 5 0 12 0", b"255 0", "line 3: expected 8 values"),
    ("points3D.txt", b"51 0.5 5", b"51 0.5", "line 3: expected an error and a track.* got 5"),
    ("points3D.txt", b"# X", b"\xff X", "'utf-8'"),
    ("cameras.bin", struct.pack("<Ii", 7, 1), struct.pack("<Ii", 7, 2), "camera 1 of 2: SIMPLE_RADIAL.*undistorter"),
    ("cameras.bin", struct.pack("<Ii", 7, 1), struct.pack("<Ii", 7, -1), "camera 1 of 2: unknown camera model -1"),
    ("cameras.bin", struct.pack("<Q", 2), struct.pack("<Q", 1), "48 bytes follow camera 1 of 1"),
    ("images.bin", b"a.png", b"\xff.png", "image 2 of 3: .*utf-8"),
    ("images.bin", b"a.png", b"", "image 2 of 3: the name is empty"),
    ("images.bin", struct.pack("<dI", 5, 2), struct.pack("<dI", 5, 3), "image 2 of 3: unknown camera id 3"),
    ("points3D.bin", struct.pack("<d", 1.5), struct.pack("<d", math.nan), "point 1 of 2: the point.*nan"),
])  # fmt: skip
def test_a_malformed_record_is_named(tmp_path, name, old, new, message):
    files = BINARY if name.endswith("bin") else TEXT
    assert old in files[name], "the table changes something"
    with pytest.raises(ValueError, match=f"^{name}: {message}"):
        read(tmp_path, files | {name: files[name].replace(old, new, 1)})


def test_missing_files_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=f"{tmp_path} is no COLMAP model.*cameras.*none of them.*sparse/0"):
        read_model(tmp_path)
    with pytest.raises(FileNotFoundError, match="found cameras.bin, images.txt, points3D.txt"):
        read(tmp_path, {"cameras.bin": b"", "images.txt": b"", "points3D.txt": b""})


@pytest.fixture
def photographs(tmp_path):
    """Red is ten times x and green ten times y, at the centre of each pixel."""
    for camera in read(tmp_path, BINARY).cameras:
        y, x = np.mgrid[: camera.height, : camera.width] + 0.5
        Image.fromarray(np.stack([10 * x, 10 * y, 0 * x], axis=-1).astype(np.uint8)).save(tmp_path / camera.name)
    return tmp_path


@pytest.mark.parametrize(("downscale", "shapes"), [(1, [(6, 9), (8, 12)]), (2, [(3, 4), (4, 6)])])
def test_a_smaller_photograph_shows_the_same_places(photographs, downscale, shapes):
    views, points, _ = read_views(photographs, images=photographs, downscale=downscale)
    assert [view.image.shape[:2] for view in views] == [*shapes, shapes[0]] and points.shape == (2, 3)
    for view, camera in zip(views, read_model(photographs).cameras, strict=True):
        assert torch.equal(view.viewmat, camera.viewmat.float()) and view.image.dtype == torch.float32
        i, j = (side // 2 for side in view.image.shape[:2])
        ray = [(place + 0.5 - view.K[axis, 2]) / view.K[axis, axis] for axis, place in enumerate((j, i))]
        there = [float(camera.K[axis, axis] * ray[axis] + camera.K[axis, 2]) for axis in range(2)]
        assert (255 * view.image[i, j] / 10).tolist() == pytest.approx([*there, 0], abs=0.1)


@pytest.mark.parametrize(("damage", "message"), [
    (Path.unlink, "a.png is missing"),
    (lambda path: path.write_bytes(path.read_bytes()[:60]), "a.png is no photograph"),
    (lambda path: Image.new("RGB", (6, 9)).save(path), r"a.png has \(6, 9\) pixels.*camera \(9, 6\)"),
])  # fmt: skip
def test_a_wrong_photograph_is_named(photographs, damage, message):
    damage(photographs / "a.png")
    with pytest.raises((FileNotFoundError, ValueError), match=message):
        read_views(photographs, images=photographs)


@pytest.mark.parametrize("downscale", [0, -2, 1.5])
def test_a_downscale_is_a_positive_whole_number(photographs, downscale):
    with pytest.raises(ValueError, match=f"downscale.*{downscale}"):
        read_views(photographs, images=photographs, downscale=downscale)
