"""training: the model is put together in the right order, trained as promised, and judged without side
effects.

The parts (`FeaturePyramid`, `RetinaHead`, matching, loss, postprocessing, average precision) have specs of
their own. Here a planted head, whose answer is known, stands in for the trained one, and models of one number
show what each step does. The last test trains a small RetinaNet for a few seconds. How the optimizer is
chosen is out of scope: it is an argument.
"""

import math
import re
from typing import NamedTuple

import pytest
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torchvision.models._utils import IntermediateLayerGetter
from torchvision.ops import FrozenBatchNorm2d

from katas.detection.given.backbones import TinyBackbone
from katas.detection.given.scenes import SceneLoader, bar_scenes
from katas.detection.postprocess import Detections  # a NamedTuple, given; so is the next
from katas.detection.retina_head import RetinaHeadOutput
from katas.detection.training import (
    IMAGE_MEAN,
    IMAGE_STD,
    ResNetBackbone,
    RetinaNet,
    evaluate_detector,
    learning_rate_factor,
    train_detector,
)
from katas.lab.expect import expect_close, expect_equal
from katas.lab.laws import device_is_followed, global_rng_is_untouched, inputs_are_not_changed
from katas.lab.trees import annotation_checks


class TwoMaps(nn.Module):
    """A backbone with maps at strides 4 and 8, of 6 and 8 channels, and batch norm; it remembers its
    input."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 6, 4, stride=4), nn.BatchNorm2d(6), nn.ReLU())
        self.deeper = nn.Sequential(nn.Conv2d(6, 8, 2, stride=2), nn.BatchNorm2d(8), nn.ReLU())

    def forward(self, images):
        self.seen = images
        fine = self.stem(images)
        return [fine, self.deeper(fine)]


class Planted(nn.Module):
    """A head that knows the answer: `rows[(image, level, row)] = class`, and moves each anchor by `shift`."""

    def __init__(self, rows, num_classes):
        super().__init__()
        self.rows, self.num_classes, self.shift = rows, num_classes, 0.0
        self.level_shifts = [0.0] * 4

    def forward(self, features):
        shapes = [(len(f), f.shape[-2] * f.shape[-1]) for f in features]  # one anchor at each place
        logits = [f.new_full((*shape, self.num_classes), -20.0) for f, shape in zip(features, shapes)]
        for (image, level, row), label in self.rows.items():
            logits[level][image, row, label] = 20.0
        deltas = [f.new_zeros((*shape, 4)) + self.shift for f, shape in zip(features, shapes)]
        deltas = [level + shift for level, shift in zip(deltas, self.level_shifts)]
        return RetinaHeadOutput(logits, deltas)


IMAGES = torch.rand(2, 3, 24, 40, generator=torch.Generator().manual_seed(0))
# Anchors as large as the stride: those of a level only touch, and those of two levels overlap by a quarter at
# most.
TRUTHS = {(0, 0, 13): 2, (1, 0, 0): 1, (1, 1, 9): 0}  # 6 × 10 places on level 0, 3 × 5 on level 1
BOXES = [
    torch.tensor([[12.0, 4, 16, 8]]),  # level 0 (stride 4): row 13 is place (1, 3)
    torch.tensor([[0.0, 0, 4, 4], [32, 8, 40, 16]]),  # level 1 (stride 8): row 9 is place (1, 4)
]
LABELS = [torch.tensor([2]), torch.tensor([1, 0])]


def small_retinanet(num_classes=3, **options):
    options = dict(strides=(4, 8), anchor_sizes=(4, 8, 16, 32), scales=(1,), aspect_ratios=(1,)) | options
    return RetinaNet(TwoMaps(), [6, 8], num_classes, out_channels=5, num_convs=1, **options)


def planted_retinanet(rows=TRUTHS, **options):
    model = small_retinanet(**options)
    model.head = Planted(rows, num_classes=3)
    return model


# --- the backbone ---


def test_the_backbone_gives_the_maps_of_torchvisions_resnet():
    oracle = torchvision.models.resnet18(norm_layer=FrozenBatchNorm2d)
    generator = torch.Generator().manual_seed(0)
    for name, buffer in oracle.named_buffers():  # batch norm that does something
        buffer.copy_(torch.rand(buffer.shape, generator=generator) + 0.5)
    backbone = ResNetBackbone("resnet18")
    backbone.load_state_dict({k: v for k, v in oracle.state_dict().items() if not k.startswith("fc.")})
    images = torch.rand(1, 3, 40, 65, generator=generator)
    expected = IntermediateLayerGetter(oracle, {"layer2": "C3", "layer3": "C4", "layer4": "C5"})(images)
    expect_close(backbone(images), list(expected.values()), "C3, C4, C5: what comes out of layer2, layer3 and layer4")
    assert list(backbone.out_channels) == [128, 256, 512], f"resnet18 has no {backbone.out_channels} channels"


def test_pretrained_weights_arrive_batch_norms_included(monkeypatch):
    trained_by_others = torchvision.models.resnet18()
    for buffer in trained_by_others.buffers():
        if buffer.is_floating_point():  # statistics, as training leaves them: neither 0 nor 1
            buffer.uniform_(0.5, 1.5, generator=torch.Generator().manual_seed(0))
    weights = trained_by_others.state_dict()
    for module in (torch.hub, torchvision.models._api):  # nothing is downloaded
        monkeypatch.setattr(module, "load_state_dict_from_url", lambda *args, **kwargs: dict(weights))
    for name in ("DEFAULT", "IMAGENET1K_V1"):
        state = ResNetBackbone("resnet18", weights=name).state_dict()
        for key, value in state.items():
            expect_equal(value, weights[key], f"weights={name!r}: {key} is that of the pretrained model")


@pytest.mark.parametrize("frozen_stages", [0, 1, 3, 4, 5])
def test_the_first_stages_are_frozen_and_every_batch_norm_is(frozen_stages):
    with torch.device("meta"):  # without numbers, so there are none to draw
        backbone = ResNetBackbone("resnet18", frozen_stages=frozen_stages)
    stages = ["conv1", "layer1", "layer2", "layer3", "layer4"]
    for name, parameter in backbone.named_parameters():
        assert name.split(".")[0] in stages, f"{name} is a parameter; a FrozenBatchNorm2d has only buffers"
        trains = stages.index(name.split(".")[0]) >= frozen_stages
        assert parameter.requires_grad == trains, (
            f"with frozen_stages={frozen_stages}, {name} should have requires_grad {trains}"
        )
    norms = [module for module in backbone.modules() if isinstance(module, FrozenBatchNorm2d)]
    assert len(norms) == 20, f"all 20 batch norms are FrozenBatchNorm2d, not {len(norms)}"


def test_the_backbones_defaults_and_limits():
    with torch.device("meta"):
        backbone = ResNetBackbone()
    trains = [next(layer.parameters()).requires_grad for layer in (backbone.layer1, backbone.layer2)]
    assert trains == [False, True], "conv1 and layer1 are frozen unless told otherwise, layer2 is not"
    for frozen_stages in (-1, 6):
        with pytest.raises(ValueError, match="frozen_stages"):
            ResNetBackbone(frozen_stages=frozen_stages)
    with pytest.raises((ValueError, KeyError)):
        ResNetBackbone(weights="no such weights")


def test_a_larger_resnet_has_more_channels():
    with torch.device("meta"):
        channels = list(ResNetBackbone("resnet50").out_channels)
    assert channels == [512, 1024, 2048], f"the maps of resnet50 have 512, 1024 and 2048 channels, not {channels}"


# --- the model ---


def test_worked_example_of_the_anchors_of_the_model():
    output, anchors = small_retinanet()(IMAGES)  # sizes 6 × 10, 3 × 5, 2 × 3, 1 × 2
    rows = [len(level) for level in anchors]
    assert rows == [60, 15, 6, 2], f"a level of H × W places has H·W anchors here: 60, 15, 6, 2, not {rows}"
    assert [logits.shape[1] for logits in output.cls_logits] == rows, "each row of the head has its anchor"
    expect_close(anchors[0][13], [12.0, 4, 16, 8], "level 0 has stride 4: anchor 13 stands at place (1, 3)")
    expect_close(anchors[2][-1], [32.0, 16, 48, 32], "P6 has twice the stride of the level before")
    expect_close(anchors[3][0], [0.0, 0, 32, 32], "P7 has twice the stride of P6")


def test_anchors_follow_the_size_of_the_images_at_each_call():
    model, sizes = small_retinanet(), []
    for images in (IMAGES, IMAGES[..., :16], IMAGES):
        sizes.append([len(level) for level in model(images)[1]])
    assert sizes == [[60, 15, 6, 2], [24, 6, 2, 1], [60, 15, 6, 2]], f"images 24 × 40, 24 × 16, 24 × 40: {sizes}"


def test_strides_scales_and_ratios_reach_the_anchors_and_their_size_is_four_strides_by_default():
    _, anchors = small_retinanet(anchor_sizes=None, scales=(2, 1), aspect_ratios=(4, 1))(IMAGES)
    # at stride 4 the size is 16: areas 32² and 16², four times as tall as wide and then square, in the order given
    shapes = torch.tensor([[16.0, 64], [8, 32], [32, 32], [16, 16]])
    for level, stride in zip(anchors, (4, 8, 16, 32)):
        law = f"(width, height) of the anchors at the first place, at stride {stride}"
        expect_close(level[:4, 2:] - level[:4, :2], shapes * (stride / 4), law)


class ThreeMaps(nn.Module):
    def forward(self, images):
        return [images[:, :1, ::stride, ::stride] for stride in (8, 16, 32)]


def test_the_defaults_of_the_model_are_those_of_the_paper():
    model = RetinaNet(ThreeMaps(), [1, 1, 1], 2)
    _, anchors = model(torch.rand(1, 3, 40, 64))  # 5 × 8, 3 × 4, 2 × 2, 1 × 1 and 1 × 1 places
    rows = [len(level) for level in anchors]
    assert rows == [360, 108, 36, 9, 9], f"strides 8 … 128, nine anchors at a place: not {rows}"
    for level, stride in zip(anchors, (8, 16, 32, 64, 128)):
        expect_close(level[:9, :2] + level[:9, 2:], torch.full((9, 2), float(stride)), "the first is half a stride in")
        width, height = (level[:9, 2:] - level[:9, :2]).unbind(dim=1)
        areas = [(4 * stride * scale) ** 2 for scale in (1, 2 ** (1 / 3), 2 ** (2 / 3))]
        expect_close(
            width * height,
            3 * areas,
            "three scales within an octave, from four strides on",
            rtol=1e-4,
            atol=0,
        )
        expect_close(height / width, [0.5] * 3 + [1.0] * 3 + [2.0] * 3, "ratios 1/2, 1 and 2", rtol=1e-4, atol=0)
    assert (model.pyramid.p7.out_channels, len(model.head.cls_subnet)) == (
        256,
        8,
    ), "256 channels, four convolutions"


def test_the_number_of_convolutions_reaches_the_head():
    model = RetinaNet(ThreeMaps(), [1, 1, 1], 2, out_channels=3, num_convs=2)
    assert len(model.head.cls_subnet) == 4, "num_convs = 2: two convolutions and two ReLUs"


def test_the_prior_probability_reaches_the_head():
    model = RetinaNet(ThreeMaps(), [1, 1, 1], 2, out_channels=3, prior_probability=0.2)
    expect_close(model.head.cls_logits.bias.sigmoid(), torch.full((18,), 0.2), "the prior that was asked for")


def test_the_backbone_sees_normalised_images():
    model = small_retinanet()
    colors = torch.tensor([IMAGE_MEAN, [mean + std for mean, std in zip(IMAGE_MEAN, IMAGE_STD)]])
    model(colors[..., None, None].expand(2, 3, 24, 40))
    law = "ImageNet's mean becomes 0 in each channel, and one deviation above it becomes 1"
    expected = torch.tensor([0.0, 1.0]).reshape(2, 1, 1, 1).expand(2, 3, 24, 40)
    expect_close(model.backbone.seen, expected, law, atol=1e-6, rtol=0)


def test_a_planted_answer_is_detected_where_it_was_planted():
    for image, found in enumerate(planted_retinanet().detect(IMAGES)):
        order = found.boxes[:, 0].argsort()
        expect_close(found.boxes[order], BOXES[image], f"the boxes of image {image}")
        expect_equal(found.labels[order], LABELS[image], f"the classes of image {image}")


def test_the_deltas_of_each_image_are_its_own():
    model = planted_retinanet()
    model.head.shift = torch.tensor([[[0.0, 0, 0, 0]], [[0, 0.25, 0, 0]]])  # image 1: dy = 1/4
    first, second = model.detect(IMAGES)
    expect_close(first.boxes, BOXES[0], "image 0 has deltas of zero")
    order = second.boxes[:, 0].argsort()
    expect_close(second.boxes[order], [[0.0, 1, 4, 5], [32, 10, 40, 18]], "down by a quarter of the height")


def test_a_planted_answer_has_no_loss_and_a_wrong_one_has():
    model = planted_retinanet()
    for part, value in model.loss(IMAGES, BOXES, LABELS)._asdict().items():
        assert value < 1e-6, f"the head gives the very answer, but the {part} loss is {value}"
    wrong_labels = [LABELS[0], torch.tensor([0, 1])]
    classification, regression = model.loss(IMAGES, [BOXES[0] + 1, BOXES[1]], wrong_labels)
    assert classification > 1, "two confident answers of the wrong class"
    assert regression > 0.1, "one box is a pixel off"


def test_anchors_are_matched_by_the_default_thresholds():
    # anchors of size 6 at stride 4: rows 11 and 12 of level 0 are [3, 3, 9, 9] and [7, 3, 13, 9]
    truths = [torch.tensor([[3.0, 3, 7 + 10 * iou, 9]]) for iou in (0.57, 0.45, 0.35)]  # their IoU with row 12
    claims = {(image, 0, row): 0 for image in range(3) for row in (11, 12)}
    model = planted_retinanet(claims, anchor_sizes=(6, 8, 16, 32))
    # row 11 is foreground each time; row 12 is foreground, then ignored, then background, where a claim with logit 20
    # costs 0.75 × 20, over 4 foreground anchors
    loss = model.loss(IMAGES[[0, 1, 0]], truths, [torch.tensor([0])] * 3).classification
    law = "foreground from IoU 0.5 on, background below 0.4, and what lies between does not count"
    expect_close(loss.item(), 3.75, law, rtol=1e-4, atol=0)


def test_the_loss_takes_the_deltas_of_each_level_for_the_anchors_of_that_level():
    model = planted_retinanet()
    model.head.level_shifts[1] = torch.tensor([0.0, 0.25, 0, 0])
    moved = torch.tensor([[0.0, 0, 4, 4], [32, 10, 40, 18]])  # that of level 1 down by a quarter of its height
    regression = model.loss(IMAGES, [BOXES[0], moved], LABELS).regression
    expect_close(regression.item(), 0.0, "the deltas of level 1 say just this", rtol=0, atol=1e-6)


def test_the_loss_is_normalised_over_the_batch_and_an_image_without_objects_teaches_background():
    model = planted_retinanet()
    nothing, no_label = torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64)
    loss = model.loss(IMAGES, [BOXES[0], nothing], [LABELS[0], no_label])
    # image 1 claims two objects with logit 20 where there are none: 2 × 0.75 × 20, over 1 foreground anchor
    law = "claims on an empty image count, over the foreground of the batch"
    expect_close(loss.classification.item(), 30.0, law, rtol=1e-4, atol=0)
    expect_close(loss.regression.item(), 0.0, "an image without objects has no boxes to regress")


def test_the_model_makes_everything_on_the_device_of_the_images():
    model = planted_retinanet()
    device_is_followed(model, IMAGES)
    device_is_followed(model.loss, IMAGES, BOXES, LABELS)
    device_is_followed(model.detect, IMAGES)


def test_the_callers_batch_is_not_changed():
    model, images = small_retinanet(), IMAGES.clone()
    inputs_are_not_changed(model, images)
    inputs_are_not_changed(model.loss, images, BOXES, LABELS)
    inputs_are_not_changed(model.detect, images)


def test_options_of_detect_reach_the_postprocessing():
    found = planted_retinanet().detect(IMAGES, detections_per_image=1)
    assert [len(one.boxes) for one in found] == [1, 1], "detections_per_image=1 leaves one for each image"


def test_gradients_reach_every_parameter_of_the_model():
    model = small_retinanet()
    loss = model.loss(IMAGES, [BOXES[0], torch.tensor([[0.0, 0, 30, 24], [4, 4, 20, 20]])], LABELS)
    (loss.classification + loss.regression).backward()
    for name, parameter in model.named_parameters():
        learns = parameter.grad is not None and parameter.grad.isfinite().all() and parameter.grad.any()
        assert learns, f"no finite gradient reaches {name}"


def test_the_model_computes_in_the_dtype_of_the_images():
    model = small_retinanet()
    model(IMAGES)  # in float32; nothing of it may be kept
    output, anchors = model.double()(IMAGES.double())
    for tensor in [*output.cls_logits, *output.box_deltas, *anchors]:
        assert tensor.dtype == torch.float64, f"float64 images and weights gave {tensor.dtype}"


def test_wrong_numbers_of_levels_are_rejected():
    for strides in [(4,), (4, 8, 16)]:
        with pytest.raises(ValueError, match="strides"):
            small_retinanet(strides=strides)
    for anchor_sizes in [(4, 8), (4, 8, 16, 32, 64)]:
        with pytest.raises(ValueError, match="anchor_sizes"):
            small_retinanet(anchor_sizes=anchor_sizes)


# --- the learning rate ---


def test_worked_example_of_the_learning_rate():
    factors = [learning_rate_factor(step, warmup_steps=2, total_steps=6) for step in range(6)]
    # warm-up 1/2, 2/2; then (1 + cos(pi t)) / 2 for t = 0, 1/4, 2/4, 3/4
    expected = [0.5, 1.0, 1.0, (2 + 2**0.5) / 4, 0.5, (2 - 2**0.5) / 4]
    expect_close(factors, expected, "warm-up, then half a cosine")


@settings(max_examples=20)  # each plan is looked at as a whole
@given(st.integers(0, 9), st.integers(10, 40))
def test_the_learning_rate_never_exceeds_its_base_and_falls_after_the_warm_up(warmup_steps, total_steps):
    plan = dict(warmup_steps=warmup_steps, total_steps=total_steps)
    factors = [learning_rate_factor(step, **plan) for step in range(total_steps)]
    assert all(0 < factor <= 1 for factor in factors), f"a factor outside (0, 1]: {factors}"
    falling = factors[warmup_steps:]
    falls = falling[0] == 1 and falling == sorted(falling, reverse=True)
    assert falls, f"after the warm-up it falls from 1: {falling}"


# --- training ---


class Loss(NamedTuple):
    classification: Tensor
    regression: Tensor


class Slope(nn.Module):
    """A model of two numbers whose loss has a gradient as given by the images: (3 w + v) × their mean."""

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.zeros((), dtype=torch.float64))
        self.v = nn.Parameter(torch.zeros((), dtype=torch.float64))
        self.drop = nn.Dropout()
        self.modes = []

    def loss(self, images, gt_boxes, gt_labels):
        self.modes.append((self.training, self.drop.training))
        return Loss(2 * self.w * images.mean(), (self.w + self.v) * images.mean())


def batches(*values):
    """One image each, of that brightness, without objects."""
    no_boxes, no_labels = [torch.zeros(0, 4)], [torch.zeros(0, dtype=torch.int64)]
    return [(torch.full((1, 3, 2, 2), v, dtype=torch.float64), no_boxes, no_labels) for v in values]


def trained(model, loader, rate=0.1, **options):
    reports = []
    optimizer = torch.optim.SGD([{"params": [model.w]}, {"params": [model.v], "lr": 10 * rate}], lr=rate)
    train_detector(model, loader, optimizer, on_step=options.pop("on_step", reports.append), **options)
    return reports


def test_worked_example_of_training():
    model = Slope()
    reports = trained(model, batches(1.0, 2.0), epochs=2, warmup_steps=2)
    # factors 1/2, 1 (warm-up), then 1 and (1 + cos(pi/2)) / 2 = 1/2; the means are 1, 2, 1, 2
    steps = 0.5 * 1 + 1 * 2 + 1 * 1 + 0.5 * 2
    expect_close(model.w.item(), -0.1 * 3 * steps, "w follows the gradients of both parts of the loss, batch by batch")
    expect_close(model.v.item(), -1.0 * steps, "each group has its own learning rate, and all follow the schedule")
    assert [report.step for report in reports] == [0, 1, 2, 3], "steps are counted over all epochs"
    expect_close([report.learning_rate for report in reports], [0.05, 0.1, 0.1, 0.05], "the rate of the first group")
    # before step 1: w = -0.15, v = -0.5, mean 2
    expect_close(reports[1].classification, -0.6, "reported is the loss before the update: 2 w × mean")
    expect_close(reports[1].regression, -1.3, "reported is the loss before the update: (w + v) × mean")
    expect_close(reports[1].grad_norm, 40**0.5, "the norm of (3, 1) × 2")
    told = "a report holds plain numbers: tensors would change with the weights and keep the graph alive"
    assert all(isinstance(number, float) for number in reports[1][1:]), f"{told}, not {reports[1]}"


def test_every_epoch_is_a_pass_of_its_own_over_the_loader():
    class Augmenting(list):
        passes = 0

        def __iter__(self):  # each pass is twice as bright
            self.passes += 1
            return iter(batches(2.0 ** (self.passes - 1)))

    reports = trained(Slope(), Augmenting(batches(1.0)), epochs=3)
    norms = [report.grad_norm / 10**0.5 for report in reports]
    expect_close(norms, [1.0, 2.0, 4.0], "the loader shuffles and augments anew in every epoch", rtol=1e-6, atol=0)


def test_each_call_starts_from_the_learning_rates_that_it_finds():
    model, rates = Slope(), []
    optimizer = torch.optim.SGD([model.w], lr=0.1)
    for rate in (0.1, 0.2):
        optimizer.param_groups[0]["lr"] = rate
        train_detector(model, batches(1.0), optimizer, epochs=1, on_step=lambda r: rates.append(r.learning_rate))
    told = "the base is the rate at the call, not the `initial_lr` that a scheduler has left in an earlier one"
    expect_close(rates, [0.1, 0.2], told)


def test_a_long_gradient_is_cut_and_its_length_told():
    model = Slope()
    (report,) = trained(model, batches(40.0), epochs=1, max_grad_norm=2.0)
    loose = dict(rtol=1e-5, atol=0)  # clip_grad_norm_ adds 1e-6 to the norm
    expect_close(report.grad_norm, 40 * 10**0.5, "reported is the norm before it is cut: of (120, 40)", **loose)
    got, direction = [model.w.item(), model.v.item()], [-0.1 * 2 * 3 / 10**0.5, -1.0 * 2 * 1 / 10**0.5]
    expect_close(got, direction, "the direction stays, over all groups together; each has its rate", **loose)
    trained(model, batches(40.0), epochs=1, max_grad_norm=0.0)
    expect_close([model.w.item(), model.v.item()], got, "cut down to the norm 0, there is no step")


def test_the_norm_is_over_all_parameters_of_the_model():
    model = Slope()
    model.extra = nn.Parameter(torch.zeros((), dtype=torch.float64))  # the optimizer does not hold it
    model.loss = lambda images, *_: Loss(3 * model.w * images.mean(), 4 * model.extra * images.mean())
    (report,) = trained(model, batches(1.0), epochs=1, max_grad_norm=1.0)
    loose = dict(rtol=1e-5, atol=0)
    expect_close(report.grad_norm, 5.0, "the norm of (3, 4), whichever of them the optimizer holds", **loose)
    expect_close(model.w.item(), -0.1 * 3 / 5, "(3, 4) becomes (3, 4) / 5", **loose)


def test_by_default_there_is_no_warm_up_and_gradients_are_cut_at_ten():
    model = Slope()
    trained(model, batches(40.0, 40.0), epochs=1)  # no warm-up by default: factors 1 and 1/2
    expect_close(model.v.item(), -1.5 * 10**0.5, "the norm becomes 10", rtol=1e-5, atol=0)


def test_every_epoch_trains_in_training_mode_and_is_told():
    model, epochs = Slope().eval(), []

    def evaluates(epoch):
        epochs.append((epoch, len(model.modes)))
        model.eval()

    trained(model, batches(1.0, 2.0), epochs=3, on_epoch=evaluates)
    assert model.modes == [(True, True)] * 6, (
        f"each of 6 steps is in training mode, whatever a callback did: {model.modes}"
    )
    told = "on_epoch is called after each epoch of 2 steps: (epoch, counted from 0; steps made)"
    assert epochs == [(0, 2), (1, 4), (2, 6)], f"{told}: {epochs}"


def expect_moved(loop):
    told = "a batch on another device than the model is not moved to the model's"
    try:
        loop()
    except NotImplementedError as error:
        if not str(error):  # the stub
            raise
        assert "copy out of meta" in str(error), f"{told}: {error}"
    except RuntimeError as error:
        raise AssertionError(f"{told}: {error}") from None
    else:
        raise AssertionError(told)


@pytest.mark.parametrize("part", [0, 1, 2], ids=["images", "gt boxes", "gt labels"])
def test_batches_are_moved_to_the_device_of_the_model(part):
    # On the meta device tensors have no numbers: whoever moves one from there is told so, GPU or not.
    batch = list(batches(1.0)[0])
    batch[part] = batch[part].to("meta") if part == 0 else [entry.to("meta") for entry in batch[part]]
    expect_moved(lambda: trained(Slope(), [tuple(batch)], epochs=1))


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_not_finite_stops_training_before_it_does_harm(bad):
    model, good = Slope(), Slope()
    with pytest.raises(FloatingPointError) as error:
        trained(model, batches(1.0, 2.0, bad, 1.0), epochs=1)
    assert re.search(r"\b2\b", str(error.value)), f"the message names the step, which is 2: {error.value}"
    assert "nan" in str(error.value) or "inf" in str(error.value), f"the value is named, not {error.value}"
    reports = trained(good, batches(1.0, 2.0, 0.0, 0.0), epochs=1)
    expect_equal(model.w, good.w, "the weights are those after the last good step")
    assert len(reports) == 4, "finite losses go on to the end, zero included"


def test_one_bad_part_is_enough_and_both_are_told():
    model = Slope()
    model.loss = lambda *batch: Loss(model.w + 1.5, model.v * math.nan)
    with pytest.raises(FloatingPointError) as error:
        trained(model, batches(1.0), epochs=1)
    assert re.search(r"\b0\b", str(error.value)), f"the message names the step, which is 0: {error.value}"
    assert "1.5" in str(error.value) and "nan" in str(error.value), f"both values are named, not {error.value}"


@pytest.mark.parametrize("frozen", [False, True])
def test_gradients_from_before_the_call_or_of_parameters_that_do_not_train_count_nowhere(frozen):
    model, fresh = Slope(), Slope()
    for leftover in (model, fresh):
        leftover.idle = nn.Parameter(torch.zeros((), dtype=torch.float64))  # the optimizer does not hold it
    model.idle.requires_grad_(not frozen)
    model.w.grad, model.idle.grad = torch.full_like(model.w, 50), torch.full_like(model.w, 50)
    reports, expected = (trained(each, batches(1.0, 2.0), epochs=1) for each in (model, fresh))
    norms = [report.grad_norm for report in reports]
    law = "the norm is that of this batch's gradient alone: what other parameters of the model hold is cleared, too"
    expect_close(norms, [report.grad_norm for report in expected], law)
    expect_close(model.w, fresh.w, "each step follows the gradient of its own batch alone")


def test_training_and_evaluation_leave_the_global_random_generators_alone():
    torch.rand(1)  # whatever was seeded before has moved on
    global_rng_is_untouched(trained, Slope(), batches(1.0, 2.0), epochs=2)
    global_rng_is_untouched(evaluate_detector, Seer(TRUE), eval_batches(TRUE))


def test_interrupting_keeps_the_steps_made_so_far():
    model, seen = Slope(), []

    def interrupts(report):
        seen.append(report.step)
        if report.step == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trained(model, batches(1.0, 1.0, 1.0, 1.0), epochs=5, warmup_steps=20, on_step=interrupts)
    law = "steps 0 and 1 are made when the callback of step 1 runs"
    expect_close(model.w.item(), -0.1 * 3 * (1 / 20 + 2 / 20), law)
    assert seen == [0, 1], f"callbacks of steps 0 and 1 have run: {seen}"


# --- evaluation ---


class Seer(nn.Module):
    """Detects what it is told to: image `i` holds the number i; remembers how it was called."""

    def __init__(self, answers):
        super().__init__()
        self.answers, self.calls = answers, []
        self.scale = nn.Parameter(torch.ones(()))
        self.frozen, self.norm = nn.BatchNorm2d(3).eval(), nn.BatchNorm2d(3)
        self.tower = nn.Sequential(nn.Sequential(nn.BatchNorm2d(3), nn.BatchNorm2d(3)))

    def detect(self, images, **options):
        self.calls.append((self.training, self.norm.training, torch.is_grad_enabled(), options))
        found = [self.answers[int(image.mean())] for image in images]
        return [Detections(boxes * self.scale, torch.ones(len(boxes)), labels) for boxes, labels in found]


TRUE = [(BOXES[0], LABELS[0]), (BOXES[1], LABELS[1]), (torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64))]


def eval_batches(truths):
    """Batches of one and two images."""
    images = torch.arange(3.0)[:, None, None, None].expand(3, 3, 2, 2)
    boxes, labels = [boxes for boxes, _ in truths], [labels for _, labels in truths]
    return [(images[:1], boxes[:1], labels[:1]), (images[1:], boxes[1:], labels[1:])]


def test_a_seer_has_average_precision_one_and_one_who_is_off_has_not():
    assert evaluate_detector(Seer(TRUE), eval_batches(TRUE)).ap == 1, "every object found, none invented"
    mixed_up = [TRUE[1], TRUE[0], TRUE[2]]
    assert evaluate_detector(Seer(mixed_up), eval_batches(TRUE)).ap == 0, (
        "what is found in another image counts nothing"
    )
    half = [TRUE[0], (BOXES[1], torch.tensor([0, 1])), TRUE[2]]  # class 2 right, classes 0 and 1 exchanged
    expect_close(evaluate_detector(Seer(half), eval_batches(TRUE)).ap, 1 / 3, "one class of three is found")


def test_evaluation_runs_in_evaluation_mode_without_gradients_and_hands_on_options():
    model = Seer(TRUE)
    evaluate_detector(model, eval_batches(TRUE), score_thresh=0.3)
    expected = [(False, False, False, {"score_thresh": 0.3})] * 2
    assert model.calls == expected, f"(training, norm training, grad enabled, options) for both batches: {model.calls}"


def test_evaluation_moves_the_images_to_the_device_of_the_model():
    expect_moved(
        lambda: evaluate_detector(Seer(TRUE), [(images.to("meta"), *rest) for images, *rest in eval_batches(TRUE)])
    )


@pytest.mark.parametrize("training", [True, False])
def test_evaluation_leaves_every_mode_as_it_was_even_when_it_fails(training):
    model = Seer(TRUE).train(training)
    model.frozen.eval()
    model.tower[0][0].eval()
    before = {name: module.training for name, module in model.named_modules()}
    evaluate_detector(model, eval_batches(TRUE))
    with pytest.raises(KeyError):
        model.answers = {}
        evaluate_detector(model, eval_batches(TRUE))
    after = {name: module.training for name, module in model.named_modules()}
    assert after == before, f"in training mode, by module: {before} before, {after} afterwards"


# --- the light twin of the full check ---


def retinanet_for_bars(seed):
    """A tiny model whose weights start alike, however the kata draws them: this is not a test of the start."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        backbone = TinyBackbone()
        anchors = dict(anchor_sizes=(10, 14, 32, 64), scales=(1,), aspect_ratios=(2, 1))
        plan = dict(strides=backbone.strides, out_channels=24, num_convs=1, **anchors)
        model = RetinaNet(backbone, backbone.out_channels, num_classes=2, **plan)
    generator = torch.Generator().manual_seed(seed)
    subnets = [model.head.cls_subnet, model.head.box_subnet]
    for name, weight in sorted(nn.ModuleList([model.pyramid, *subnets]).named_parameters()):
        if name.endswith("weight"):
            nn.init.kaiming_uniform_(weight, a=1, generator=generator)
    for last in (model.head.cls_logits, model.head.box_deltas):
        nn.init.normal_(last.weight, std=0.01, generator=generator)
    return model


def ap50_after_training_on_bars(seed):
    model = retinanet_for_bars(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3, fused=True)
    old, new = bar_scenes(640, seed=seed, widths=(8, 10)), bar_scenes(48, seed=1000 + seed, widths=(8, 10))
    with annotation_checks(False):  # for speed, as in the full checks
        train_detector(model, SceneLoader(old, 8), optimizer, epochs=1, warmup_steps=20)
        return evaluate_detector(model, SceneLoader(new, 48)).ap50


@pytest.mark.timeout(120)
def test_a_small_retinanet_learns_to_find_bars_in_seconds():
    ap50 = ap50_after_training_on_bars(seed=0)
    # Over seeds 0 to 39 right code reaches 0.98 to 1.00. Over seeds 0 to 7: boxes left undecoded 0.55 to 0.70,
    # anchors by shape before place 0.03 to 0.10, column by column 0.03 to 0.05.
    told = "are the arguments handed on, and anchors, rows and deltas in one order?"
    assert ap50 >= 0.85, f"on new images AP50 is {ap50:.2f}, right code has 0.98 or more: {told}"
