"""ppo by cases: where the clip takes the gain away, and a pile of indices dealt out one minibatch after another."""

import torch


def clipped_policy_loss(log_probs, old_log_probs, advantages, *, clip_range=0.2):
    if clip_range <= 0:
        raise ValueError("clip_range")
    if len(log_probs) == 0:
        return log_probs.sum()
    ratio = (log_probs - old_log_probs.detach().to(log_probs)).exp()
    gain = advantages.detach().to(log_probs)
    limit = torch.where(gain > 0, 1 + clip_range, 1 - clip_range).to(ratio)
    spent = torch.where(gain > 0, ratio > limit, ratio < limit)
    return (torch.where(spent, limit, ratio) * gain).mean().neg()


def clipped_value_loss(values, old_values, returns, *, clip_range=0.2):
    if clip_range <= 0:
        raise ValueError("clip_range")
    losses = []
    for new, old, wanted in zip(values, old_values.detach().to(values), returns.detach().to(values), strict=True):
        clipped = torch.min(torch.max(new, old - clip_range), old + clip_range)
        losses.append(0.5 * torch.max((new - wanted) ** 2, (clipped - wanted) ** 2))
    return sum(losses) / len(losses) if losses else values.sum()


def approximate_kl(log_probs, old_log_probs):
    moved = (log_probs.detach() - old_log_probs.detach().to(log_probs)).double()
    mean = torch.cat([moved.new_zeros(1), moved.exp() - 1 - moved]).sum() / max(len(moved), 1)
    return mean.to(log_probs)


def minibatches(num_samples, minibatch_size, *, epochs, generator):
    if minibatch_size < 1:
        raise ValueError("minibatch_size")
    if epochs < 1:
        raise ValueError("epochs")
    dealt = []
    for _ in range(epochs):
        keys = torch.rand(num_samples, generator=generator, device=generator.device, dtype=torch.float64)
        order = keys.argsort()
        dealt += [order[start : start + minibatch_size] for start in range(0, num_samples, minibatch_size)]
    return iter(dealt)
