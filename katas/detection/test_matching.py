"""matching: which truth every anchor is responsible for, by IoU thresholds with claims, or by ATSS.

Rows of the matrix are truths, columns anchors. The definitions are loops on Python numbers. IoUs come in eighths: ties.
"""

import math
import statistics
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from katas.detection.matching import atss_match, match_anchors
from katas.lab.expect import expect_equal, expect_refused
from katas.lab.laws import STANDING_LAWS, unit_of_length_does_not_matter
from katas.lab.strategies import UNITS, boxes, rng, seeds, tensors

eighths = tensors(st.integers(1, 4), st.integers(1, 6), low=0, high=8).map(lambda matrix: matrix.round() / 8)
thresholds = st.lists(st.integers(0, 8).map(lambda n: n / 8), min_size=2, max_size=2).map(sorted)
TRUTH = (0, 0, 20, 10)  # its centre is (10, 5)


def matrix(*rows):
    return torch.tensor(rows, dtype=torch.float64)


def points(*centers):
    """Anchors of 2 x 2 around the centres: ATSS looks at where they are, and takes IoUs from the matrix."""
    return matrix(*[[x - 1, y - 1, x + 1, y + 1] for x, y in centers])


# --- the definition ---------------------------------------------------------------------------------------------------


def match(ious, bg=0.4, fg=0.5, allow_low_quality_matches=True):
    matched, best_of_truth = [], [max(row) for row in ious]
    for column in zip(*ious, strict=True):
        claims = [m for m, iou in enumerate(column) if allow_low_quality_matches and iou == best_of_truth[m] > 0]
        own = column.index(max(column)) if max(column) >= fg else -2 if max(column) >= bg else -1
        matched.append(max(claims, key=column.__getitem__) if claims else own)  # the first of the largest
    return torch.tensor(matched, dtype=torch.int64)


def center(box):
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2


def is_inside(anchor, truth):
    return all(truth[k] < center(anchor)[k] < truth[k + 2] for k in (0, 1))


def atss(ious, truths, anchors, num_anchors_per_level, top_k=9):
    best, matched = [0.0] * len(anchors), [-1] * len(anchors)
    for m, truth in enumerate(truths):
        candidates, start = [], 0
        for count in num_anchors_per_level:
            level, start = range(start, start + count), start + count
            candidates += sorted(level, key=lambda n: math.dist(center(anchors[n]), center(truth)))[:top_k]
        found = [ious[m][n] for n in candidates]
        threshold = statistics.mean(found) + (statistics.stdev(found) if len(found) > 1 else 0)
        for n in candidates:
            if is_inside(anchors[n], truth) and ious[m][n] >= threshold and (matched[n] < 0 or ious[m][n] > best[n]):
                best[n], matched[n] = ious[m][n], m
    return torch.tensor(matched, dtype=torch.int64)


def expect_atss(truths, anchors, levels, seed, **options):
    ious = torch.rand(len(truths), len(anchors), generator=rng(seed), dtype=torch.float64)
    inside = torch.tensor([[is_inside(anchor, truth) for anchor in anchors.tolist()] for truth in truths.tolist()])
    ious = ious.where(inside | (ious > 0.4), 0)  # an anchor whose centre is inside overlaps the truth
    got = atss_match(ious, truths, anchors, levels, **options)
    expected = atss(ious.tolist(), truths.tolist(), anchors.tolist(), levels, **options)
    expect_equal(got, expected, "every truth, level and candidate, one by one")


# --- thresholds and claims --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows, fg, bg, expected, law", [
    ([[0.9, 0.5, 0.45, 0.4, 0.39, 0]], 0.5, 0.4, [0, 0, -2, -2, -1, -1], "from 0.5 on its truth, from 0.4 on -2"),
    ([[0.1, 0.6], [0.7, 0.3]], 0.5, 0.4, [1, 0], "its own truth is the row with the highest IoU"),
    ([[0.2, 0.2], [0.7, 0.7], [0.7, 0.7]], 0.5, 0.4, [1, 1], "the lowest index among truths of equal IoU"),
    ([[0.75, 0.25, 0.125]], 0.75, 0.25, [0, -2, -1], "a value on a threshold belongs above it"),
    ([[0.3, 0.1, 0], [0, 0.45, 0.42]], 0.5, 0.4, [-1, -2, -2], "without claims the thresholds alone decide"),
])  # fmt: skip
def test_an_anchor_is_foreground_between_or_background(rows, fg, bg, expected, law):
    got = match_anchors(matrix(*rows), fg_iou_thresh=fg, bg_iou_thresh=bg, allow_low_quality_matches=False)
    expect_equal(got, expected, law)


