"""ply_io: files that plyfile reads and writes, in the layout of 3DGS, and a round trip to the bit.

Checked against the package plyfile and against bytes by hand. Out of scope: compressed layouts, ASCII and big-endian
files (refused), degrees above 3, what a kill while writing leaves.
"""

import struct
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from plyfile import PlyData
from torch import nn

from katas.lab.expect import expect_equal, expect_refused
from katas.lab.laws import STANDING_LAWS, dtype_is_followed
from katas.lab.strategies import rng, seeds
from katas.splatting.given.gaussians import Gaussians
from katas.splatting.given.ply_files import BROKEN, columns_of, gaussians_of, of_another_program
from katas.splatting.ply_io import load_ply, save_ply

F32 = torch.float32


def loaded(folder, content):
    (folder / "scene.ply").write_bytes(content)
    return load_ply(folder / "scene.ply")


def through_a_file(folder, gaussians):
    (folder / "scene.ply").unlink(missing_ok=True)
    save_ply(path=folder / "scene.ply", gaussians=gaussians)
    return load_ply(path=folder / "scene.ply")


# --- the definition: bytes by hand, and plyfile -----------------------------------------------------------------------


def test_one_gaussian_by_hand(tmp_path):
    reds, greens, blues = [10.0, 11, 12, 13], [20.0, 21, 22, 23], [30.0, 31, 32, 33]
    sh = torch.tensor([reds, greens, blues]).T[None]  # coefficient, then channel
    one = Gaussians(torch.tensor([[1.0, 2, 3]]), torch.tensor([[-4.0, -5, -6]]), torch.tensor([[7.0, 0.5, 0, -9]]),
                    torch.tensor([-2.5]), sh)  # fmt: skip
    save_ply(tmp_path / "scene.ply", one)
    content = (tmp_path / "scene.ply").read_bytes()
    colors = [10, 20, 30, 11, 12, 13, 21, 22, 23, 31, 32, 33]  # the first of each channel, then channel by channel
    row = [1.0, 2, 3, 0, 0, 0, *colors, -2.5, -4, -5, -6, 7, 0.5, 0, -9]  # little-endian, raw
    assert content.startswith(b"ply\n"), "a PLY file begins with its name"
    expect_equal(list(struct.unpack("<26f", content[-104:])), row, "x y z, normals, f_dc, f_rest, opacity, scale, rot")
    expect_equal(load_ply(tmp_path / "scene.ply"), one, "they come back", dtype=F32)


@pytest.mark.parametrize("n", [0, 1, 7])
@pytest.mark.parametrize("k", [1, 4, 9, 16])
def test_plyfile_reads_what_was_saved(tmp_path, n, k):
    gaussians = gaussians_of(n, k)
    save_ply(tmp_path / "scene.ply", gaussians)
    file, expected = PlyData.read(tmp_path / "scene.ply"), columns_of(gaussians)
    assert not file.text and file.byte_order == "<", "the format is binary_little_endian"
    assert [one.name for one in file.elements] == ["vertex"], "one element, `vertex`"
    properties = file["vertex"].properties
    assert [p.name for p in properties] == list(expected), "the properties stand in the published order"
    assert {p.val_dtype for p in properties} == {"f4"}, "every property is a float"
    for name, column in expected.items():
        expect_equal(torch.tensor(file["vertex"][name]), torch.tensor(column), f"the column {name}")


@given(st.integers(0, 6), st.sampled_from([1, 4, 9, 16]), st.randoms(use_true_random=False), st.booleans(), seeds())
def test_files_of_other_programs_are_read(n, k, shuffle, spelled, seed):
    gaussians = gaussians_of(n, k, seed)
    content = of_another_program(columns_of(gaussians), shuffle, spelled=spelled)
    with TemporaryDirectory() as folder:
        got = loaded(Path(folder), content)
    expect_equal(got, gaussians, "properties are found by their names; what is not of the layout is passed over")


# --- round trips ------------------------------------------------------------------------------------------------------

# NaN in three ways, ±inf, -0.0, the least number, and text: newlines, spaces, a header's end
BITS = [0x7FC00000, 0x7FC01234, 0xFFC00001, 0x7F800000, 0xFF800000, 0x80000000, 1, 0x0A0A0A0A, 0x0D0A0D0A, 0x20202020]
BITS += struct.unpack("<4I", b"\nend_header\nply\n")
NUMBERS = torch.tensor(np.array(BITS, np.uint32).view(np.int32)).view(F32)


