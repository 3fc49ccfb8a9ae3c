"""The whole detector: backbone, pyramid, head and anchors become one model.

Nothing here is new mathematics. What matters is order and bookkeeping: anchors must follow the order of the head's
rows, and frozen parts must stay frozen.
"""

from collections.abc import Sequence

import torch
import torchvision
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torchvision.ops import FrozenBatchNorm2d

from .anchors import pyramid_anchors
from .boxes import box_iou
from .fpn import FeaturePyramid
from .matching import match_anchors
from .postprocess import Detections, postprocess_detections
from .retina_head import RetinaHead, RetinaHeadOutput
from .targets import RetinaNetLoss, retinanet_loss

# Of ImageNet, red, green, blue: torchvision's pretrained backbones expect images normalised by them.
IMAGE_MEAN = (0.485, 0.456, 0.406)
IMAGE_STD = (0.229, 0.224, 0.225)


class ResNetBackbone(nn.Module):
    """A torchvision ResNet without its classifier. It gives the maps C3, C4, C5, at strides 8, 16, 32.

    `name` and `weights` are those of `torchvision.models.get_model`: None for random weights, "DEFAULT" for pretrained
    ones. The attribute `out_channels` lists the channels of the maps. Submodules are named as in torchvision (conv1,
    bn1, layer1, ..., layer4), so the state dict is that of the torchvision model without `fc` (and without
    `num_batches_tracked`, which frozen batch norms do not have).

    Every batch norm is a `torchvision.ops.FrozenBatchNorm2d`, because the batches of a detector are too small for good
    statistics. Of the five stages (conv1, layer1, ..., layer4) the first `frozen_stages` (0 ... 5) do not train. Their
    parameters have `requires_grad` False.
    """

    def __init__(self, name: str = "resnet18", *, weights: str | None = None, frozen_stages: int = 2) -> None:
        super().__init__()
        if not 0 <= frozen_stages <= 5:
            raise ValueError(f"frozen_stages must lie in 0 ... 5, got {frozen_stages}")
        resnet = torchvision.models.get_model(name, weights=weights, norm_layer=FrozenBatchNorm2d)
        self.conv1, self.bn1, self.relu, self.maxpool = resnet.conv1, resnet.bn1, resnet.relu, resnet.maxpool
        self.layer1, self.layer2 = resnet.layer1, resnet.layer2
        self.layer3, self.layer4 = resnet.layer3, resnet.layer4
        for stage in [self.conv1, self.layer1, self.layer2, self.layer3, self.layer4][:frozen_stages]:
            stage.requires_grad_(False)
        width = resnet.fc.in_features
        self.out_channels = [width // 4, width // 2, width]

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> list[Float[Tensor, "B _ _ _"]]:
        """C3, C4 and C5: what comes out of layer2, layer3 and layer4."""
        c2 = self.layer1(self.maxpool(self.relu(self.bn1(self.conv1(images)))))
        c3 = self.layer2(c2)
        c4 = self.layer3(c3)
        return [c3, c4, self.layer4(c4)]


class RetinaNet(nn.Module):
    """RetinaNet on any backbone that maps images to a list of feature maps, from fine to coarse.

    `in_channels` and `strides` have one entry per map of the backbone. The pyramid adds two levels, each of twice the
    stride of the one before. `anchor_sizes` has one size per level of the pyramid, so two more. None means four times
    the stride, as in the paper. `scales` and `aspect_ratios` are those of `pyramid_anchors`.

    Submodules are `backbone`, `pyramid` (a `FeaturePyramid` with `out_channels` channels) and `head` (a `RetinaHead`).
    Images are in [0, 1]. The backbone sees `(images - IMAGE_MEAN) / IMAGE_STD` per channel.

    Source: Lin et al., Focal Loss for Dense Object Detection (arXiv 1708.02002).
    """

    def __init__(
        self,
        backbone: nn.Module,
        in_channels: list[int],
        num_classes: int,
        *,
        strides: Sequence[int] = (8, 16, 32),
        out_channels: int = 256,
        num_convs: int = 4,
        prior_probability: float = 0.01,
        anchor_sizes: Sequence[float] | None = None,
        scales: Sequence[float] = (1.0, 2 ** (1 / 3), 2 ** (2 / 3)),
        aspect_ratios: Sequence[float] = (0.5, 1.0, 2.0),
    ) -> None:
        super().__init__()
        if len(strides) != len(in_channels):
            raise ValueError(f"strides: expected {len(in_channels)}, as many as in_channels, got {strides}")
        self.strides = [*strides, 2 * strides[-1], 4 * strides[-1]]
        self.anchor_sizes = [4 * s for s in self.strides] if anchor_sizes is None else anchor_sizes
        if len(self.anchor_sizes) != len(self.strides):
            raise ValueError(f"anchor_sizes: expected {len(self.strides)}, one a level, got {anchor_sizes}")
        self.scales, self.aspect_ratios = scales, aspect_ratios
        self.backbone = backbone
        self.pyramid = FeaturePyramid(in_channels, out_channels)
        self.head = RetinaHead(
            out_channels,
            len(scales) * len(aspect_ratios),
            num_classes,
            num_convs=num_convs,
            prior_probability=prior_probability,
        )
        self.register_buffer("mean", torch.tensor(IMAGE_MEAN).reshape(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGE_STD).reshape(3, 1, 1), persistent=False)

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> tuple[RetinaHeadOutput, list[Float[Tensor, "_ 4"]]]:
        """The output of the head, and per level the anchors (H*W*A, 4) of its rows, in the dtype of the images."""
        features = self.pyramid(self.backbone((images - self.mean) / self.std))
        sizes = [tuple(feature.shape[2:]) for feature in features]
        anchors = pyramid_anchors(
            sizes, self.strides, self.anchor_sizes, scales=self.scales, aspect_ratios=self.aspect_ratios
        )
        all_anchors = torch.cat(anchors).to(images)  # one copy to the GPU, not one for each level
        return self.head(features), [*all_anchors.split([len(level) for level in anchors])]

    def loss(
        self,
        images: Float[Tensor, "B 3 H W"],
        gt_boxes: list[Float[Tensor, "_ 4"]],
        gt_labels: list[Int64[Tensor, " _"]],
    ) -> RetinaNetLoss:
        """`retinanet_loss` of the batch, over the anchors of all levels together.

        Each image is matched by `match_anchors` with its default thresholds.
        """
        output, anchors = self(images)
        all_anchors = torch.cat(anchors)
        padded = nn.utils.rnn.pad_sequence(gt_boxes, batch_first=True)  # boxes of zeros, which have IoU 0
        ious = box_iou(padded.flatten(0, 1), all_anchors).unflatten(0, padded.shape[:2])
        matched_idxs = match_anchors(ious)
        cls_logits, box_deltas = torch.cat(output.cls_logits, dim=1), torch.cat(output.box_deltas, dim=1)
        return retinanet_loss(cls_logits, box_deltas, all_anchors, matched_idxs, gt_boxes, gt_labels)

    def detect(self, images: Float[Tensor, "B 3 H W"], **options) -> list[Detections]:
        """One `Detections` per image, by `postprocess_detections` with these `options`."""
        output, anchors = self(images)
        return [
            postprocess_detections(
                [logits[i] for logits in output.cls_logits],
                [deltas[i] for deltas in output.box_deltas],
                anchors,
                tuple(images.shape[2:]),
                **options,
            )
            for i in range(len(images))
        ]
