"""batch_bald as the paper writes it: totals of joint entropies, point after point in Python, labels kept once drawn."""

import math

import torch

from solutions.active_learning.batch_bald import BatchBald


def _plogp(log_p):
    return log_p.exp() * torch.where(log_p > -math.inf, log_p, torch.zeros_like(log_p))


def joint_entropy(log_probs):
    members = torch.ones(1, log_probs.shape[1], dtype=log_probs.dtype, device=log_probs.device)
    for point in log_probs.exp():
        members = torch.einsum("mk,kc->mck", members, point).reshape(-1, members.shape[1])
    mean = members.mean(1)
    return -torch.sum(mean * torch.where(mean > 0, mean, torch.ones_like(mean)).log())


@torch.no_grad()
def batch_bald(log_probs, batch_size, *, max_configurations=100_000, generator=None):
    n, k, c = log_probs.shape
    if batch_size < 0 or batch_size > n:
        raise ValueError("batch_size")
    if max_configurations <= 0:
        raise ValueError("max_configurations")
    if not torch.all((log_probs.exp().sum(-1) - 1).abs() < 1e-3):
        raise ValueError("log_probs")
    if batch_size and c ** (batch_size - 1) > max_configurations and generator is None:
        raise ValueError("generator")
    own = -_plogp(log_probs).sum(-1).mean(-1)
    indices, gains, total, noise = [], [], 0.0, 0.0
    logs = log_probs.new_zeros(1, k)  # of every configuration, what each member says
    members, drawing = None, False
    while len(indices) < batch_size:
        best, best_total = None, None
        for point in range(n):
            if point in indices:
                continue
            joint = logs[:, :, None] + log_probs[point]  # (M, K, C)
            mean = joint.logsumexp(1) - math.log(k)
            if drawing:
                before = (logs.logsumexp(1) - math.log(k))[:, None]
                entropy = -((mean - before).exp() * torch.where(mean > -math.inf, mean, 0 * before)).sum(1).mean()
            else:
                entropy = -_plogp(mean).sum()
            information = entropy - noise - own[point]
            if best is None or information > best_total:
                best, best_total = point, information
        gains.append((best_total - total).clamp(min=0))
        total, noise = best_total, noise + own[best]
        indices.append(best)
        if len(indices) == batch_size:
            break
        if drawing or c ** len(indices) > max_configurations:
            if not drawing:
                members = torch.arange(max_configurations, device=log_probs.device) % k  # every member equally often
                members = members[torch.randperm(len(members), generator=generator, device=log_probs.device)]
                logs = log_probs.new_zeros(max_configurations, k)
            new = indices if not drawing else indices[-1:]
            drawing = True
            for point in new:
                labels = torch.multinomial(log_probs[point].exp()[members], 1, generator=generator)[:, 0]
                logs = logs + log_probs[point][:, labels].T
        else:
            logs = (logs[:, None, :] + log_probs[best].T[None]).reshape(-1, k)
    gains = torch.stack(gains) if gains else log_probs.new_empty(0)
    return BatchBald(torch.tensor(indices, dtype=torch.int64, device=log_probs.device), gains)
