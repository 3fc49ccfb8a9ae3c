"""The given instruments of the full checks: digit scenes, Pascal VOC and the pictures."""

import urllib.error
from typing import NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from katas.detection.given import scenes, voc
from katas.detection.given.scenes import digit_scenes
from katas.lab import painter
from katas.lab.checks.plots import detections_sheet, learning_curves
from katas.lab.data import DataError, DataMissing

# --- digit scenes ---


def test_scenes_are_what_they_promise():
    data = digit_scenes(40, split="train", seed=3)
    assert data.images.shape == (40, 3, 96, 96) and data.images.dtype == torch.uint8
    assert len(data.boxes) == len(data.labels) == 40
    boxes, labels = torch.cat(data.boxes), torch.cat(data.labels)
    assert boxes.dtype == torch.float32 and labels.dtype == torch.int64 and set(labels.tolist()) == set(range(10))
    sides = boxes[:, 2:] - boxes[:, :2]
    assert (sides[:, 1] >= 12).all() and (sides <= 32).all() and boxes.min() >= 0 and boxes.max() <= 96
    assert [tuple(b.shape) for b in data.boxes] == [(len(labels), 4) for labels in data.labels]


def test_scenes_follow_from_their_seed_alone():
    torch.manual_seed(0)
    first, again = digit_scenes(5, split="train", seed=1), digit_scenes(8, split="train", seed=1)
    assert torch.equal(first.images, again.images[:5]), "more scenes begin with the same ones"
    for other in (digit_scenes(5, split="train", seed=2), digit_scenes(5, split="test", seed=1)):
        assert not torch.equal(first.images, other.images)


def test_some_scenes_are_empty_and_their_boxes_keep_their_shape():
    counts = [len(boxes) for boxes in digit_scenes(300, split="train").boxes]
    assert 0 < counts.count(0) < 30 and max(counts) == scenes.MAX_DIGITS
    empty = digit_scenes(300, split="train").boxes[counts.index(0)]
    assert empty.shape == (0, 4)


def test_train_and_test_share_no_digit():
    train, test = ([glyph.tobytes() for glyph, _ in painter.glyphs(split)] for split in ("train", "test"))
    assert len(train) + len(test) == 1765 and len(test) == 444, "1,797 digits, less 32 that are mere bars"
    assert len(set(train) & set(test)) == 0, "no digit looks exactly alike in both"


def test_boxes_are_tight_around_the_paint(monkeypatch):
    """On a black background with white ink and no clutter, the paint fills the boxes to their borders."""
    monkeypatch.setattr(painter, "background", lambda rng, photographs, size: np.zeros((size, size, 3), np.float32))
    monkeypatch.setattr(painter, "clutter", lambda rng, ink: np.zeros((1, 1), np.float32))
    data = digit_scenes(30, split="test")
    for image, boxes in zip(data.images, data.boxes, strict=True):
        painted = image.amax(dim=0) > 0
        for x1, y1, x2, y2 in boxes.int().tolist():
            inside = painted[y1:y2, x1:x2]
            assert inside[0].any() and inside[-1].any() and inside[:, 0].any() and inside[:, -1].any()
            painted[y1:y2, x1:x2] = False
        assert not painted.any(), "nothing is painted outside the boxes"


def test_an_unknown_split_is_refused():
    with pytest.raises(ValueError, match="split.*'val'"):
        digit_scenes(1, split="val")


# --- Pascal VOC ---

XML = """<annotation><size><width>20</width><height>10</height><depth>3</depth></size>{objects}</annotation>"""
OBJECT = (
    "<object><name>{name}</name><difficult>{difficult}</difficult><bndbox><xmin>{box[0]}</xmin>"
    "<ymin>{box[1]}</ymin><xmax>{box[2]}</xmax><ymax>{box[3]}</ymax></bndbox></object>"
)


@pytest.fixture
def voc_dir(tmp_path):
    root = tmp_path / "VOCdevkit" / "VOC2007"
    for folder in ("Annotations", "ImageSets/Main", "JPEGImages"):
        (root / folder).mkdir(parents=True)
    (root / "ImageSets/Main/test.txt").write_text("one\ntwo\n")
    two_objects = OBJECT.format(name="cat", difficult=0, box=(1, 2, 20, 10)) + OBJECT.format(
        name="person", difficult=1, box=(3, 4, 5.5, 6)
    )
    for name, objects in (("one", two_objects), ("two", "")):
        Image.new("RGB", (20, 10), (255, 0, 0)).save(root / f"JPEGImages/{name}.jpg")
        (root / f"Annotations/{name}.xml").write_text(XML.format(objects=objects))
    return tmp_path


