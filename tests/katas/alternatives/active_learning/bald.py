"""bald from probabilities, and the information as a mean of Kullback-Leibler divergences."""

import torch


def _probs(log_probs):
    probs = log_probs.exp()
    if not torch.all((probs.sum(-1) - 1).abs() < 1e-3):
        raise ValueError("log_probs")
    return probs


def _plogq(p, log_q):
    return p * torch.where(p > 0, log_q, torch.zeros_like(log_q))


def _log_mean(p):
    mean = p.mean(dim=1)
    return torch.where(mean > 0, mean, torch.ones_like(mean)).log()


def predictive_entropy(log_probs):
    p = _probs(log_probs)
    return -_plogq(p.mean(dim=1), _log_mean(p)).sum(-1)


def expected_entropy(log_probs):
    p = _probs(log_probs)
    per_member = [-_plogq(p[:, k], log_probs[:, k]).sum(-1) for k in range(p.shape[1])]
    return torch.stack(per_member).mean(0)


def mutual_information(log_probs):
    p = _probs(log_probs)
    ratio = torch.where(p > 0, log_probs, torch.zeros_like(log_probs)) - _log_mean(p).unsqueeze(1)
    return torch.nn.functional.relu(_plogq(p, ratio).sum(-1).mean(1))
