"""Reinforcement learning: returns and advantages, where episodes end or are stopped."""

# The topic's katas in learning order: the one list that everything else reads.
KATAS = (
    "returns",
    "gae",
)
