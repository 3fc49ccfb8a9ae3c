"""loop, with a heap for the best scores and the purchases planned before the first round."""

import heapq
import itertools

import torch

from solutions.active_learning.loop import Round


def top_scores(scores, count):
    numbers = scores.tolist()
    if count not in range(len(numbers) + 1):
        raise ValueError("count")
    if any(number != number for number in numbers):
        raise ValueError("scores")
    best = heapq.nsmallest(count, range(len(numbers)), key=lambda position: (-numbers[position], position))
    return torch.tensor(best, dtype=torch.int64, device=scores.device)


def active_learning_loop(pool, *, fit, acquire, evaluate, batch_size, budget, generator, on_round=None):
    start = pool.labelled.numel()
    reasons = {"pool": start < 1, "budget": budget > start + pool.unlabelled.numel(), "batch_size": batch_size < 1}
    for name in itertools.compress(reasons, reasons.values()):
        raise ValueError(name)
    spent = [*range(start, budget, batch_size), max(start, budget)]

    def one_round(num_labels, then):
        model = fit(pool.labelled, pool.labels)
        score = evaluate(model)
        bought = []
        if then > num_labels:
            positions = acquire(model, pool.unlabelled, then - num_labels, generator)
            if positions.numel() != then - num_labels:
                raise ValueError("acquire")
            bought = pool.buy(positions).tolist()
        done = Round(num_labels, float(score), tuple(bought))
        if on_round and bought:
            on_round(done)
        return done

    return [one_round(*pair) for pair in itertools.pairwise([*spent, spent[-1]])]
