"""Reinforcement learning: returns, advantages, policies as distributions, running statistics."""

# The topic's katas in learning order: the one list that everything else reads.
KATAS = (
    "returns",
    "gae",
    "distributions",
    "running_stats",
    "reinforce",
    "dqn",
    "ppo",
    "sac",
    "evaluation",
)
