"""retinanet: backbone, pyramid, head and anchors put together in the right order.

The parts have specs of their own. A planted head, whose answer is known, replaces the trained one.
"""

import pytest
import torch
import torchvision
from torchvision.models._utils import IntermediateLayerGetter
from torchvision.ops import FrozenBatchNorm2d

from katas.detection.given.watched import BOXES, IMAGES, LABELS, NO_LABEL, NOTHING, TRUTHS, Planted, ThreeMaps, TwoMaps
from katas.detection.retinanet import IMAGE_MEAN, IMAGE_STD, ResNetBackbone, RetinaNet
from katas.lab.expect import expect_close, expect_equal, expect_refused
from katas.lab.laws import device_is_followed, global_rng_is_untouched, inputs_are_not_changed
from katas.lab.strategies import rng


def small_retinanet(**options):
    options = dict(strides=(4, 8), anchor_sizes=(4, 8, 16, 32), scales=(1,), aspect_ratios=(1,)) | options
    return RetinaNet(TwoMaps(), [6, 8], 3, out_channels=5, num_convs=1, **options)


def planted(rows=TRUTHS, **options):
    model = small_retinanet(**options)
    model.head = Planted(rows, num_classes=3)
    return model


# --- the backbone -----------------------------------------------------------------------------------------------------


def test_the_backbone_gives_torchvisions_maps():
    oracle = torchvision.models.resnet18(norm_layer=FrozenBatchNorm2d)
    for _, buffer in oracle.named_buffers():  # batch norm that does something
        buffer.copy_(torch.rand(buffer.shape, generator=rng()) + 0.5)
    backbone, images = ResNetBackbone(name="resnet18"), torch.rand(1, 3, 40, 65, generator=rng())
    backbone.load_state_dict({k: v for k, v in oracle.state_dict().items() if not k.startswith("fc.")})
    expected = IntermediateLayerGetter(oracle, {"layer2": "C3", "layer3": "C4", "layer4": "C5"})(images)
    expect_close(backbone(images=images), list(expected.values()), "C3, C4, C5: what layer2, layer3 and layer4 give")
    with torch.device("meta"):
        channels = [list(ResNetBackbone(name).out_channels) for name in ("resnet18", "resnet50")]
    assert channels == [[128, 256, 512], [512, 1024, 2048]], (
        f"channels of the maps of resnet18 and resnet50: {channels}"
    )


def test_pretrained_weights_arrive_batch_norms_included(monkeypatch):
    trained_by_others = torchvision.models.resnet18()
    for buffer in trained_by_others.buffers():
        if buffer.is_floating_point():  # statistics as training leaves them
            buffer.uniform_(0.5, 1.5, generator=rng())
    weights = trained_by_others.state_dict()
    for module in (torch.hub, torchvision.models._api):  # nothing is downloaded
        monkeypatch.setattr(module, "load_state_dict_from_url", lambda *args, **kwargs: dict(weights))
    for key, value in ResNetBackbone("resnet18", weights="DEFAULT").state_dict().items():
        expect_equal(value, weights[key], f"{key} is that of the pretrained model")


@pytest.mark.parametrize("options, frozen_stages", [({}, 2), *(({"frozen_stages": n}, n) for n in (0, 1, 3, 4, 5))])
def test_the_first_stages_and_every_batch_norm_freeze(options, frozen_stages):
    with torch.device("meta"):  # without numbers, so there are none to draw
        backbone = ResNetBackbone(**options)
    norms = [module for module in backbone.modules() if isinstance(module, FrozenBatchNorm2d)]
    assert len(norms) == 20, f"all 20 batch norms are FrozenBatchNorm2d, which cannot be trained; {len(norms)} are"
    stages = ["conv1", "layer1", "layer2", "layer3", "layer4"]
    for name, parameter in backbone.named_parameters():
        trains = stages.index(name.split(".")[0]) >= frozen_stages
        told = f"frozen_stages={frozen_stages}: {name} has requires_grad {not trains}"
        assert parameter.requires_grad == trains, told


