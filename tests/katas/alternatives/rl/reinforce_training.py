"""reinforce_training with returns episode by episode: lists of steps, and a loss for each."""

import math

import torch
from torch.distributions import Categorical

from solutions.rl.reinforce_training import Episodes, ReinforceReport


@torch.no_grad()
def play_episodes(model, envs, *, generator):
    observations, plays, columns = envs.reset(), None, [[] for _ in Episodes._fields]
    while plays is None or bool(plays.any()):
        plays = torch.ones(len(observations), dtype=torch.bool, device=observations.device) if plays is None else plays
        policy = Categorical(logits=model(observations).logits)
        chances = torch.rand(len(observations), 1, generator=generator, device=observations.device, dtype=torch.float64)
        actions = (policy.probs.cumsum(dim=1) < chances).sum(dim=1).clamp(max=policy.probs.shape[1] - 1)
        step = envs.step(actions)
        row = (observations, actions, step.rewards, step.observations, step.terminated, step.truncated, plays)
        for column, part in zip(columns, row, strict=True):
            column.append(part)
        observations, plays = step.observations, plays * ~step.terminated * ~step.truncated
    return Episodes(*(torch.stack(column) for column in columns))


def train_reinforce(
    model, envs, optimizer, *, updates, generator, first_update=0, gamma=0.99, value_coefficient=0.5,
    entropy_coefficient=0.0, max_grad_norm=math.inf, on_update=None,
):  # fmt: skip
    if envs.num_actions is None:
        raise ValueError("envs")
    if not 0 <= gamma <= 1:
        raise ValueError("gamma")
    for update in range(first_update, updates):
        played = play_episodes(model, envs, generator=generator)
        policy_losses, errors, entropies, earned = [], [], [], []
        (logits, values), shape = model(played.observations.flatten(0, 1)), played.mask.shape
        with torch.no_grad():
            after = model(played.next_observations.flatten(0, 1))[1].unflatten(0, shape) * ~played.terminated
        policy, values = Categorical(logits=logits.unflatten(0, shape), validate_args=False), values.unflatten(0, shape)
        log_probs, uncertainty = policy.log_prob(played.actions), policy.entropy()
        for e, length in enumerate(played.mask.sum(dim=0).tolist()):
            following, returns = after[length - 1, e], []
            for reward in played.rewards[:length, e].flip(0):
                following = reward + gamma * following
                returns.append(following)
            errors.append(torch.stack(returns[::-1]) - values[:length, e])
            policy_losses.append(-(log_probs[:length, e] * errors[-1].detach()).sum())
            entropies.append(uncertainty[:length, e])
            earned.append(played.rewards[:length, e].sum())
        parts = [torch.stack(policy_losses).mean(), torch.cat(errors).square().mean() / 2, torch.cat(entropies).mean()]
        loss = parts[0] + value_coefficient * parts[1] - entropy_coefficient * parts[2]
        if not loss.isfinite():
            raise FloatingPointError(f"update {update}")
        for parameter in model.parameters():
            parameter.grad = None
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), max_grad_norm)
        optimizer.step()
        if on_update:
            on_update(ReinforceReport(update, float(sum(earned) / len(earned)), *map(float, parts)))
