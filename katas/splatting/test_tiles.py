"""tiles: the image of the rasterizer from lists of Gaussians per tile.

The definitions are a loop over all tiles and Gaussians, and an image that is painted one Gaussian after the other over
all pixels. Out of scope: time; the order of rounding; the numbers that the lists themselves need.
"""

import math

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from katas.lab.expect import expect_close, expect_equal, expect_refused
from katas.lab.laws import STANDING_LAWS
from katas.lab.strategies import normal, seeds
from katas.lab.watched import Watched
from katas.splatting.given.painted import painted, scattered, uniform
from katas.splatting.given.views import rows
from katas.splatting.projection import ProjectedGaussians
from katas.splatting.tiles import rasterize_tiled, tile_intersections

F64, INF = torch.float64, math.inf


def drawn(seed, count, channels, width, height, size=2.0, opacity=1.0):
    opacities = opacity * uniform(count, seed=seed + 4)
    opacities[::5] = opacity
    projected = ProjectedGaussians(**scattered(seed, count, width, height, size))
    return projected, normal(count, channels, seed=seed + 5), opacities, normal(channels, seed=seed + 6)


# --- the definition of the lists --------------------------------------------------------------------------------------


def lists_of(means2d, extents, depths, width, height, tile_size):
    lists = []
    nearest_first = sorted(range(len(depths)), key=lambda n: (float(depths[n]), n))
    low, high = (means2d - extents).tolist(), (means2d + extents).tolist()
    for top in range(0, height, tile_size):
        for left in range(0, width, tile_size):
            right, bottom = left + tile_size, top + tile_size
            lists.append([n for n in nearest_first if max(low[n][0], left) < min(high[n][0], right)
                          and max(low[n][1], top) < min(high[n][1], bottom)])  # fmt: skip
    return lists


def by_tile(got):
    offsets = got.offsets.tolist()
    assert offsets[0] == 0 and offsets[-1] == len(got.gaussian_ids), f"all ids are in some tile: {offsets}"
    return [got.gaussian_ids[start:end].tolist() for start, end in zip(offsets, offsets[1:], strict=False)]


# --- worked examples --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("law, mean, extent, tiles", [
    # an image of 20 by 12 has 3 by 2 tiles of 8: 0 1 2 above 3 4 5
    ("inside a tile", (4, 4), (2, 2), [0]),
    ("x leads to the next tile of the row", (8, 4), (1, 1), [0, 1]),
    ("y leads to the next row", (4, 8), (1, 1), [0, 3]),
    ("a row has three tiles, the last one is cut off by the image", (18, 10), (1, 1), [5]),
    ("a box that ends at the edge of a tile", (6, 4), (2, 2), [0]),
    ("a box that begins at the edge of a tile", (10, 4), (2, 2), [1]),
    ("x and y have extents of their own", (12, 4), (5, 3), [0, 1, 2]),
    ("larger than the image", (-50, 99), (500, 500), [0, 1, 2, 3, 4, 5]),
    ("without an end", (3, 3), (INF, INF), [0, 1, 2, 3, 4, 5]),
    ("left of the image", (-3, 4), (3, 3), []),
    ("beyond the last tile", (27, 4), (3, 3), []),
    ("below the last row", (4, 19), (3, 3), []),
    ("no width", (4, 4), (0, 2), []),
    ("no height", (4, 4), (2, 0), []),
])  # fmt: skip
def test_the_tiles_of_one_gaussian_by_hand(law, mean, extent, tiles):
    given_ = {"means2d": rows(mean), "extents": rows(extent), "depths": rows(1)}
    got = by_tile(tile_intersections(**given_, width=20, height=12, tile_size=8))
    assert [t for t, ids in enumerate(got) if ids] == tiles, f"{law}: tiles {tiles}, got the lists {got}"