# --- the model --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width, rows", [(40, [60, 15, 6, 2]), (16, [24, 6, 2, 1])])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_each_row_of_the_head_has_its_anchor(width, rows, dtype):
    model = small_retinanet()
    model(IMAGES)  # of another size; nothing of it may be kept
    output, anchors = model.to(dtype)(IMAGES[..., :width].to(dtype))
    assert [len(level) for level in anchors] == rows, f"levels {rows}, not {[len(level) for level in anchors]}"
    shapes = [tuple(logits.shape[1:]) for logits in output.cls_logits]
    assert shapes == [(n, 3) for n in rows], f"a row per anchor, a column per class, none for background: {shapes}"
    corner = width // 4 + 3  # place (1, 3)
    expect_close(anchors[0][corner], torch.tensor([12, 4, 16, 8], dtype=dtype), "stride 4: row, then column")
    expect_close(anchors[2][0], torch.tensor([0, 0, 16, 16], dtype=dtype), "P6 has twice the stride of the last map")
    expect_close(anchors[3][0], torch.tensor([0, 0, 32, 32], dtype=dtype), "P7 has twice the stride of P6")


def test_scales_ratios_and_strides_reach_the_anchors():
    _, anchors = small_retinanet(anchor_sizes=None, scales=(2, 1), aspect_ratios=(4, 1))(IMAGES)
    # at stride 4 the size is 16: areas 32² and 16², four times as tall as wide and then square, in the order given
    shapes = torch.tensor([[16.0, 64], [8, 32], [32, 32], [16, 16]])
    for level, stride in zip(anchors, (4, 8, 16, 32), strict=True):
        expect_close(level[:4, 2:] - level[:4, :2], shapes * (stride / 4), f"(width, height) at stride {stride}")


def test_the_defaults_are_those_of_the_paper():
    model = RetinaNet(backbone=ThreeMaps(), in_channels=[1, 1, 1], num_classes=2)
    _, anchors = model(images=torch.rand(1, 3, 40, 64))  # 5 × 8, 3 × 4, 2 × 2, 1 × 1, 1 × 1 places, nine anchors each
    assert [len(level) for level in anchors] == [360, 108, 36, 9, 9], f"strides 8 … 128: {[len(a) for a in anchors]}"
    centres = [float(level[0, 0] + level[0, 2]) for level in anchors]
    expect_close(centres, [8.0, 16, 32, 64, 128], "the first place is half a stride in, at strides 8 … 128")
    width, height = (anchors[1][:9, 2:] - anchors[1][:9, :2]).double().unbind(dim=1)
    areas = [(64 * 2 ** (i / 3)) ** 2 for i in range(3)]
    expect_close(width * height, 3 * areas, "three scales within an octave, from four strides on", rtol=1e-4, atol=0)
    expect_close(height / width, [0.5] * 3 + [1.0] * 3 + [2.0] * 3, "ratios 1/2, 1 and 2", rtol=1e-4, atol=0)
    parts = model.pyramid.p7.out_channels, len(model.head.cls_subnet), float(model.head.cls_logits.bias[0].sigmoid())
    expect_close(parts, (256, 8, 0.01), "256 channels, four convolutions with their ReLUs, prior 0.01")
    head = RetinaNet(ThreeMaps(), [1, 1, 1], 2, out_channels=3, num_convs=2, prior_probability=0.2).head
    parts = len(head.cls_subnet), float(head.cls_logits.bias[0].sigmoid())
    expect_close(parts, (4, 0.2), "num_convs and prior_probability reach the head")


def test_the_backbone_sees_normalised_images():
    model = small_retinanet()
    colors = torch.stack((torch.tensor(IMAGE_MEAN), torch.tensor(IMAGE_MEAN) + torch.tensor(IMAGE_STD)))
    model(colors[..., None, None].expand(2, 3, 24, 40))
    expected = torch.tensor([0.0, 1.0]).reshape(2, 1, 1, 1).expand(2, 3, 24, 40)
    expect_close(
        model.backbone.seen, expected, "the mean becomes 0, one standard deviation more becomes 1", atol=1e-6, rtol=0
    )


