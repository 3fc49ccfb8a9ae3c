"""matching: which truth every anchor is responsible for, by IoU thresholds with claims, or by ATSS.

Rows of the matrix are truths, columns anchors. -1 is background, -2 "do not count". Settled: thresholds include their own
value; ties go to the lower index; a truth claims all its best anchors, unless it overlaps none; a claimed anchor goes to
the claiming truth. The oracles are loops on Python numbers. IoUs come in eighths, so that ties are exact.
"""

import statistics

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchvision.models.detection._utils import Matcher

from katas.detection.matching import atss_match, match_anchors
from katas.lab.expect import expect_equal
from katas.lab.laws import STANDING_LAWS
from katas.lab.strategies import boxes, seeds, tensors

eighths = tensors(st.integers(0, 4), st.integers(0, 6), low=0, high=8).map(lambda matrix: matrix.round() / 8)
thresholds = st.lists(st.integers(1, 8).map(lambda n: n / 8), min_size=2, max_size=2).map(sorted)


def matrix(*rows):
    return torch.tensor(rows, dtype=torch.float64)


def match_by_loops(ious, num_anchors, bg, fg, allow_low_quality_matches):
    matched = [-1] * num_anchors
    for n in range(num_anchors if ious else 0):
        column = [row[n] for row in ious]
        claims = [m for m, row in enumerate(ious) if row[n] == max(row) > 0]
        if allow_low_quality_matches and claims:
            matched[n] = max(claims, key=lambda m: ious[m][n])  # the first of the largest
        elif max(column) >= bg:
            matched[n] = column.index(max(column)) if max(column) >= fg else -2
    return matched


def atss_by_loops(ious, truths, anchors, num_anchors_per_level, top_k):
    centers = [((x1 + x2) / 2, (y1 + y2) / 2) for x1, y1, x2, y2 in anchors]
    best, matched = [0.0] * len(anchors), [-1] * len(anchors)
    for m, (x1, y1, x2, y2) in enumerate(truths):
        candidates, start = [], 0
        for count in num_anchors_per_level:
            level, start = range(start, start + count), start + count
            distance = {n: (centers[n][0] - (x1 + x2) / 2) ** 2 + (centers[n][1] - (y1 + y2) / 2) ** 2 for n in level}
            candidates += sorted(level, key=distance.get)[:top_k]
        found = [ious[m][n] for n in candidates]
        threshold = statistics.mean(found) + (statistics.stdev(found) if len(found) > 1 else 0) if found else 0
        for n in candidates:
            inside = x1 < centers[n][0] < x2 and y1 < centers[n][1] < y2
            if inside and ious[m][n] >= threshold and (matched[n] < 0 or ious[m][n] > best[n]):
                best[n], matched[n] = ious[m][n], m
    return matched


# --- thresholds -----------------------------------------------------------------------------------------------------


def test_an_anchor_is_foreground_between_or_background():
    ious = matrix([0.9, 0.5, 0.45, 0.4, 0.39, 0.0], [0.1, 0.6, 0.30, 0.2, 0.10, 0.0])
    got = match_anchors(ious, allow_low_quality_matches=False)
    expect_equal(got, [0, 1, -2, -2, -1, -1], "≥ 0.5 its own truth, from 0.4 on -2, below that -1")


def test_a_value_on_a_threshold_belongs_above_it():
    ious = matrix([0.75, 0.25, 0.125])
    got = match_anchors(ious, fg_iou_thresh=0.75, bg_iou_thresh=0.25, allow_low_quality_matches=False)
    expect_equal(got, [0, -2, -1], "an IoU of exactly fg_iou_thresh is foreground, of exactly bg_iou_thresh is -2")


def test_equal_thresholds_leave_nothing_between():
    got = match_anchors(matrix([1.0, 0.5, 0.49]), fg_iou_thresh=0.5, bg_iou_thresh=0.5)
    expect_equal(got, [0, 0, -1], "with one threshold an anchor is foreground or background")


def test_an_anchor_that_fits_two_truths_equally_goes_to_the_first():
    got = match_anchors(matrix([0.2, 0.2], [0.7, 0.7], [0.7, 0.7]), allow_low_quality_matches=False)
    expect_equal(got, [1, 1], "the lowest index among truths of equal IoU")


# --- claims ---------------------------------------------------------------------------------------------------------


def test_a_truth_claims_its_best_anchor_however_low():
    ious = matrix([0.30, 0.1, 0.0, 0.0], [0.0, 0.0, 0.45, 0.42])
    expect_equal(match_anchors(ious), [0, -1, 1, -2], "0.30 is background and 0.45 between, but best for their truths")
    without = match_anchors(ious, allow_low_quality_matches=False)
    expect_equal(without, [-1, -1, -2, -2], "without low-quality matches the thresholds alone decide")


def test_all_anchors_that_tie_for_the_best_are_claimed():
    expect_equal(match_anchors(matrix([0.2, 0.3, 0.1, 0.3])), [-1, 0, -1, 0], "both anchors with 0.3 are its best")
    expect_equal(match_anchors(matrix([0.009, 0.01])), [-1, 0], "only exact ties, and however low the best is")
    expect_equal(match_anchors(matrix([0.0, 1e-9])), [-1, 0], "any overlap above 0 may be the best there is")
    expect_equal(match_anchors(matrix([0.3 - 1e-9, 0.3])), [-1, 0], "only exact ties: 1e-9 less is less")