@pytest.mark.parametrize("rows, expected, law", [
    ([[0.3, 0.1, 0, 0], [0, 0, 0.45, 0.42]], [0, -1, 1, -2], "a truth claims its best anchor, background or between"),
    ([[0.2, 0.3, 0.1, 0.3]], [-1, 0, -1, 0], "all anchors that tie for the best are claimed"),
    ([[0.3 - 1e-9, 0.3]], [-1, 0], "only exact ties: 1e-9 less is less"),
    ([[0, 1e-9]], [-1, 0], "any overlap above 0 may be the best that there is"),
    ([[0, 0, 0], [0, 0.3, 0]], [-1, 1, -1], "a truth that overlaps no anchor claims nothing"),
    ([[0.9, 0.8], [0, 0.45]], [0, 1], "anchor 1 fits truth 0 better, but truth 1 claims it"),
    ([[0.35, 0.1], [0.3, 0.2]], [0, -1], "both claim anchor 0, and the higher IoU wins, not the last claim"),
    ([[0.1, 0.3], [0.1, 0.3]], [-1, 0], "of equal claims the lower index wins"),
])  # fmt: skip
def test_every_truth_claims_its_best_anchors(rows, expected, law):
    expect_equal(match_anchors(matrix(*rows)), expected, law)


@given(eighths, thresholds, st.booleans())
def test_matching_agrees_with_the_definition(ious, limits, allow):
    images = torch.stack([ious, ious.flip(0), ious.flip(1)])
    got = match_anchors(images, bg_iou_thresh=limits[0], fg_iou_thresh=limits[1], allow_low_quality_matches=allow)
    expect_equal(got, [match(image, *limits, allow).tolist() for image in images.tolist()], "anchor by anchor")


@pytest.mark.parametrize("shape", [(1, 1000), (1000, 7), (30, 1000)])
def test_a_thousand_anchors_or_truths(shape):
    ious = torch.rand(shape, generator=rng()) ** 4
    expect_equal(match_anchors(match_quality_matrix=ious), match(ious.tolist()), "every anchor by the rules")


# --- ATSS -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ious, centers, levels, top_k, expected, law", [
    ([[0.3]], [(19.5, 9.5)], [1], 9, [0], "a single candidate is its own threshold, and passes"),
    ([[0.5] * 5], [(0, 5), (20, 5), (10, 0), (10, 10), (10, 5)], [5], 9, [-1] * 4 + [0], "the border is outside"),
    ([[0.8, 0.2]], [(18, 5), (10, 9)], [2], 1, [-1, 0], "candidates are the nearest centres, not the highest IoUs"),
    # from (10, 5) to (14.5, 5) it is 4.5; to (13, 8) 3·√2 = 4.24, to (13.5, 8.5) 3.5·√2 = 4.95
    ([[0.5, 0.5]], [(13, 8), (14.5, 5)], [2], 1, [0, -1], "Euclidean distance, not |dx| + |dy|"),
    ([[0.5, 0.5]], [(13.5, 8.5), (14.5, 5)], [2], 1, [-1, 0], "Euclidean distance, not max(|dx|, |dy|)"),
    ([[0.1, 0.2, 0.3, 0.4]], [(10, 9), (14, 5), (6, 5), (10, 1)], [4], 1, [0, -1, -1, -1], "the first among equals"),
    # levels are anchors 0, 1-2 and 3; the nearest of each is a candidate
    ([[0.5] * 4], [(10, 5), (11, 5), (13, 5), (12, 5)], [1, 2, 1], 1, [0, 0, -1, 0], "level 2 begins at 1 + 2"),
    # mean 0.307; the standard deviation of a sample is 0.200, that of a population 0.164: 0.50 would pass
    ([[0.5, 0.32, 0.1]], [(10, 5), (11, 5), (12, 5)], [3], 9, [-1] * 3, "the squares are divided by C - 1"),
    # mean 0.333, standard deviation 0.493; without the 0 it would be 0.5 and 0.566, and 0.9 would not pass
    ([[0.9, 0.1, 0]], [(10, 5), (11, 5), (30, 5)], [3], 9, [0, -1, -1], "a candidate of IoU 0 counts in the threshold"),
    # level 0: the nearest are 0.6 and 0.2, and 0.9 is no candidate. Mean 0.4, deviation sqrt(0.26 / 3) = 0.294
    ([[0.6, 0.2, 0.9, 0.1, 0.7]], [(10, 5), (12, 5), (18, 5), (8, 5), (10, 6)], [3, 2], 2, [-1, -1, -1, -1, 0],
     "top_k candidates of each level, one threshold for all of them"),
    ([[0.2, 0.2], [0.25, 0.25], [0.25, 0.25]], [(10, 5), (11, 5)], [1, 1], 1, [1, 1], "the highest IoU wins"),
])  # fmt: skip
def test_atss_by_hand(ious, centers, levels, top_k, expected, law):
    got = atss_match(matrix(*ious), matrix(*[TRUTH] * len(ious)), points(*centers), levels, top_k=top_k)
    expect_equal(got, expected, law)


