"""Reinforcement learning: returns and advantages, policies and values, environments in tensors, training loops."""

# The topic's katas in learning order: the one list that everything else reads.
KATAS = (
    "returns",
    "gae",
    "distributions",
    "running_stats",
    "reinforce",
    "replay_buffer",
    "dqn",
    "ppo",
    "reward_shaping",
    "cartpole",
    "sac",
    "pendulum",
    "evaluation",
    "reinforce_training",
    "dqn_training",
    "ppo_training",
    "sac_training",
    "checkpoints",
)
