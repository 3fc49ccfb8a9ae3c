"""Active learning."""

# The topic's katas in learning order: the one list that everything else reads.
KATAS = (
    "uncertainty",
    "bald",
    "batch_bald",
    "diversity",
    "detection_scores",
    "calibration",
    "pool",
    "loop",
    "learning_curves",
)
