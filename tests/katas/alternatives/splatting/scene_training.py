"""In one class that holds what changes, with a list of sums per Gaussian."""

import torch

from katas.splatting.given.gaussians import Gaussians
from solutions.splatting.densification import clone_and_split, prune, reset_opacities
from solutions.splatting.image_losses import photometric_loss
from solutions.splatting.image_training import adam_for
from solutions.splatting.rendering import render
from solutions.splatting.scene_training import DensityControl as DensityControl
from solutions.splatting.scene_training import SceneReport


class Run:
    def __init__(self, gaussians, rates, density, generator):
        self.rates, self.density, self.generator = rates, density, generator
        self.gaussians, self.adam = adam_for(gaussians, rates)
        self.forget()

    def forget(self):
        self.seen = [[] for _ in range(len(self.gaussians.means))]

    def learn(self, view, t, factor, degree, background, share):
        h, w = view.image.shape[:2]
        for group in self.adam.param_groups:
            group["lr"] = factor * self.rates[group["name"]]
        shown = render(self.gaussians, view.viewmat, view.K, w, h, background=background, sh_degree=degree)
        pair = (x.permute(2, 0, 1).unsqueeze(0) for x in (shown.image, view.image))
        loss = photometric_loss(*pair, lambda_dssim=share).mean()
        if not torch.isfinite(loss):
            raise FloatingPointError(f"loss {float(loss)} in step {t}")
        grads = torch.autograd.grad(loss, [shown.means2d, *self.gaussians])
        for field, grad in zip(self.gaussians, grads[1:], strict=True):
            field.grad = grad
        self.adam.step()
        if self.density and t < self.density.until:
            x, y = (grads[0] * 0.5).unbind(1)
            for n, norm in enumerate(torch.hypot(x * w, y * h).tolist()):
                if shown.radii[n] > 0:
                    self.seen[n].append(norm)
            self.change(t)
        return float(loss.detach())

    def change(self, t):
        d = self.density
        if t % d.every == 0 and t > d.start:
            means = [sum(norms) / len(norms) if norms else -1.0 for norms in self.seen]
            gradients = self.gaussians.means.new_tensor(means).reshape(-1)
            self.gaussians = clone_and_split(self.gaussians, self.adam, gradients, generator=self.generator,
                                             max_scale=d.max_scale, grad_threshold=d.grad_threshold)  # fmt: skip
            self.gaussians = prune(self.gaussians, self.adam, min_opacity=d.min_opacity)
            self.forget()
        if t % d.reset_every == 0:
            self.gaussians = reset_opacities(self.gaussians, self.adam)


def fit_scene(
    gaussians, views, *, steps, learning_rates, background, generator, density=None, sh_every=1000, final_lr=0.01,
    lambda_dssim=0.2, callback=None,
):  # fmt: skip
    ranges = {"views": len(views) > 0, "steps": steps >= 0, "final_lr": 0 < final_lr <= 1, "sh_every": sh_every >= 1}
    ranges |= {
        "every": density is None or density.every >= 1,
        "reset_every": density is None or density.reset_every >= 1,
    }
    for name, fine in ranges.items():
        if not fine:
            raise ValueError(name)
    run, degrees = Run(gaussians, learning_rates, density, generator), {1: 0, 4: 1, 9: 2, 16: 3}[gaussians.sh.shape[1]]
    for t in range(1, steps + 1):
        if (t - 1) % len(views) == 0:
            order = iter(torch.randperm(len(views), generator=generator))
        index = int(next(order))
        options = final_lr ** ((t - 1) / steps), min((t - 1) // sh_every, degrees), background, lambda_dssim
        loss = run.learn(views[index], t, *options)
        if callback:
            callback(SceneReport(step=t, view=index, loss=loss, count=run.gaussians.means.shape[0]))
    return Gaussians(*(field.clone().detach() for field in run.gaussians))
