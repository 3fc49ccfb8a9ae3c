"""Object detection: from boxes to a trained RetinaNet."""

# The topic's katas in learning order: the one list that everything else reads.
KATAS = (
    "boxes",
    "augmentation",
    "anchors",
    "box_coding",
    "matching",
    "focal_loss",
    "box_losses",
    "targets",
    "nms",
    "fpn",
    "retina_head",
    "postprocess",
    "retinanet",
    "precision_recall",
    "average_precision",
    "training",
)
