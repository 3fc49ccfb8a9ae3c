"""diversity in numpy: center by center, and a sum of probabilities instead of a multinomial draw."""

import numpy as np
import torch


def _numbers(tensor):
    return tensor.detach().double().numpy()


def _checked(budget, rows):
    if budget < 0 or budget > len(rows):
        raise ValueError(f"budget of {budget} for {len(rows)} rows")


def k_center_greedy(features, labelled, budget):
    rows, chosen = _numbers(features), []
    _checked(budget, rows)
    gaps = np.full(len(rows), np.inf)
    for center in _numbers(labelled):
        gaps = np.minimum(gaps, np.linalg.norm(rows - center, axis=1))
    while len(chosen) < budget:
        left = np.flatnonzero(~np.isin(np.arange(len(rows)), chosen))
        chosen.append(int(left[np.argmax(gaps[left])]))
        gaps = np.minimum(gaps, np.linalg.norm(rows - rows[chosen[-1]], axis=1))
    return torch.tensor(chosen, dtype=torch.int64, device=features.device)


def badge_embeddings(log_probs, features):
    probs, classes = log_probs.detach().exp(), log_probs.shape[1]
    blocks = []
    for c in range(classes):
        error = probs[:, c] - (log_probs.argmax(1) == c).to(probs)
        blocks.append(error[:, None] * features.detach())
    return torch.cat(blocks, 1).to(log_probs.dtype)


def kmeans_plus_plus(points, budget, *, generator):
    rows, chosen = _numbers(points), []
    _checked(budget, rows)
    squares = None
    while len(chosen) < budget:
        left = np.flatnonzero(~np.isin(np.arange(len(rows)), chosen))
        weights = np.ones(len(left)) if squares is None or squares[left].max() == 0 else squares[left]
        draw = torch.rand((), generator=generator, dtype=torch.float64, device=generator.device).item()
        summed = np.cumsum(weights / weights.sum())
        chosen.append(int(left[min(np.searchsorted(summed, draw * summed[-1], side="right"), len(left) - 1)]))
        fresh = ((rows - rows[chosen[-1]]) ** 2).sum(1)
        squares = fresh if squares is None else np.minimum(squares, fresh)
    return torch.tensor(chosen, dtype=torch.int64, device=points.device)