@given(st.data(), st.sampled_from(UNITS), st.sampled_from([1, 2, 4, 9, 40]), seeds())
def test_atss_agrees_with_the_definition(data, unit, top_k, seed):
    truths, anchors = data.draw(boxes(1, 3, [unit]), label="truths"), data.draw(boxes(1, 20, [unit]), label="anchors")
    ends = data.draw(st.lists(st.integers(0, len(anchors)), max_size=4).map(sorted), label="where levels end")
    levels = [end - start for start, end in pairwise([0, *ends, len(anchors)])]
    expect_atss(truths, anchors, levels, seed, top_k=top_k)


@pytest.mark.parametrize("options", [{}, {"top_k": 1}, {"top_k": 40}], ids=["nine by default", "1", "40"])
def test_atss_on_a_real_grid(options):
    cells = torch.cartesian_prod(torch.arange(40), torch.arange(25)) * 8 + 4  # many at equal distances
    anchors = torch.cat([cells - 8, cells + 8], dim=1).double()
    corners = torch.randint(0, 320, (10, 2, 2), generator=rng(), dtype=torch.float64).sort(dim=1).values
    expect_atss(corners.reshape(10, 4), torch.cat([anchors, 2 * anchors[:7]]), [1000, 7], seed=0, **options)


def test_the_unit_of_length_does_not_matter():
    def matched(truths, anchors):
        ious = matrix([0.9, 0.1, 0.1], [0.1, 0.1, 0.8])
        return atss_match(match_quality_matrix=ious, gt_boxes=truths, anchors=anchors, num_anchors_per_level=[3])

    unit_of_length_does_not_matter(matched, matrix(TRUTH, (4, 4, 9, 9)), points((10, 5), (19, 9), (5, 8)))


# --- promises of all katas --------------------------------------------------------------------------------------------


def test_without_truths_every_anchor_is_background():
    anchors = points((10, 5), (11, 5), (12, 5))
    got = [match_anchors(torch.zeros(2, 0, 3))[1], atss_match(torch.zeros(0, 3).double(), anchors[:0], anchors, [2, 1])]
    expect_equal(got, 2 * [torch.tensor([-1, -1, -1])], "no truths: every anchor is background")
    got = [match_anchors(torch.zeros(3, 0)), atss_match(torch.zeros(3, 0).double(), anchors, anchors[:0], [0, 0])]
    expect_equal(got, 2 * [torch.tensor([], dtype=torch.int64)], "no anchors: no matches")


@pytest.mark.parametrize("count", [0, 1])
@pytest.mark.parametrize("name, call", [
    ("bg_iou_thresh", lambda ious, *_: match_anchors(ious, fg_iou_thresh=0.4, bg_iou_thresh=0.5)),
    ("num_anchors_per_level", lambda *given: atss_match(*given, [1, 2])),
    ("num_anchors_per_level", lambda *given: atss_match(*given, [1, 0])),
    ("top_k", lambda *given: atss_match(*given, [1, 1], top_k=0)),
    ("top_k", lambda *given: atss_match(*given, [1, 1], top_k=-1)),
])  # fmt: skip
def test_what_cannot_be_is_refused_by_name(name, call, count):
    ious, truths = matrix([0.5, 0.5])[:count], matrix(TRUTH)[:count]
    expect_refused(name, lambda: call(ious, truths, points((10, 5), (11, 5))))


@pytest.mark.parametrize("law", STANDING_LAWS)
def test_standing_laws(law):
    ious, truths = matrix([0.9, 0.45, 0.2], [0.0, 0.3, 0.1]), matrix(TRUTH, (5, 5, 9, 9))
    for count in (2, 0):
        law(match_anchors, ious[:count])
        law(atss_match, ious[:count], truths[:count], points((10, 5), (7, 7), (8, 6)), [2, 1], top_k=1)