def test_a_planted_answer_is_detected():
    model = planted()
    model.head.shift = torch.tensor([[[0.0, 0, 0, 0]], [[0, 0.25, 0, 0]]])  # image 1: down by a quarter of the height
    expected = [BOXES[0], torch.tensor([[0.0, 1, 4, 5], [32, 10, 40, 18]])]
    for image, found in enumerate(model.detect(images=IMAGES)):
        order = found.boxes[:, 0].argsort()
        expect_close(found.boxes[order], expected[image], f"the boxes of image {image}")
        expect_equal(found.labels[order], LABELS[image], f"the classes of image {image}")
    assert [len(one.boxes) for one in model.detect(IMAGES, detections_per_image=1)] == [1, 1], "options are handed on"


@pytest.mark.parametrize("law, gt_boxes, gt_labels, classification, regression", [
    ("the head gives the answer", BOXES, LABELS, 0, 0),
    # two claims with logit 20 of the wrong class and two missed: 2 · (0.75 + 0.25) · 20, over 3 foreground anchors
    ("classes exchanged", BOXES, [LABELS[0], torch.tensor([0, 1])], 40 / 3, 0),
    # image 1 claims two objects where there are none: 2 · 0.75 · 20, over 1 foreground anchor of the batch
    ("an image without objects teaches background", [BOXES[0], NOTHING], [LABELS[0], NO_LABEL], 30, 0),
])  # fmt: skip
def test_the_loss_of_a_planted_answer(law, gt_boxes, gt_labels, classification, regression):
    got = planted().loss(images=IMAGES, gt_boxes=gt_boxes, gt_labels=gt_labels)
    expect_close([float(part) for part in got], [classification, regression], law, rtol=1e-4, atol=1e-5)


def test_the_loss_takes_each_levels_own_deltas():
    model = planted()
    model.head.level_shifts[1] = torch.tensor([0.0, 0.25, 0, 0])
    moved = torch.tensor([[0.0, 0, 4, 4], [32, 10, 40, 18]])  # that of level 1, down by a quarter of its height
    expect_close(
        float(model.loss(IMAGES, [BOXES[0], moved], LABELS).regression), 0.0, "as level 1 says", atol=1e-6, rtol=0
    )


def test_anchors_are_matched_at_the_default_thresholds():
    # anchors of size 6 at stride 4: rows 11 and 12 of level 0 are [3, 3, 9, 9] and [7, 3, 13, 9]
    truths = [torch.tensor([[3.0, 3, 7 + 10 * iou, 9]]) for iou in (0.57, 0.45, 0.35)]  # their IoU with row 12
    model = planted({(image, 0, row): 0 for image in range(3) for row in (11, 12)}, anchor_sizes=(6, 8, 16, 32))
    # row 12 is foreground, ignored, background, where a claim costs 0.75 · 20; there are 4 foreground anchors
    loss = model.loss(IMAGES[[0, 1, 0]], truths, [torch.tensor([0])] * 3).classification
    expect_close(float(loss), 3.75, "foreground from IoU 0.5 on, background below 0.4", rtol=1e-4, atol=0)


def test_gradients_reach_every_parameter():
    model = small_retinanet()
    sum(model.loss(IMAGES, [BOXES[0], torch.tensor([[0.0, 0, 30, 24], [4, 4, 20, 20]])], LABELS)).backward()
    missed = [
        name
        for name, p in model.named_parameters()
        if p.grad is None or not p.grad.isfinite().all() or not p.grad.any()
    ]
    assert not missed, f"no finite gradient reaches {missed}"


# --- refusals and standing laws ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name, call", [
    ("frozen_stages", lambda: ResNetBackbone(frozen_stages=-1)),
    ("frozen_stages", lambda: ResNetBackbone(frozen_stages=6)),
    ("strides", lambda: small_retinanet(strides=(4,))),
    ("strides", lambda: small_retinanet(strides=(4, 8, 16))),
    ("anchor_sizes", lambda: small_retinanet(anchor_sizes=(4, 8))),
    ("anchor_sizes", lambda: small_retinanet(anchor_sizes=(4, 8, 16, 32, 64))),
])  # fmt: skip
def test_what_does_not_fit_is_refused(name, call):
    expect_refused(name, call)


@pytest.mark.parametrize("law", [inputs_are_not_changed, device_is_followed, global_rng_is_untouched])
def test_standing_laws(law):
    model = planted()
    for fn, arguments in ((model, ()), (model.loss, (BOXES, LABELS)), (model.detect, ())):
        law(fn, IMAGES.clone(), *arguments)
