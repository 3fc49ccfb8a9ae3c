"""The full checks and dynamics in seconds, for `--short`."""

from katas.lab.checks.recorder import LossRecorder
from katas.lab.plugin.short import always, smaller
from katas.rl.given import dqn_recipe, recipes, sac_recipe

FEW = smaller(updates=2, rollout_steps=4, epochs=1)
MODULES = (recipes, dqn_recipe, sac_recipe, LossRecorder)
CHANGES = dict(
    SEEDS=(0,), EPISODES=10, MANY_CARTPOLES=50, CARTPOLE_PPO=FEW, ACROBOT_PPO=FEW, MANY_CARTPOLES_PPO=FEW,
    SHORT_PPO=FEW, CARTPOLE_REINFORCE=smaller(updates=2), MOUNTAIN_CAR_PPO=FEW, MOUNTAIN_CAR_SEEDS=1, HACK_UPDATES=2,
    OPTIONS=smaller(batch_size=8, learning_starts=8), STEPS=4, SHORT_STEPS=4, BATCH_SIZE=8, RANDOM_STEPS=2,
    MORE_SEEDS=(0,), WALK_STEPS=50, LOTTERY_STEPS=4, pendulum_return=always(episodes=50), every=1,
)  # fmt: skip