def test_a_tile_has_the_nearest_first():
    means2d, depths = rows((4, 4), (12, 4), (4, 4), (4, 4), (8, 4)).float(), rows(3, 1 + 2**-23, 2, 3, 1).float()
    got = tile_intersections(means2d, rows((1, 1)).float().expand(5, 2), depths, 16, 8)
    expect_equal(got.gaussian_ids, [4, 2, 0, 3, 4, 1], "by tile, then by depth, then by index: 8 is the size of a tile")
    expect_equal(got.offsets, [0, 4, 6], "the first list has four entries, the second two")


def test_where_a_pixel_is():
    # sharp Gaussians on pixel centres, two of them in the same tile of 2 x 2: each shows in one pixel alone
    means2d, conics = rows((3.5, 0.5), (2.5, 1.5), (0.5, 2.5)), rows((16, 0, 16)).repeat(3, 1)
    covars2d, ones = torch.eye(2, dtype=F64).repeat(3, 1, 1) / 16, torch.ones(3, dtype=torch.long)
    projected = ProjectedGaussians(means2d, rows(1, 2, 3), covars2d, conics, ones)
    got = rasterize_tiled(projected, rows((2,), (4,), (6,)), rows(0.5, 0.5, 0.5), rows(0), 5, 3, tile_size=2)
    expected = [[0, 0, 0, 1, 0], [0, 0, 2, 0, 0], [3, 0, 0, 0, 0]]
    expect_close(got[..., 0], expected, "row first: (3.5, 0.5) is the centre of row 0 and column 3")


# --- agreement with the definitions -----------------------------------------------------------------------------------


@given(
    seeds(), st.sampled_from([0, 1, 5, 40]), st.sampled_from([(1, 1), (7, 30), (64, 32), (33, 9)]),
    st.sampled_from([1, 3, 8, 16, 100]), st.sampled_from([0.1, 5, 60]),
)  # fmt: skip
@example(0, 3000, (17, 12), 4, 2)
def test_lists_agree_with_the_definition(seed, count, image, tile_size, size):
    fields = scattered(seed, count, *image)
    extents = size * (uniform(count, 2, seed=seed + 9) - 0.1).clamp(min=0)
    given_ = fields["means2d"].round(decimals=1), extents.round(), fields["depths"] - 3, *image
    got, expected = by_tile(tile_intersections(*given_, tile_size=tile_size)), lists_of(*given_, tile_size)
    assert got == expected, f"the lists of all tiles, row by row: expected {expected}, got {got}"


@given(
    seeds(), st.sampled_from([0, 1, 3, 40]), st.sampled_from([1, 3, 5]),
    st.sampled_from([(1, 1), (7, 12), (32, 16), (33, 9)]), st.sampled_from([1, 3, 8, 16, 100]),
    st.sampled_from([1, 700, 10**9]), st.sampled_from([0.3, 3, 50]),
)  # fmt: skip
@example(0, 1500, 3, (9, 5), 8, 2**22, 2)
@example(1, 9, 3, (1500, 1), 16, 2**22, 300)
def test_images_agree_with_the_definition(seed, count, channels, image, tile_size, max_pairs, size):
    given_ = *drawn(seed, count, channels, *image, size), *image
    got = rasterize_tiled(*given_, tile_size=tile_size, max_pairs=max_pairs)
    expect_close(got, painted(*given_), "every pixel shows all Gaussians that have an alpha of 1/255 there")


@pytest.mark.parametrize("max_pairs", [1, 2000, 2**22])
def test_gradients_agree_with_the_definition(max_pairs):
    projected, colors, opacities, background = drawn(1, 60, 2, 21, 13, size=4.0)
    leaves = [x.clone().requires_grad_() for x in (projected.means2d, projected.conics, colors, opacities, background)]
    drawn_ = projected._replace(means2d=leaves[0], conics=leaves[1]), *leaves[2:], 21, 13
    weights = normal(13, 21, 2, seed=9)
    images = painted(*drawn_), rasterize_tiled(*drawn_, max_pairs=max_pairs)
    expected, got = (torch.autograd.grad((x * weights).sum(), leaves, allow_unused=True) for x in images)
    for name, *pair in zip(["means2d", "conics", "colors", "opacities", "background"], got, expected, strict=True):
        expect_close(*pair, f"the gradient of {name}, summed over all tiles")


