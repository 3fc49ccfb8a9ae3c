"""The pictures of the README, drawn from the solutions. `python -m katas figures rl`"""

import torch

from katas.lab.checks.plots import new_figure, save
from katas.rl.gae import compute_gae
from katas.rl.returns import n_step_returns

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


FIGURES = {"time_limit.png": time_limit, "trade.png": trade}
