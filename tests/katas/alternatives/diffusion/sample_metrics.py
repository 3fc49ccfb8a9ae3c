"""The metrics by broadcasting and scatterings; the Fréchet distance from complex eigenvalues of the product."""

import torch


def apart(a, b):
    return (a[:, None, :] - b[None, :, :]).square().sum(dim=2)


def need(least, **sets):
    for name in sets:
        if sets[name].shape[0] < least:
            raise ValueError(f"too few rows: {name}")


def energy_distance(x, y):
    need(1, x=x, y=y)
    both = torch.cat((x, y))
    weights = torch.cat((x.new_full((len(x),), 1 / len(x)), -y.new_full((len(y),), 1 / len(y))))
    return -(weights @ apart(both, both).sqrt() @ weights)


def gram(a, b, bandwidth):
    if bandwidth <= 0:
        raise ValueError("bandwidth")
    return (-0.5 * apart(a / bandwidth, b / bandwidth)).exp()


def mmd_rbf_biased(x, y, *, bandwidth):
    need(1, x=x, y=y)
    both = torch.cat((x, y))
    weights = torch.cat((x.new_full((len(x),), 1 / len(x)), -y.new_full((len(y),), 1 / len(y))))
    return weights @ gram(both, both, bandwidth) @ weights


def mmd_rbf_unbiased(x, y, *, bandwidth):
    need(2, x=x, y=y)
    inside = [gram(a, a, bandwidth).fill_diagonal_(0).sum(dim=1) / (len(a) - 1) for a in (x, y)]
    return inside[0].mean() + inside[1].mean() - 2 * gram(x, y, bandwidth).mean(dim=0).mean()


def frechet_distance(mean1, covariance1, mean2, covariance2):
    roots = torch.linalg.eigvals(covariance1 @ covariance2).real.clamp(min=0).sqrt()
    between = torch.dist(mean1, mean2) ** 2
    return between + (covariance1.diagonal() + covariance2.diagonal() - 2 * roots).sum()
