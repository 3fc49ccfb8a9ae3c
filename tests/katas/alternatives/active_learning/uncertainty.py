"""uncertainty from probabilities in float64, with a sort and scipy's habit of xlogy."""

import torch


def _checked(log_probs):
    probs = log_probs.double().exp()
    total = probs.sum(dim=-1)
    allowed = max(1e-3, 8 * torch.finfo(log_probs.dtype).eps)
    if torch.any(torch.isnan(log_probs)) or torch.any(torch.abs(total - 1) > allowed):
        raise ValueError("log_probs: every row must be the log_softmax of something")
    return log_probs.double()


def least_confidence(log_probs):
    best = _checked(log_probs).sort(dim=-1, descending=True).values[..., 0]
    return (-torch.special.expm1(best)).to(log_probs.dtype)


def margin(log_probs):
    ordered = _checked(log_probs).sort(dim=-1, descending=True).values
    if ordered.shape[-1] == 1:
        return 0 * log_probs.sum(dim=-1)
    return (ordered[..., 1].exp() - ordered[..., 0].expm1()).to(log_probs.dtype)


def entropy(log_probs):
    checked = _checked(log_probs)
    possible = checked > -torch.inf
    safe = torch.where(possible, checked, torch.ones_like(checked))
    terms = torch.where(possible, torch.exp(safe) * safe, torch.zeros_like(safe))
    return terms.sum(dim=-1).neg().to(log_probs.dtype)