def test_voc_boxes_are_continuous_coordinates(voc_dir):
    dataset = voc.Voc(voc_dir, "2007", "test")
    assert len(dataset) == 2
    image, boxes, labels, difficult = dataset[0]
    assert image.shape == (3, 10, 20) and image.dtype == torch.uint8
    assert boxes.tolist() == [[0, 1, 20, 10], [2, 3, 5.5, 6]], "the box over all 20 columns is from 0 to 20"
    assert [voc.CLASSES[label] for label in labels] == ["cat", "person"] and difficult.tolist() == [
        False,
        True,
    ]
    assert dataset[1].boxes.shape == (0, 4) and dataset[1].difficult.dtype == torch.bool


def test_a_missing_voc_folder_says_what_to_do(tmp_path):
    for folder in (tmp_path / "nowhere", tmp_path):
        with pytest.raises(DataMissing, match=r"VOC2007 test is missing.*VOCdevkit.*--data.*--download"):
            voc.Voc(folder, "2007", "test")


def test_an_empty_or_incomplete_voc_says_so(voc_dir):
    with pytest.raises(DataError, match=r"incomplete.*trainval\.txt.*--download") as raised:
        voc.Voc(voc_dir, "2007", "trainval")
    assert not isinstance(raised.value, DataMissing), "half a data set is no reason to skip"
    (voc_dir / "VOCdevkit/VOC2007/ImageSets/Main/test.txt").write_text("")
    with pytest.raises(DataError, match="empty"):
        voc.Voc(voc_dir, "2007", "test")


def annotated(objects):
    return lambda root: (root / "Annotations/one.xml").write_text(XML.format(objects=objects))


@pytest.mark.parametrize("damage, told", [
    (lambda root: (root / "JPEGImages/one.jpg").write_bytes(b"no picture"), r"one\.jpg.*cannot identify image"),
    (lambda root: (root / "JPEGImages/one.jpg").unlink(), r"one\.jpg.*No such file"),
    (lambda root: Image.fromarray(np.full((10, 20), 9000, np.uint16)).save(root / "JPEGImages/one.jpg", "PNG"),
     r"one\.jpg.*more than 8 bits"),
    (lambda root: (root / "Annotations/one.xml").write_text("<annotation>"), r"one\.xml.*no element found"),
    (lambda root: (root / "Annotations/one.xml").write_text(""), r"one\.xml.*no element found"),
    (lambda root: (root / "Annotations/one.xml").write_text("<html></html>"), r"one\.xml.*<html>, not"),
    (annotated("<object><name>cat</name></object>"), r"one\.xml.*<object> has no <bndbox>"),
    (annotated("<object><bndbox></bndbox></object>"), r"one\.xml.*<object> has no <name>"),
    (annotated(OBJECT.format(name="cat", difficult=0, box=(1, 1, 21, 5))), r"one\.xml.*cat is not inside"),
    (annotated(OBJECT.format(name="unicorn", difficult=0, box=(1, 1, 2, 2))), r"one\.xml.*class 'unicorn'"),
    (annotated(OBJECT.format(name="cat", difficult="maybe", box=(1, 1, 2, 2))), r"one\.xml.*<difficult> is 'maybe'"),
    (annotated(OBJECT.format(name="cat", difficult=0, box=("one", 1, 2, 2))), r"one\.xml.*'one'"),
])  # fmt: skip
def test_a_damaged_voc_file_is_named(voc_dir, damage, told):
    damage(voc_dir / "VOCdevkit/VOC2007")
    with pytest.raises(DataError, match=f"VOC2007 test: {'.*'}{told}"):
        voc.Voc(voc_dir, "2007", "test")[0]


def test_difficult_may_be_a_word(voc_dir):
    annotated(OBJECT.format(name="cat", difficult="True", box=(1, 1, 2, 2)))(voc_dir / "VOCdevkit/VOC2007")
    assert voc.Voc(voc_dir, "2007", "test")[0].difficult.tolist() == [True]


def test_a_download_without_a_network_says_so(tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise urllib.error.URLError("Network is unreachable")

    monkeypatch.setattr("urllib.request.urlopen", refuse)
    with pytest.raises(DataError, match="could not be fetched.*Network is unreachable") as raised:
        voc.Voc(tmp_path, "2007", "test", download=True)
    assert not isinstance(raised.value, DataMissing), "it was asked for"


# --- pictures ---


class Found(NamedTuple):
    boxes: Tensor
    scores: Tensor
    labels: Tensor


def test_pictures_are_written(tmp_path):
    curves = {"loss": {"a": ([0, 1], [2.0, 1.0]), "b": ([0], [1.0])}, "AP": {"a": ([1], [0.5])}}
    assert learning_curves(tmp_path / "new" / "curves.png", curves).stat().st_size > 1000
    data = digit_scenes(3, split="test")
    found = [
        Found(boxes, torch.full((len(boxes),), 0.9), labels)
        for boxes, labels in zip(data.boxes, data.labels, strict=True)
    ]
    found[0] = Found(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, dtype=torch.int64))
    picture = detections_sheet(
        tmp_path / "sheet.png", data.images, found, list(zip(data.boxes, data.labels, strict=True)), columns=2
    )
    assert Image.open(picture).size[0] > 100
