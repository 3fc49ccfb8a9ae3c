"""The pictures of the README, drawn from the solutions. `python -m katas figures rl`"""

import torch

from katas.lab.checks.plots import new_figure, save
from katas.rl.cartpole import VectorCartPole
from katas.rl.distributions import tanh_gaussian_log_prob
from katas.rl.dqn import double_dqn_target, td_target
from katas.rl.gae import compute_gae
from katas.rl.given import recipes
from katas.rl.ppo import clipped_policy_loss
from katas.rl.returns import n_step_returns
from katas.rl.reward_shaping import value_iteration

GREEN, RED, GREY, BLUE, AMBER = "#1a9850", "#d73027", "#999999", "#2166ac", "#e08214"


def dressed(axis, title: str, xlabel: str) -> None:
    axis.set_title(title, fontsize=8)
    axis.set_xlabel(xlabel, fontsize=7)
    axis.tick_params(labelsize=6)
    axis.grid(alpha=0.3)
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(fontsize=6, frameon=False)


def time_limit(path) -> None:
    """A reward of 1 a step for ever, stopped after 30 steps: what the last steps are worth."""
    figure, (axis,) = new_figure(1, 1, size=(4.4, 2.2))
    rewards, values = torch.ones(30), torch.full((30,), 10.0)
    never, last = torch.zeros(30, dtype=torch.bool), torch.arange(30) == 29
    for name, ends, color in (("truncated", (never, last), GREEN), ("taken for terminated", (last, never), RED)):
        axis.plot(n_step_returns(rewards, values, *ends, gamma=0.9, n=30), color=color, label=name)
    axis.set_ylim(0, 11)
    dressed(axis, "return of each step, reward 1, γ = 0.9: the truth is 10", "step of the episode")
    save(figure, path)


def trade(path) -> None:
    """The weights of the residuals ahead, and what lambda trades: bias against spread."""
    figure, (weights, errors) = new_figure(1, 2, size=(3.4, 2.2))
    for gae_lambda, color in ((0.0, RED), (0.8, AMBER), (0.95, GREEN), (1.0, BLUE)):
        weights.plot([(0.99 * gae_lambda) ** k for k in range(40)], color=color, label=f"λ = {gae_lambda:g}")
    dressed(weights, "weight of the residual k steps ahead", "k")
    lambdas = torch.linspace(0, 1, 21)
    first = torch.stack([first_advantages(float(number)) for number in lambdas])
    errors.plot(lambdas, first.mean(dim=1).abs(), color=RED, label="bias")
    errors.plot(lambdas, first.std(dim=1), color=BLUE, label="standard deviation")
    dressed(errors, "the first step's advantage, whose truth is 0", "λ")
    save(figure, path)


def first_advantages(gae_lambda: float) -> torch.Tensor:
    """Of 4,000 episodes of 60 noisy rewards of mean 1. The value function is 2 too high at the first ten steps."""
    left = torch.arange(60, 0, -1.0)
    truth = (1 - 0.99**left) / 0.01
    values = (truth + 2.0 * (torch.arange(60) < 10))[:, None].expand(60, 4000)
    next_values = torch.cat([values[1:], torch.zeros(1, 4000)])
    rewards = 1 + torch.randn(60, 4000, generator=torch.Generator().manual_seed(0))
    terminated = (torch.arange(60) == 59)[:, None].expand(60, 4000)
    ends = terminated, torch.zeros_like(terminated)
    got = compute_gae(rewards, values, next_values, *ends, gamma=0.99, gae_lambda=gae_lambda)
    return got.advantages[0] + 2.0  # against the true value of the first step


def clip(path) -> None:
    """The loss of one sample as the ratio moves away from 1."""
    figure, axes = new_figure(1, 2, size=(3.0, 2.2))
    ratios, old = torch.linspace(0.4, 1.6, 121), torch.zeros(1)
    for axis, advantage, title in zip(axes, (1.0, -1.0), ("a good action", "a bad action"), strict=True):
        losses = [clipped_policy_loss(r.log()[None], old, torch.tensor([advantage])) for r in ratios]
        axis.plot(ratios, losses, color=GREEN if advantage > 0 else RED, label="clipped loss")
        axis.plot(ratios, -ratios * advantage, color=GREY, linestyle="--", linewidth=0.9, label="without the clip")
        dressed(axis, title, "new probability ÷ old probability")
    save(figure, path)


