"""The whole detector: backbone, pyramid, head and anchors become one model; then it is trained and judged.

Nothing here is new mathematics. What can go wrong is order, mode and bookkeeping: anchors in the order of the
head's rows, frozen parts that stay frozen, a loss that is checked before it is trusted, an evaluation that
leaves the model as it was.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import torch
import torchvision
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torchvision.ops import FrozenBatchNorm2d

from .anchors import pyramid_anchors
from .average_precision import CocoMetrics, coco_average_precision
from .boxes import box_iou
from .fpn import FeaturePyramid
from .matching import match_anchors
from .postprocess import Detections, postprocess_detections
from .precision_recall import GroundTruth
from .retina_head import RetinaHead, RetinaHeadOutput
from .targets import RetinaNetLoss, retinanet_loss

# Of ImageNet, red, green, blue: torchvision's pretrained backbones expect images normalised by them.
IMAGE_MEAN = (0.485, 0.456, 0.406)
IMAGE_STD = (0.229, 0.224, 0.225)


class StepReport(NamedTuple):
    """What `train_detector` tells after a step: the parts of the loss before the update, the norm of the
    gradient before clipping, and the learning rate of the first parameter group."""

    step: int
    classification: float
    regression: float
    grad_norm: float
    learning_rate: float


class ResNetBackbone(nn.Module):
    """A torchvision ResNet without its classifier; gives the list of maps C3, C4, C5, at strides 8, 16, 32.

    `name` is a torchvision model such as "resnet18"; `weights` is what `torchvision.models.get_model` takes:
    None for random weights, "DEFAULT" for pretrained ones. `out_channels` lists the channels of the maps.

    Submodules are named as in torchvision (conv1, bn1, layer1, ..., layer4), so that the state dict is that
    of the torchvision model without `fc`. Every batch norm is a `torchvision.ops.FrozenBatchNorm2d`: a
    detector's batches are too small for good statistics. Of the five stages (conv1, layer1, ..., layer4) the
    first `frozen_stages` do not train: their parameters have `requires_grad` False.

    A `frozen_stages` outside 0 ... 5 is rejected with a ValueError that names it.
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
    """RetinaNet on any backbone: a module that maps images to a list of feature maps, from fine to coarse.

    `in_channels[l]` and `strides[l]` belong to map `l` of the backbone; the pyramid adds two levels, each of
    twice the stride of the one before. `anchor_sizes` has one size for each level of the pyramid
    (`len(in_channels) + 2`); None means four times the stride, as in the paper. `scales` and `aspect_ratios`
    are those of `pyramid_anchors`.

    Submodules: `backbone`, `pyramid` (a `FeaturePyramid` with `out_channels` channels) and `head` (a
    `RetinaHead`). Images are in [0, 1]; the backbone sees `(images - IMAGE_MEAN) / IMAGE_STD`, by channel.

    A number of `strides` other than that of `in_channels`, or of `anchor_sizes` other than that of levels, is
    rejected with a ValueError that names the argument.

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
        """The head's output for the batch, and for each level the anchors (H*W*A, 4) that its rows belong to.

        The anchors are `pyramid_anchors` of the levels' sizes, in the dtype and on the device of the images.
        """
        features = self.pyramid(self.backbone((images - self.mean) / self.std))
        sizes = [tuple(feature.shape[2:]) for feature in features]
        anchors = pyramid_anchors(
            sizes, self.strides, self.anchor_sizes, scales=self.scales, aspect_ratios=self.aspect_ratios
        )
        return self.head(features), [level.to(images) for level in anchors]

    def loss(
        self,
        images: Float[Tensor, "B 3 H W"],
        gt_boxes: list[Float[Tensor, "_ 4"]],
        gt_labels: list[Int64[Tensor, " _"]],
    ) -> RetinaNetLoss:
        """`retinanet_loss` of the batch, over the anchors of all levels together; each image is matched by
        `match_anchors` with its default thresholds."""
        output, anchors = self(images)
        all_anchors = torch.cat(anchors)
        matched_idxs = torch.stack([match_anchors(box_iou(boxes, all_anchors)) for boxes in gt_boxes])
        cls_logits, box_deltas = torch.cat(output.cls_logits, dim=1), torch.cat(output.box_deltas, dim=1)
        return retinanet_loss(cls_logits, box_deltas, all_anchors, matched_idxs, gt_boxes, gt_labels)

    def detect(self, images: Float[Tensor, "B 3 H W"], **options) -> list[Detections]:
        """One `Detections` for each image, by `postprocess_detections`, to which `options` are handed on.

        Gradients are not promised: under `torch.no_grad()`, as in `evaluate_detector`, none are recorded.
        """
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


def learning_rate_factor(step: int, *, warmup_steps: int, total_steps: int) -> float:
    """What the learning rate is multiplied by at `step` = 0 ... total_steps - 1.

    Linear warm-up, then half a cosine: `(step + 1) / warmup_steps` while `step < warmup_steps`; from then on
    `(1 + cos(pi * (step - warmup_steps) / (total_steps - warmup_steps))) / 2`. With `warmup_steps >= total_steps`
    all is warm-up, and the full rate may never be reached.
    """
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    return (1 + math.cos(math.pi * (step - warmup_steps) / (total_steps - warmup_steps))) / 2


def train_detector(
    model: nn.Module,
    loader: Iterable,
    optimizer: torch.optim.Optimizer,
    *,
    epochs: int,
    warmup_steps: int = 0,
    max_grad_norm: float = 10.0,
    on_step: Callable[[StepReport], None] | None = None,
    on_epoch: Callable[[int], None] | None = None,
) -> None:
    """Trains `model`, in place, on `epochs` passes over `loader`.

    `loader` has a length, can be iterated over again and again, and yields batches
    `(images, gt_boxes, gt_labels)`, as `model.loss` takes them; they are moved to the device of the model's
    parameters. What `model.loss` returns has a `classification` and a `regression`; the loss is their sum.

    Steps are counted from 0 over all epochs. At each step the learning rate of every parameter group, its "lr", is
    what it was at the call times `learning_rate_factor`, with `total_steps = epochs * len(loader)`; the gradient
    of this batch alone is scaled down to the norm `max_grad_norm`, over all parameters of the model together, if
    it is longer; then the optimizer steps. Between the steps the gradients of the parameters are not promised, nor
    are the learning rates after the last one: set "lr" anew before another call.

    The model is put in training mode at the start of each epoch, whatever the callbacks did to it.
    `on_step(report)` is called after each step and `on_epoch(epoch)`, from 0, after each epoch. An exception,
    Ctrl-C included, passes through and leaves the model as the last whole step made it; metrics and
    checkpoints that the callbacks have written until then are kept.

    A loss that is not finite raises a FloatingPointError that names the step and the values of both parts,
    before it changes the weights or the optimizer's `state`.
    """
    base_rates = [group["lr"] for group in optimizer.param_groups]
    total_steps, step = epochs * len(loader), 0
    for epoch in range(epochs):
        model.train()
        for batch in loader:
            factor = learning_rate_factor(step, warmup_steps=warmup_steps, total_steps=total_steps)
            for group, rate in zip(optimizer.param_groups, base_rates):
                group["lr"] = rate * factor
            report = _train_step(model, optimizer, _to_device_of(model, *batch), step, max_grad_norm)
            if on_step is not None:
                on_step(report)
            step += 1
        if on_epoch is not None:
            on_epoch(epoch)


def _train_step(model: nn.Module, optimizer, batch: tuple, step: int, max_grad_norm: float) -> StepReport:
    loss = model.loss(*batch)
    classification, regression = loss.classification.item(), loss.regression.item()
    if not (math.isfinite(classification) and math.isfinite(regression)):
        parts = f"classification {classification}, regression {regression}"
        raise FloatingPointError(f"the loss is not finite at step {step}: {parts}")
    model.zero_grad()  # not the optimizer's alone: the norm below is over all parameters
    (loss.classification + loss.regression).backward()
    grad_norm = nn.utils.clip_grad_norm_(model.parameters(), max_grad_norm)
    optimizer.step()
    return StepReport(step, classification, regression, grad_norm.item(), optimizer.param_groups[0]["lr"])


def _to_device_of(model: nn.Module, images: Tensor, gt_boxes: list[Tensor], gt_labels: list[Tensor]) -> tuple:
    device = next(model.parameters()).device
    return images.to(device), [b.to(device) for b in gt_boxes], [labels.to(device) for labels in gt_labels]


@torch.no_grad()
def evaluate_detector(model: nn.Module, loader: Iterable, **options) -> CocoMetrics:
    """`coco_average_precision` of `model.detect(images, **options)` over all batches of `loader`.

    Batches are those of `train_detector`, and moved likewise; no object is a crowd. Meanwhile the model is in
    evaluation mode and no gradient is recorded. Afterwards every module is in the mode in which it was, also if
    an exception passes through.
    """
    modes = [(module, module.training) for module in model.modules()]
    detections, truths = [], []
    model.eval()
    try:
        for batch in loader:
            images, gt_boxes, gt_labels = _to_device_of(model, *batch)
            detections += model.detect(images, **options)
            truths += [GroundTruth(boxes, labels) for boxes, labels in zip(gt_boxes, gt_labels)]
    finally:
        for module, training in modes:
            module.training = training
    return coco_average_precision(detections, truths)
