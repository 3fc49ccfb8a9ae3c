"""Guidance with the two answers of a sample side by side, unconditional first; labels dropped one by one."""

import torch


def drop_labels(labels, null_label, drop_probability, *, generator):
    if drop_probability < 0 or drop_probability > 1:
        raise ValueError("drop_probability")
    chances = torch.full(labels.shape, float(drop_probability), dtype=torch.float64, device=labels.device)
    result = labels.clone()
    result[torch.bernoulli(chances, generator=generator).bool()] = null_label
    return result


def guided_noise(model, x, t, labels, *, scale, null_label):
    both = torch.stack((torch.full_like(labels, null_label), labels), dim=1).flatten()
    answers = model(x.repeat_interleave(2, dim=0), t.repeat_interleave(2), both)
    return (1 - scale) * answers[0::2] + scale * answers[1::2]
