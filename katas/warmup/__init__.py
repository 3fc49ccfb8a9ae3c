"""Warm-up: PyTorch at your fingertips, from broadcasting to a training loop that resumes to the bit."""

# The topic's katas in learning order: the one list that everything else reads.
KATAS = (
    "tensors",
    "cross_entropy",
    "metrics",
    "initialisation",
    "batch_norm",
    "optimizers",
    "clipping",
    "lr_schedules",
    "augmentation",
    "resnet",
    "checkpoint",
    "debugging",
    "training",
)
