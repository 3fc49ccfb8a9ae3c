"""Diffusion: from noise schedules to a trained, guided model of digits."""

# The topic's katas in learning order: the one list that everything else reads.
KATAS = (
    "schedules",
    "forward_process",
    "time_embedding",
    "parametrization",
    "objective",
    "min_snr",
    "posterior",
    "ddpm",
    "ddim",
    "guidance",
    "ema",
    "unet",
    "sample_metrics",
    "flow_matching",
    "training",
)