def test_a_truth_that_overlaps_nothing_claims_nothing():
    ious = matrix([0.0, 0.0, 0.0], [0.0, 0.3, 0.0])
    expect_equal(match_anchors(ious), [-1, 1, -1], "IoU 0 is no overlap: such a truth must not make anchors foreground")


def test_a_claimed_anchor_goes_to_the_truth_that_claims_it():
    ious = matrix([0.9, 0.8], [0.0, 0.45])
    expect_equal(match_anchors(ious), [0, 1], "anchor 1 fits truth 0 better, but it is all that truth 1 has")


def test_of_two_claims_on_an_anchor_the_higher_wins():
    expect_equal(
        match_anchors(matrix([0.3, 0.1], [0.35, 0.2])), [1, -1], "both want anchor 0; truth 1 overlaps it more"
    )
    expect_equal(match_anchors(matrix([0.1, 0.3], [0.1, 0.3])), [-1, 0], "equal claims: the lower index")


@given(eighths, thresholds)
def test_a_truth_is_left_without_anchor_only_if_it_is_outbid(ious, limits):
    matched = match_anchors(ious, bg_iou_thresh=limits[0], fg_iou_thresh=limits[1]).tolist()
    for m, row in enumerate(ious.tolist()):
        best = [n for n, iou in enumerate(row) if iou == max(row) > 0]
        if best and m not in matched:
            outbid = all(matched[n] >= 0 and ious[matched[n], n] >= max(row) for n in best)
            assert outbid, f"truth {m} has no anchor, though no claim on its best anchors is higher: {matched}"


# --- agreement and edges --------------------------------------------------------------------------------------------


@given(eighths, thresholds, st.booleans())
def test_matching_agrees_with_loops(ious, limits, allow):
    kwargs = dict(bg_iou_thresh=limits[0], fg_iou_thresh=limits[1], allow_low_quality_matches=allow)
    expected = torch.tensor(match_by_loops(ious.tolist(), ious.shape[1], *limits, allow), dtype=torch.int64)
    expect_equal(match_anchors(ious, **kwargs), expected, "every anchor by the rules, one by one")


@given(eighths.filter(lambda ious: ious.numel() > 0), thresholds)
def test_without_claims_it_is_torchvisions_matcher(ious, limits):
    expected = Matcher(limits[1], limits[0], allow_low_quality_matches=False)(ious)
    got = match_anchors(ious, fg_iou_thresh=limits[1], bg_iou_thresh=limits[0], allow_low_quality_matches=False)
    expect_equal(got, expected, "as in torchvision")


def test_without_truths_every_anchor_is_background():
    expect_equal(match_anchors(torch.zeros(0, 3)), torch.tensor([-1, -1, -1]), "an image without truths is background")
    expect_equal(match_anchors(torch.zeros(2, 0)), torch.zeros(0, dtype=torch.int64), "no anchors, no matches")


def test_crossed_thresholds_are_refused():
    for ious in (matrix([0.5]), torch.zeros(0, 3)):
        with pytest.raises(ValueError, match="bg_iou_thresh"):
            match_anchors(ious, fg_iou_thresh=0.4, bg_iou_thresh=0.5)


# --- ATSS -----------------------------------------------------------------------------------------------------------

TRUTH = matrix([0, 0, 20, 10])  # its centre is (10, 5)


def points(*centers):
    """Anchors of 2 x 2 around the centres: ATSS looks at where they are, and takes IoUs from the matrix."""
    return torch.tensor([[x - 1, y - 1, x + 1, y + 1] for x, y in centers], dtype=torch.float64).reshape(-1, 4)


def test_candidates_come_from_every_level_and_pass_mean_plus_deviation():
    # Level 0: the two nearest have 0.6 and 0.2; the third, 0.9, is no candidate. Level 1: 0.1 and 0.7.
    # Mean 0.4, sample standard deviation sqrt(0.26 / 3) = 0.294: only 0.7 reaches 0.694.
    anchors = points((10, 5), (12, 5), (18, 5), (8, 5), (10, 6))
    got = atss_match(matrix([0.6, 0.2, 0.9, 0.1, 0.7]), TRUTH, anchors, [3, 2], top_k=2)
    expect_equal(got, [-1, -1, -1, -1, 0], "top_k candidates of each level, one threshold for all of them")


def test_every_level_begins_where_all_those_before_it_end():
    # Levels are anchors 0, 1-2 and 3. The nearest of each is a candidate: 0, 1 and 3, and all have the mean IoU.
    got = atss_match(matrix([0.5] * 4), TRUTH, points((10, 5), (11, 5), (13, 5), (12, 5)), [1, 2, 1], top_k=1)
    expect_equal(got, [0, 0, -1, 0], "the third level begins at anchor 1 + 2 = 3")


