"""With a scheduler of torch, fused names, and a loss of one image written out."""

import torch

from katas.splatting.given.gaussians import Gaussians
from solutions.splatting.image_losses import photometric_loss
from solutions.splatting.image_training import ImageReport
from solutions.splatting.rendering import render


def adam_for(gaussians, learning_rates):
    if sorted(learning_rates) != sorted(Gaussians._fields):
        raise ValueError("learning_rates")
    leaves, groups = {}, []
    for name in Gaussians._fields:
        leaves[name] = torch.empty_like(getattr(gaussians, name), requires_grad=True)
        with torch.no_grad():
            leaves[name].copy_(getattr(gaussians, name))
        groups.append(dict(params=leaves[name], lr=learning_rates[name], name=name))
    return Gaussians(**leaves), torch.optim.Adam(groups, lr=1.0, betas=(0.9, 0.999), eps=1e-15, foreach=False)


def checked_loss(image, target, *, step, lambda_dssim=0.2):
    loss = photometric_loss(*(x.movedim(-1, 0).unsqueeze(0) for x in (image, target)), lambda_dssim=lambda_dssim).sum()
    if loss.isnan() or loss.isinf():
        raise FloatingPointError(f"step {step}: loss {loss}")
    return loss


def fit_image(
    gaussians, view, *, steps, learning_rates, background, final_lr=0.01, lambda_dssim=0.2, callback=lambda report: None
):
    if not (final_lr > 0 and final_lr <= 1):
        raise ValueError("final_lr")
    if steps < 0:
        raise ValueError("steps")
    leaves, optimizer = adam_for(gaussians, learning_rates)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: final_lr ** (step / max(steps, 1)))
    for step in range(1, steps + 1):
        size = view.image.shape[1], view.image.shape[0]
        loss = checked_loss(
            render(leaves, view.viewmat, view.K, *size, background=background).image,
            view.image, step=step, lambda_dssim=lambda_dssim,
        )  # fmt: skip
        for leaf, gradient in zip(leaves, torch.autograd.grad(loss, leaves), strict=True):
            leaf.grad = gradient
        optimizer.step()
        schedule.step()
        if callback:
            callback(ImageReport(step=step, loss=float(loss)))
    return Gaussians(*(leaf.detach().clone() for leaf in leaves))