def bits(gaussians):
    return Gaussians(*(field.view(torch.int32) for field in gaussians))


@pytest.mark.parametrize("k", [1, 4, 9, 16])
@pytest.mark.parametrize("n", [0, 1, 3, 1500])
def test_float32_comes_back_to_the_bit(tmp_path, n, k):
    ordinary = gaussians_of(n, k)
    special = Gaussians(*(NUMBERS[torch.randint(len(NUMBERS), f.shape, generator=rng(n))] for f in ordinary))
    for gaussians in (ordinary, special):
        got = through_a_file(tmp_path, gaussians)
        assert isinstance(got, Gaussians) and {field.dtype for field in got} == {F32}, "Gaussians of float32 come back"
        expect_equal(bits(got), bits(gaussians), "nothing is normalised, clipped or rounded: the bits are the same")


@pytest.mark.parametrize("names", ["64 64 64 64 64", "16 16 16 16 16", "b16 b16 b16 b16 b16", "64 32 16 64 b16"])
def test_other_dtypes_are_stored_as_float32(tmp_path, names):
    dtypes = {"64": torch.float64, "32": F32, "16": torch.float16, "b16": torch.bfloat16}
    gaussians = Gaussians(*((field.double() * 1000).to(dtypes[name])
                            for field, name in zip(gaussians_of(6, 9), names.split(), strict=True)))  # fmt: skip
    got = through_a_file(tmp_path, gaussians)
    expect_equal(got, Gaussians(*(field.to(F32) for field in gaussians)), "rounded once, to float32")


@pytest.mark.parametrize("n", [1, 2])
def test_what_is_loaded_can_be_trained(tmp_path, n):
    saved = gaussians_of(n, 4)
    got = through_a_file(tmp_path, Gaussians(*(nn.Parameter(field) for field in saved)))
    assert not any(field.requires_grad for field in got), "what is loaded records no gradient"
    for field in got:
        assert field.is_contiguous(), "each tensor is contiguous"
        assert field.untyped_storage().nbytes() == 4 * field.numel(), "each tensor has memory of its own"
        field += 1
    expect_equal(got, Gaussians(*(field + 1 for field in saved)), "each can be changed in place")


def test_folders_are_made_and_files_replaced(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for place in ("scene.ply", "new/folder/scene"):
        save_ply(place, gaussians_of(50, 16))
        save_ply(place, gaussians_of(2, 4))
        expect_equal(load_ply(place), gaussians_of(2, 4), "a file that was there is replaced")
        assert PlyData.read(place)["vertex"].count == 2, "a file that was there is replaced"
    files = {str(file.relative_to(tmp_path)) for file in tmp_path.rglob("*") if file.is_file()}
    assert files == {"scene.ply", "new/folder/scene"}, f"one file a scene: {files}"


# --- refusals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault, content", BROKEN.values(), ids=BROKEN)
def test_malformed_files_are_refused(tmp_path, fault, content):
    for name in ("scene.ply", fault):
        expect_refused(name, lambda: loaded(tmp_path, content))


def test_a_missing_file_is_not_found(tmp_path):
    with pytest.raises(FileNotFoundError):
        load_ply(tmp_path / "scene.ply")


@pytest.mark.parametrize("name, shape", [
    ("means", (5, 2)), ("means", (3,)), ("log_scales", (4, 3)), ("log_scales", (5, 1)), ("quats", (5, 3)),
    ("quats", (1, 4)), ("opacity_logits", (5, 1)), ("opacity_logits", (6,)), ("sh", (5, 12)), ("sh", (5, 3, 4)),
    ("sh", (4, 4, 3)), ("sh", (5, 0, 3)), ("sh", (5, 5, 3)), ("sh", (5, 15, 3)),
])  # fmt: skip
def test_fields_that_do_not_fit_are_refused(tmp_path, name, shape):
    save_ply(tmp_path / "scene.ply", good := gaussians_of(5, 4))
    expect_refused(name, lambda: save_ply(tmp_path / "scene.ply", good._replace(**{name: torch.zeros(shape)})))
    expect_equal(load_ply(tmp_path / "scene.ply"), good, "nothing is written")


@pytest.mark.parametrize("law", [law for law in STANDING_LAWS if law is not dtype_is_followed])  # always float32
def test_standing_laws(tmp_path, law):
    law(lambda gaussians: through_a_file(tmp_path, gaussians), gaussians_of(5, 4))
