"""What the laboratory gives to a learner: scenes, Pascal VOC, the budget."""

import urllib.error

import pytest
import torch
from PIL import Image

from katas.lab.budget import Cost, budget, flops_of
from katas.lab.scenes import digit_scenes
from katas.lab.voc import CLASSES, Voc, VocDataError

# --- digit scenes ---------------------------------------------------------------------------------------------------


def test_scenes_are_images_with_boxes_and_labels():
    scenes = digit_scenes(20, split="train", seed=3)
    assert scenes.images.shape == (20, 3, 96, 96) and scenes.images.dtype == torch.uint8
    for boxes, labels in zip(scenes.boxes, scenes.labels, strict=True):
        assert boxes.shape == (len(labels), 4) and labels.dtype == torch.int64
        assert (boxes >= 0).all() and (boxes <= 96).all() and ((labels >= 0) & (labels <= 9)).all()
        sides = boxes[:, 2:] - boxes[:, :2]
        assert (sides > 0).all() and (sides <= 33).all()


def test_scenes_repeat_by_seed_and_differ_between_seeds_and_splits():
    first, again = digit_scenes(4, split="train", seed=3), digit_scenes(4, split="train", seed=3)
    assert torch.equal(first.images, again.images) and all(map(torch.equal, first.boxes, again.boxes))
    assert not torch.equal(first.images, digit_scenes(4, split="train", seed=4).images)
    assert not torch.equal(first.images, digit_scenes(4, split="test", seed=3).images)


def test_an_unknown_split_is_refused():
    with pytest.raises(ValueError, match="split"):
        digit_scenes(1, split="validation")


# --- Pascal VOC -----------------------------------------------------------------------------------------------------

ANNOTATION = """<annotation><size><width>60</width><height>40</height><depth>3</depth></size>
<object><name>dog</name><difficult>{difficult}</difficult><bndbox><xmin>1</xmin><ymin>3</ymin><xmax>{xmax}</xmax>
<ymax>40</ymax></bndbox></object></annotation>"""


@pytest.fixture
def voc_dir(tmp_path):
    root = tmp_path / "VOCdevkit" / "VOC2007"
    for folder in ("Annotations", "ImageSets/Main", "JPEGImages"):
        (root / folder).mkdir(parents=True)
    (root / "ImageSets/Main/train.txt").write_text("000001\n000002\n")
    for name, difficult in (("000001", 0), ("000002", 1)):
        Image.new("RGB", (60, 40), (10, 20, 30)).save(root / "JPEGImages" / f"{name}.jpg")
        (root / "Annotations" / f"{name}.xml").write_text(ANNOTATION.format(difficult=difficult, xmax=2))
    return tmp_path


def test_voc_boxes_are_continuous_coordinates_from_0(voc_dir):
    data = Voc(voc_dir, "2007", "train")
    first, second = data[0], data[1]
    assert first.image.shape == (3, 40, 60)
    assert first.boxes.tolist() == [[0.0, 2.0, 2.0, 40.0]]  # columns 1 and 2, rows 3 to 40, counted from 1
    assert [CLASSES[label] for label in first.labels] == ["dog"]
    assert not first.difficult.any() and second.difficult.all()


def test_a_missing_folder_says_how_to_get_the_data(tmp_path):
    with pytest.raises(VocDataError, match="does not exist.*--data DIR, or fetch it with --download"):
        Voc(tmp_path / "nowhere", "2007", "train")
    with pytest.raises(VocDataError, match="expected .*VOC2007 with Annotations"):
        Voc(tmp_path, "2007", "train")


def test_an_empty_list_of_images_is_named(voc_dir):
    (voc_dir / "VOCdevkit/VOC2007/ImageSets/Main/train.txt").write_text("")
    with pytest.raises(VocDataError, match="train.*is empty"):
        Voc(voc_dir, "2007", "train")


@pytest.mark.parametrize(
    "file, content",
    [
        ("JPEGImages/000001.jpg", b"no picture"),
        ("JPEGImages/000001.jpg", b""),
        ("Annotations/000001.xml", b"<annotation><object>"),
        ("Annotations/000001.xml", b"<annotation></annotation>"),
        ("Annotations/000001.xml", ANNOTATION.format(difficult=0, xmax=61).encode()),
        ("Annotations/000001.xml", ANNOTATION.format(difficult=0, xmax=9).replace("dog", "wolf").encode()),
    ],
)
def test_a_damaged_file_is_named(voc_dir, file, content):
    (voc_dir / "VOCdevkit/VOC2007" / file).write_bytes(content)
    with pytest.raises(VocDataError, match="000001.*missing or damaged"):
        Voc(voc_dir, "2007", "train")[0]


def test_a_deleted_file_is_named(voc_dir):
    (voc_dir / "VOCdevkit/VOC2007/JPEGImages/000002.jpg").unlink()
    with pytest.raises(VocDataError, match="000002"):
        Voc(voc_dir, "2007", "train")[1]


def test_download_without_a_network_says_so(tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise urllib.error.URLError("Network is unreachable")

    monkeypatch.setattr("urllib.request.urlopen", refuse)
    with pytest.raises(VocDataError, match="could not be fetched.*Network is unreachable"):
        Voc(tmp_path, "2007", "train", download=True)


# --- the budget -----------------------------------------------------------------------------------------------------


def test_flops_of_a_matrix_product_are_two_for_each_multiply_add():
    a, b = torch.ones(3, 5), torch.ones(5, 7)
    assert flops_of(lambda: a @ b) == 2 * 3 * 5 * 7


def test_the_projected_time_is_the_larger_of_operations_and_wall_time_on_a_gpu():
    operations = 4.4e12 * 0.35 * 100  # a hundred seconds of a GTX 1060
    assert Cost(10.0, operations, None, on_gpu=False).projected_seconds == pytest.approx(100)
    assert Cost(250.0, operations, 2**30, on_gpu=True).projected_seconds == pytest.approx(250)
    assert Cost(250.0, operations, None, on_gpu=False).projected_seconds == pytest.approx(100)  # a slow CPU says nothing


@pytest.mark.parametrize(
    "cost, told",
    [
        (Cost(1.0, 4.4e12 * 0.35 * 301, None, False), "more than 5.0 min"),
        (Cost(1.0, 1.0, int(5.6 * 2**30), True), "more than 5.5 GiB"),
    ],
)
def test_a_cost_over_the_budget_is_refused_with_its_figures(cost, told):
    with pytest.raises(AssertionError, match=told):
        cost.check()


def test_the_budget_tells_what_a_block_cost(capsys):
    with budget("cpu"):
        torch.ones(10, 10) @ torch.ones(10, 10)
    assert "projected on a GTX 1060" in capsys.readouterr().out