def test_float32_keeps_its_digits():
    projected, *others = drawn(0, 2000, 2, 64, 48, size=6.0)
    narrow = ProjectedGaussians(*(x.float() if x.is_floating_point() else x for x in projected))
    expected = painted(projected, *others, 64, 48).float()
    for dtype, law in ((torch.float32, "as in float64, however many there are"), (F64, "the dtype is that of means2d")):
        given_ = {name: x.to(dtype) for name, x in zip(("colors", "opacities", "background"), others, strict=True)}
        expect_close(rasterize_tiled(projected=narrow, **given_, width=64, height=48), expected, law, rtol=0, atol=2e-5)


# --- what the tiles are for -------------------------------------------------------------------------------------------


def test_work_is_done_for_pairs_that_show_something():
    for law, options in (("small Gaussians", {"size": 0.1}), ("faint ones", {"size": 50.0, "opacity": 0.9 / 255})):
        with Watched() as watched:
            rasterize_tiled(*drawn(0, 800, 3, 96, 64, **options), 96, 64)
        assert watched.largest < 96 * 64 * 800 / 10, f"{law} touch a few tiles: a tensor of {watched.largest:,} numbers"


def test_operations_do_not_grow_with_the_scene():
    calls = []
    for count, width, height in ((20, 16, 16), (2000, 16, 16), (20, 160, 80)):
        with Watched() as watched:
            rasterize_tiled(*drawn(0, count, 3, width, height), width, height, max_pairs=10**9)
        calls.append(watched.calls)
    assert max(calls) <= 1.5 * min(calls), f"no Python loop over Gaussians, tiles or pixels: {calls} operations"


def test_max_pairs_bounds_the_memory():
    given_, kept = drawn(0, 500, 3, 64, 64, size=8.0), []
    leaves = [x.requires_grad_() for x in given_[1:3]]
    hooks = torch.autograd.graph.saved_tensors_hooks(lambda x: kept.append(x.numel()) or x, lambda x: x)
    with Watched() as watched, hooks:
        image = rasterize_tiled(given_[0], *leaves, given_[3], 64, 64, max_pairs=40_000)
    assert watched.largest <= 8 * 40_000, f"40,000 pairs at a time: a tensor of {watched.largest:,} numbers"
    assert sum(kept) <= 64 * 64 * 500 / 10, f"kept for the backward pass: {sum(kept):,} numbers, of all tiles at once"
    with Watched() as watched:
        image.sum().backward()
    assert watched.largest <= 8 * 40_000, f"in the backward pass as well: {watched.largest:,}"
    one, two = Watched(), Watched()
    for watched, width in ((one, 8), (two, 16)):
        with watched:  # a tile has more than 20,000 pairs
            rasterize_tiled(*drawn(0, 500, 3, 64, 64, size=3000.0), width, 8, max_pairs=40_000)
    assert two.largest < 1.5 * one.largest, f"two tiles have more pairs: {two.largest:,} numbers, not {one.largest:,}"


# --- refusals and standing laws ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["width", "height", "tile_size", "max_pairs"])
@pytest.mark.parametrize("size", [0, -3])
def test_what_is_not_positive_is_refused(name, size):
    options = {"width": 5, "height": 2, "tile_size": 4, "max_pairs": 99, name: size}
    expect_refused(name, lambda: rasterize_tiled(*drawn(0, 4, 3, 5, 2), **options))
    if name != "max_pairs":
        del options["max_pairs"]
        expect_refused(name, lambda: tile_intersections(rows((1, 1)), rows((1, 1)), rows(1), **options))


@pytest.mark.parametrize("law", STANDING_LAWS)
def test_standing_laws(law):
    law(tile_intersections, normal(5, 2), uniform(5, 2, seed=0), normal(5), 40, 9)
    law(rasterize_tiled, *drawn(0, 5, 4, 9, 7), 9, 7, tile_size=3)
