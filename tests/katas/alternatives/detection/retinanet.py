"""The same detector with a feature extractor as backbone."""

import torch
from torch import nn
from torchvision import models
from torchvision.ops import FrozenBatchNorm2d

from . import anchors as anchors_kata
from .boxes import box_iou
from .fpn import FeaturePyramid
from .matching import match_anchors
from .postprocess import postprocess_detections
from .retina_head import RetinaHead
from .targets import retinanet_loss

IMAGE_MEAN = (0.485, 0.456, 0.406)
IMAGE_STD = (0.229, 0.224, 0.225)


class ResNetBackbone(nn.Sequential):
    def __init__(self, name="resnet18", *, weights=None, frozen_stages=2):
        if frozen_stages not in range(6):
            raise ValueError(f"frozen_stages is {frozen_stages}, but there are stages 0 to 5")
        resnet = models.get_model(name, weights=weights, norm_layer=FrozenBatchNorm2d)
        width = resnet.fc.in_features
        del resnet.fc, resnet.avgpool
        super().__init__(*())
        for child_name, child in resnet.named_children():
            self.add_module(child_name, child)
        for parameter_name, parameter in self.named_parameters():
            if parameter_name.split(".")[0] in ("conv1", "layer1", "layer2", "layer3", "layer4")[:frozen_stages]:
                parameter.requires_grad = False
        self.out_channels = (width // 4, width // 2, width)

    def forward(self, images):
        maps = {}
        for child_name, child in self.named_children():
            images = maps[child_name] = child(images)
        return [maps["layer2"], maps["layer3"], maps["layer4"]]


class RetinaNet(nn.Module):
    def __init__(
        self,
        backbone,
        in_channels,
        num_classes,
        *,
        strides=(8, 16, 32),
        out_channels=256,
        num_convs=4,
        prior_probability=0.01,
        anchor_sizes=None,
        scales=(1.0, 2 ** (1 / 3), 2 ** (2 / 3)),
        aspect_ratios=(0.5, 1.0, 2.0),
    ):
        super().__init__()
        if len(strides) - len(in_channels):
            raise ValueError("strides and in_channels differ in length")
        strides = list(strides)
        for _ in range(2):
            strides.append(2 * strides[-1])
        sizes = anchor_sizes if anchor_sizes is not None else [stride * 4.0 for stride in strides]
        if len(sizes) - len(strides):
            raise ValueError("anchor_sizes: one for each level, please")
        self.backbone, self.pyramid = backbone, FeaturePyramid(in_channels, out_channels)
        self.levels = list(zip(strides, sizes, strict=True))
        self.shapes = dict(scales=scales, aspect_ratios=aspect_ratios)
        options = dict(num_convs=num_convs, prior_probability=prior_probability)
        self.head = RetinaHead(out_channels, len(aspect_ratios) * len(scales), num_classes, **options)

    def forward(self, images):
        normalised = torch.stack(
            [(images[:, c] - mean) / std for c, (mean, std) in enumerate(zip(IMAGE_MEAN, IMAGE_STD, strict=True))],
            dim=1,
        )
        levels, anchors = self.pyramid(self.backbone(normalised)), []
        for level, (stride, size) in zip(levels, self.levels, strict=True):
            base = anchors_kata.base_anchors(size, **self.shapes).to(images.device, images.dtype)
            anchors.append(anchors_kata.grid_anchors(tuple(level.shape[2:]), stride, base))
        return self.head(levels), anchors

    def loss(self, images, gt_boxes, gt_labels):
        (cls_logits, box_deltas), anchors = self(images)
        anchors = torch.cat(anchors, dim=0)
        matched_idxs = torch.empty(len(images), len(anchors), dtype=torch.int64, device=images.device)
        for image, boxes in enumerate(gt_boxes):
            matched_idxs[image] = match_anchors(box_iou(boxes, anchors))
        return retinanet_loss(
            torch.cat(cls_logits, dim=1),
            torch.cat(box_deltas, dim=1),
            anchors,
            matched_idxs,
            gt_boxes,
            gt_labels,
        )

    def detect(self, images, **options):
        (cls_logits, box_deltas), anchors = self(images)
        height, width = images.shape[-2:]
        found = []
        for logits, deltas in zip(zip(*cls_logits, strict=True), zip(*box_deltas, strict=True), strict=True):
            found.append(postprocess_detections(list(logits), list(deltas), anchors, (height, width), **options))
        return found
