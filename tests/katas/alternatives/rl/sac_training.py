"""sac_training in one loop: critics frozen for the actor's step, losses by nn.functional, means of Python numbers."""

import torch
from torch.nn import functional as F

from solutions.rl.sac import squashed_gaussian_sample
from solutions.rl.sac_training import SACReport


def train_sac(
    actor, critics, target_critics, log_temperature, envs, buffer, *, actor_optimizer, critic_optimizer,
    temperature_optimizer, steps, generator, first_step=0, batch_size=256, gamma=0.99, tau=0.005, random_steps=1000,
    updates_per_step=1, target_entropy=None, on_step=None,
):  # fmt: skip
    if envs.action_size is None:
        raise ValueError("envs")
    if batch_size < 1 or batch_size > buffer.memory.terminated.numel():
        raise ValueError("batch_size")
    for name, wrong in (("updates_per_step", updates_per_step < 1), ("gamma", abs(gamma - 0.5) > 0.5)):
        if wrong:
            raise ValueError(name)
    if tau < 0 or tau > 1:
        raise ValueError("tau")
    wanted = float(-envs.action_size if target_entropy is None else target_entropy)
    before, ended = envs.reset(), None
    for step in range(first_step, steps):
        with torch.no_grad():
            if step >= random_steps:
                actions = squashed_gaussian_sample(*actor(before), generator=generator)[0]
            else:
                shape = (len(before), envs.action_size)
                uniform = torch.rand(shape, generator=generator, dtype=before.dtype, device=before.device)
                actions = 1 - 2 * uniform
        after, rewards, terminated, truncated = envs.step(envs.action_limit * actions)
        buffer.add(before, actions, rewards, after, terminated, valid=None if ended is None else ended.logical_not())
        before, ended = after, torch.logical_or(terminated, truncated)
        report = []
        while len(buffer) >= batch_size and len(report) < updates_per_step:
            observations, old, rewards, ahead, terminated = buffer.sample(batch_size, generator=generator)
            temperature = log_temperature.exp().item()
            with torch.no_grad():
                new, log_probs = squashed_gaussian_sample(*actor(ahead), generator=generator)
                worth = torch.stack(target_critics(ahead, new)).amin(dim=0) - temperature * log_probs
                targets = rewards + gamma * worth * (~terminated)
            judged = critics(observations, old)
            critic_loss = sum(F.mse_loss(q, targets.to(q)) for q in judged)
            checked(critic_loss, step)
            critic_optimizer.zero_grad(set_to_none=False)
            critic_loss.backward()
            critic_optimizer.step()

            for parameter in critics.parameters():
                parameter.requires_grad_(False)
            new, log_probs = squashed_gaussian_sample(*actor(observations), generator=generator)
            actor_loss = temperature * log_probs.mean() - torch.minimum(*critics(observations, new)).mean()
            for parameter in critics.parameters():
                parameter.requires_grad_(True)
            checked(actor_loss, step)
            actor_optimizer.zero_grad()
            actor_loss.backward()
            actor_optimizer.step()

            entropy = -log_probs.mean().item()
            if temperature_optimizer is not None:
                temperature_optimizer.zero_grad()
                (log_temperature.exp() * (entropy - wanted)).backward()
                temperature_optimizer.step()
            with torch.no_grad():
                for slow, fast in zip(target_critics.parameters(), critics.parameters(), strict=True):
                    slow.mul_(1 - tau).add_(fast, alpha=tau)
            report.append((critic_loss.item(), actor_loss.item(), temperature, entropy))
        if on_step is not None:
            nothing = [float("nan")] * 4
            on_step(SACReport(step, *([sum(c) / len(report) for c in zip(*report, strict=True)] or nothing)))


def checked(loss, step):
    if not torch.isfinite(loss):
        raise FloatingPointError(f"step {step}: {loss}")
