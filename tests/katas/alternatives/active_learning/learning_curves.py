"""learning_curves: library functions and Python loops, and order statistics instead of interpolated quantiles."""

import bisect
import math

import numpy as np
import torch

from solutions.active_learning.learning_curves import Interval


def rising(num_labels):
    rounds = num_labels.tolist()
    if not rounds or sorted(set(rounds)) != rounds:
        raise ValueError(f"num_labels: {rounds}")
    return rounds


def area_under_learning_curve(num_labels, scores):
    rounds = rising(num_labels)
    if len(rounds) == 1:
        return scores.mean(-1)
    area = np.trapezoid(scores.numpy(force=True).astype(np.float64) if scores.dtype != torch.bfloat16 else
                        scores.double().numpy(force=True), x=np.array(rounds, dtype=np.float64), axis=-1)  # fmt: skip
    return torch.as_tensor(area / (rounds[-1] - rounds[0])).to(scores)


def labels_to_reach(num_labels, scores, target):
    rounds, goal = rising(num_labels), torch.tensor(target, dtype=scores.dtype).item()
    needed = []
    for run in scores.reshape(-1, len(rounds)).tolist():
        best = [max(run[: r + 1]) for r in range(len(rounds))]
        r = bisect.bisect_left(best, goal)
        if r == len(rounds):
            needed.append(math.inf)
        elif r == 0:
            needed.append(rounds[0])
        else:
            needed.append(float(np.interp(goal, run[r - 1 : r + 1], rounds[r - 1 : r + 1])))
    return torch.tensor(needed, dtype=torch.float64).reshape(scores.shape[:-1]).to(scores)


def paired_bootstrap(a, b, *, num_resamples=10_000, confidence=0.95, generator):
    for name, fine in {"a": len(a) > 1, "num_resamples": num_resamples > 0, "confidence": 0 < confidence < 1}.items():
        if not fine:
            raise ValueError(name)
    chances = torch.full((num_resamples, len(a)), 1 / len(a), device=generator.device)
    drawn = torch.multinomial(chances, len(a), replacement=True, generator=generator).to(a.device)
    difference = a.double() - b.double()
    means = (a.double()[drawn] - b.double()[drawn]).mean(1).sort().values
    low = math.floor((1 - confidence) / 2 * num_resamples)
    return Interval(difference.mean().to(a), means[low].to(a), means[num_resamples - 1 - low].to(a))