def test_the_deviation_is_that_of_a_sample():
    # 0.50, 0.32, 0.10: mean 0.307, sample deviation 0.200 (a population's would be 0.164 and let 0.50 pass).
    got = atss_match(matrix([0.5, 0.32, 0.1]), TRUTH, points((10, 5), (11, 5), (12, 5)), [3])
    expect_equal(got, [-1, -1, -1], "the squared deviations are divided by C - 1")


def test_centres_must_lie_strictly_inside_the_truth():
    for center in ((0, 5), (20, 5), (10, 0), (10, 10)):
        got = atss_match(matrix([0.3]), TRUTH, points(center), [1])
        expect_equal(got, [-1], f"a centre on the border, here {center}, is not inside")
    expect_equal(atss_match(matrix([0.3]), TRUTH, points((19.5, 9.5)), [1]), [0], "one candidate is its own threshold")


def test_the_nearest_centres_are_candidates_and_the_first_of_equals():
    anchors = points((10, 9), (14, 5), (6, 5), (10, 1))  # all four at distance 4
    got = atss_match(matrix([0.1, 0.2, 0.3, 0.4]), TRUTH, anchors, [4], top_k=1)
    expect_equal(got, [0, -1, -1, -1], "of anchors at equal distance the lower index is the candidate")
    got = atss_match(matrix([0.8, 0.2]), TRUTH, points((18, 5), (10, 9)), [2], top_k=1)
    expect_equal(got, [-1, 0], "candidates are the nearest centres, not the highest IoUs")


@pytest.mark.parametrize("center, expected", [((13, 8), [0, -1]), ((13.5, 8.5), [-1, 0])])
def test_near_means_euclidean_distance(center, expected):
    # From (10, 5) to (14.5, 5) it is 4.5; to (13, 8) 3·√2 = 4.24, to (13.5, 8.5) 3.5·√2 = 4.95.
    got = atss_match(matrix([0.5, 0.5]), TRUTH, points(center, (14.5, 5)), [2], top_k=1)
    expect_equal(got, expected, "the nearest centre is the one at the smallest straight-line distance")


def test_an_anchor_claimed_by_two_truths_goes_to_the_higher_iou():
    truths, anchors = TRUTH.repeat(3, 1), points((10, 5), (11, 5))
    got = atss_match(matrix([0.2, 0.4], [0.3, 0.4], [0.3, 0.1]), truths, anchors, [1, 1], top_k=1)
    expect_equal(got, [-1, -1], "of two candidates with different IoUs neither reaches mean + deviation")
    got = atss_match(matrix([0.2, 0.2], [0.25, 0.25], [0.25, 0.25]), truths, anchors, [1, 1], top_k=1)
    expect_equal(got, [1, 1], "the highest IoU wins, the lowest index among equals")


ends = st.tuples(st.integers(0, 12), st.integers(0, 12))


@given(boxes(max_boxes=3, units=[0.5]), boxes(max_boxes=12, units=[0.5]), ends, st.sampled_from([1, 2, 4, 9]), seeds())
def test_atss_agrees_with_loops(truths, anchors, ends, top_k, seed):
    ious = torch.rand(len(truths), len(anchors), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    first, second = sorted(min(end, len(anchors)) for end in ends)
    levels = [first, second - first, len(anchors) - second]
    expected = atss_by_loops(ious.tolist(), truths.tolist(), anchors.tolist(), levels, top_k)
    got = atss_match(ious, truths, anchors, levels, top_k=top_k)
    expect_equal(got, torch.tensor(expected, dtype=torch.int64), "every truth, level and candidate, one by one")


def test_nine_candidates_by_default():
    ious = matrix([0.1] * 8 + [0.5] + [0.9])
    got = atss_match(ious, TRUTH, points(*[(10, 5)] * 10), [10])
    expect_equal(got, [-1] * 8 + [0, -1], "top_k is 9: the tenth anchor of the level is no candidate")


BAD_LEVELS = [("num_anchors_per_level", levels, 9) for levels in ([1, 2], [1, 0], [])]


@pytest.mark.parametrize("num_truths", [0, 1])
@pytest.mark.parametrize("name, levels, top_k", [*BAD_LEVELS, ("top_k", [1, 1], 0), ("top_k", [1, 1], -1)])
def test_bad_atss_arguments_are_refused(name, levels, top_k, num_truths):
    ious, truths = matrix([0.5, 0.5])[:num_truths], TRUTH[:num_truths]
    with pytest.raises(ValueError, match=name):
        atss_match(ious, truths, points((10, 5), (11, 5)), levels, top_k=top_k)


@pytest.mark.parametrize("law", STANDING_LAWS[:5])
def test_standing_laws(law):
    ious, truths = matrix([0.9, 0.45, 0.2], [0.0, 0.3, 0.1]), matrix([0, 0, 20, 10], [5, 5, 9, 9])
    law(match_anchors, ious)
    law(atss_match, ious, truths, points((10, 5), (7, 7), (8, 6)), [2, 1], top_k=1)
    law(match_anchors, ious[:0])
    law(atss_match, ious[:0], truths[:0], points((10, 5), (7, 7), (8, 6)), [2, 1])
