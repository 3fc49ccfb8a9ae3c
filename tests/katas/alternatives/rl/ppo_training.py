"""ppo_training with a rollout that is filled row by row, and lists of rows instead of masks."""

import math

import torch
from torch.distributions import Categorical

from solutions.rl.gae import compute_gae
from solutions.rl.ppo_training import PPOReport, Rollout


@torch.no_grad()
def collect_rollout(model, envs, observations, resets, *, steps, generator):
    if steps <= 0:
        raise ValueError("steps")
    columns = {name: [] for name in Rollout._fields}
    for _ in range(steps):
        logits, values = model(observations)
        policy = Categorical(logits=logits)
        draws = torch.rand(len(logits), 1, generator=generator, dtype=logits.dtype, device=logits.device)
        actions = (policy.probs.cumsum(dim=1) < draws).sum(dim=1).clamp(max=logits.shape[1] - 1)
        result = envs.step(actions)
        row = dict(observations=observations, actions=actions, log_probs=policy.log_prob(actions), values=values)
        row |= dict(rewards=result.rewards, terminated=result.terminated, truncated=result.truncated)
        row |= dict(next_values=model(result.observations).values, valid=resets.logical_not())
        for name, part in row.items():
            columns[name].append(part)
        observations, resets = result.observations, result.terminated.logical_or(result.truncated)
    return Rollout(**{name: torch.stack(parts) for name, parts in columns.items()}), observations, resets


def train_ppo(
    model, envs, optimizer, *, updates, generator, first_update=0, rollout_steps=128, epochs=4, minibatch_size=256,
    gamma=0.99, gae_lambda=0.95, clip_range=0.2, value_clip_range=math.inf, value_coefficient=0.5,
    entropy_coefficient=0.0, max_grad_norm=0.5, normalise=True, on_update=None,
):  # fmt: skip
    if envs.num_actions is None:
        raise ValueError("envs")
    for name, number in (("clip_range", clip_range), ("minibatch_size", minibatch_size)):
        if number <= 0:
            raise ValueError(name)
    state = envs.reset(), None
    state = state[0], torch.zeros(envs.num_envs, dtype=torch.bool, device=state[0].device)
    for update in range(first_update, updates):
        r, *state = collect_rollout(model, envs, *state, steps=rollout_steps, generator=generator)
        found = compute_gae(
            r.rewards, r.values, r.next_values, r.terminated, r.truncated, gamma=gamma, gae_lambda=gae_lambda
        )  # fmt: skip
        rows = r.valid.flatten().nonzero()[:, 0]
        seen = r.observations.flatten(0, 1)
        flat = {name: getattr(r, name).flatten() for name in ("actions", "log_probs", "values")}
        advantages, returns = found.advantages.flatten(), found.returns.flatten()
        kept = advantages[rows]
        if not normalise:
            kept = torch.tensor([-1.0, 1.0], dtype=kept.dtype, device=kept.device)  # mean 0, deviation 1
        advantages = (advantages - kept.mean()) / (kept.var(correction=0).sqrt() + (1e-8 if normalise else 0))
        told = []
        for _ in range(epochs if len(rows) else 0):
            order = rows[torch.rand(len(rows), generator=generator, device=rows.device).argsort()]
            for i in order.split(minibatch_size):
                logits, values = model(seen[i])
                policy = Categorical(logits=logits)
                moved = policy.log_prob(flat["actions"][i]) - flat["log_probs"][i]
                ratio, gain = moved.exp(), advantages[i]
                policy_loss = torch.maximum(-ratio * gain, -ratio.clamp(1 - clip_range, 1 + clip_range) * gain).mean()
                step = torch.clamp(values - flat["values"][i], -value_clip_range, value_clip_range)
                errors = torch.stack([values - returns[i], flat["values"][i] + step - returns[i]]).square()
                value_loss = errors.amax(dim=0).mean() / 2
                entropy = policy.entropy().mean()
                loss = policy_loss + value_coefficient * value_loss - entropy_coefficient * entropy
                if not loss.isfinite():
                    raise FloatingPointError(f"update {update}")
                optimizer.zero_grad()
                for parameter in model.parameters():
                    parameter.grad = None
                loss.backward()
                torch.nn.utils.clip_grad_norm_(model.parameters(), max_grad_norm)
                optimizer.step()
                told.append([policy_loss.item(), value_loss.item(), entropy.item(), (ratio - 1 - moved).mean().item()])
        if on_update:
            columns = zip(*told, strict=True) if told else [[math.nan]] * 4
            on_update(PPOReport(update, *(sum(column) / len(column) for column in columns)))
