"""Gaussian splatting."""

# The topic's katas in learning order: the one list that everything else reads.
KATAS = (
    "rotations", "cameras", "projection", "spherical_harmonics", "compositing", "image_losses", "initialisation",
    "ply_io", "rasterizer", "tiles", "rendering", "image_training", "densification",
    "scene_training",
)  # fmt: skip
