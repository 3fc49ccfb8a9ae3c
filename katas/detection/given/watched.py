"""Stand-ins for parts of a detector. They keep what they are shown, or know the answer, so a spec can follow."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from katas.detection.given.backbones import TinyBackbone
from katas.detection.postprocess import Detections  # a NamedTuple, given; so is the next
from katas.detection.retina_head import RetinaHeadOutput
from katas.detection.retinanet import RetinaNet

IMAGES = torch.rand(2, 3, 24, 40, generator=torch.Generator().manual_seed(0))
# Anchors as large as the stride: those of one level only touch, those of two levels overlap by a quarter at most.
TRUTHS = {(0, 0, 13): 2, (1, 0, 0): 1, (1, 1, 9): 0}  # (image, level, row): class; 6 × 10 and 3 × 5 places
BOXES = [torch.tensor([[12.0, 4, 16, 8]]), torch.tensor([[0.0, 0, 4, 4], [32, 8, 40, 16]])]
LABELS = [torch.tensor([2]), torch.tensor([1, 0])]
NOTHING, NO_LABEL = torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64)


class TwoMaps(nn.Module):
    """A backbone with maps at strides 4 and 8, of 6 and 8 channels, and batch norm. It keeps its input."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 6, 4, stride=4), nn.BatchNorm2d(6), nn.ReLU())
        self.deeper = nn.Sequential(nn.Conv2d(6, 8, 2, stride=2), nn.BatchNorm2d(8), nn.ReLU())

    def forward(self, images):
        self.seen = images
        fine = self.stem(images)
        return [fine, self.deeper(fine)]


class ThreeMaps(nn.Module):
    """A backbone with maps at strides 8, 16 and 32, of one channel."""

    def forward(self, images):
        return [images[:, :1, ::stride, ::stride] for stride in (8, 16, 32)]


class Planted(nn.Module):
    """A head that knows the answer: `rows[(image, level, row)] = class`, and moves each anchor by `shift`."""

    def __init__(self, rows, num_classes):
        super().__init__()
        self.rows, self.num_classes, self.shift = rows, num_classes, 0.0
        self.level_shifts = [0.0] * 4

    def forward(self, features):
        shapes = [(len(f), f.shape[-2] * f.shape[-1]) for f in features]  # one anchor at each place
        logits = [f.new_full((*shape, self.num_classes), -20.0) for f, shape in zip(features, shapes, strict=True)]
        for (image, level, row), label in self.rows.items():
            logits[level][image, row, label] = 20.0
        deltas = [f.new_zeros((*shape, 4)) + self.shift for f, shape in zip(features, shapes, strict=True)]
        deltas = [level + shift for level, shift in zip(deltas, self.level_shifts, strict=True)]
        return RetinaHeadOutput(logits, deltas)


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


class Seer(nn.Module):
    """Detects what it is told to: image `i` holds the number i. Keeps how it was called.

    An answer is boxes and labels, and scores where they are not all 1.
    """

    def __init__(self, answers):
        super().__init__()
        self.answers, self.calls = answers, []
        self.scale = nn.Parameter(torch.ones(()))
        self.frozen, self.norm = nn.BatchNorm2d(3).eval(), nn.BatchNorm2d(3)
        self.tower = nn.Sequential(nn.Sequential(nn.BatchNorm2d(3), nn.BatchNorm2d(3)))

    def detect(self, images, **options):
        self.calls.append((self.training, self.norm.training, torch.is_grad_enabled(), options))
        found = [self.answers[int(image.mean())] for image in images]
        scored = [(b, labels, scores[0] if scores else torch.ones(len(b))) for b, labels, *scores in found]
        return [Detections(boxes * self.scale, scores, labels) for boxes, labels, scores in scored]


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


def batches(*values):
    """One image each, of that brightness, without objects."""
    return [(torch.full((1, 3, 2, 2), v, dtype=torch.float64), [NOTHING], [NO_LABEL]) for v in values]


class Brighter(list):
    """A loader that is twice as bright at every pass."""

    passes = 0

    def __iter__(self):
        self.passes += 1
        return iter([(images * 2.0 ** (self.passes - 1), *rest) for images, *rest in super().__iter__()])