def overestimation(path) -> None:
    """K actions, all worth 0, judged with noise of standard deviation 1."""
    figure, (axis,) = new_figure(1, 1, size=(4.4, 2.2))
    counts, never, nothing = range(1, 17), torch.zeros(20_000, dtype=torch.bool), torch.zeros(20_000)
    generator = torch.Generator().manual_seed(0)
    one, two = [], []
    for actions in counts:
        online, target = torch.randn(2, 20_000, actions, generator=generator)
        one.append(float(td_target(nothing, target, never, gamma=1.0).mean()))
        two.append(float(double_dqn_target(nothing, online, target, never, gamma=1.0).mean()))
    axis.plot(counts, one, color=RED, marker="o", markersize=3, label="the largest value of one network")
    axis.plot(counts, two, color=GREEN, marker="o", markersize=3, label="one chooses, the other says what it is worth")
    dressed(axis, "mean target; the truth is 0", "number of actions")
    save(figure, path)


def squashed(path) -> None:
    """The density of tanh(u) for Gaussians of three widths."""
    figure, (axis,) = new_figure(1, 1, size=(4.4, 2.2))
    actions = torch.linspace(-0.999, 0.999, 400)
    for log_std, color in ((-1.5, BLUE), (-0.5, GREEN), (0.5, RED)):
        numbers = torch.full((400, 1), 0.3), torch.full((1, 1), log_std), actions.atanh()[:, None]
        axis.plot(actions, tanh_gaussian_log_prob(*numbers).exp(), color=color, label=f"log_std = {log_std:g}")
    axis.set_ylim(0, 2.5)
    dressed(axis, "density of the action tanh(u), mean of u 0.3", "action")
    save(figure, path)


def shaping(path) -> None:
    """A corridor of eight cells, left or right, and an exit that pays 1: a bonus of 0.3 at cell 4, or a potential."""
    cells, gamma = 8, 0.9
    probs, rewards = torch.zeros(cells + 1, 2, cells + 1), torch.zeros(cells + 1, 2)
    for cell in range(cells):
        probs[cell, 0, max(cell - 1, 0)] = probs[cell, 1, cell + 1] = 1
    rewards[cells - 1, 1], probs[cells, :, cells] = 1, 1
    terminal = torch.arange(cells + 1) == cells
    arrived, potential = probs.argmax(dim=2), torch.zeros(cells + 1)
    potential[4] = 0.3
    moved = gamma * potential[arrived] - potential[:, None]
    figure, (axis,) = new_figure(1, 1, size=(4.4, 2.2))
    for name, extra, color in (
        ("plain", 0, GREY), ("a bonus", potential[arrived], RED), ("a potential", moved, GREEN),
    ):  # fmt: skip
        q = value_iteration(probs, rewards + extra, terminal, gamma=gamma).q_values[:cells]
        width = 4 if name == "plain" else 1.5  # the potential lies upon it
        axis.plot(range(cells), q[:, 1] - q[:, 0], color=color, marker="o", markersize=3, linewidth=width, label=name)
    axis.axhline(0, color="black", linewidth=0.6)
    dressed(axis, "how much better the step to the exit is", "cell; the exit is beyond cell 7")
    save(figure, path)


def run(path) -> None:
    """PPO on 1,024 CartPoles in tensors, three seeds."""
    figure, (axis,) = new_figure(1, 1, size=(4.4, 2.2))
    curves = []
    for seed in range(3):
        envs = VectorCartPole(1024, generator=torch.Generator().manual_seed(seed))
        options = dict(updates=20, epochs=8, minibatch_size=4096)
        curves.append(recipes.short_ppo(envs, seed, "cpu", **options)[1])
    low, *_, high = torch.tensor(curves).sort(dim=0).values
    axis.fill_between(range(20), low, high, color=GREEN, alpha=0.25, linewidth=0, label="PPO, three seeds")
    axis.plot(torch.tensor(curves).median(dim=0).values, color=GREEN, label="their median")
    dressed(axis, "mean return of the episodes that ended in an update", "update (32,768 steps each)")
    save(figure, path)


FIGURES = {
    "time_limit.png": time_limit, "trade.png": trade, "clip.png": clip, "overestimation.png": overestimation,
    "squashed.png": squashed, "shaping.png": shaping, "run.png": run,
}  # fmt: skip
