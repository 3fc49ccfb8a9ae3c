"""running_stats, sample by sample (Welford), with the sum of squares as its state."""

import torch


class RunningMeanStd:
    def __init__(self, shape, *, device="cpu"):
        self.mean = torch.zeros(shape, dtype=torch.float64, device=device)
        self.squares = torch.zeros_like(self.mean)
        self.count = 0

    @property
    def var(self):
        return self.squares / self.count if self.count else torch.ones_like(self.mean)

    @torch.no_grad()
    def update(self, batch):
        if batch.shape[1:] != self.mean.shape:
            raise ValueError("batch")
        for sample in batch.double():
            self.count += 1
            delta = sample - self.mean
            self.mean = self.mean + delta / self.count
            self.squares = self.squares + delta * (sample - self.mean)

    def normalise(self, x, *, clip=10.0, eps=1e-8):
        if clip <= 0:
            raise ValueError("clip")
        z = (x.double() - self.mean) * (self.var + eps).rsqrt()
        return torch.minimum(torch.maximum(z, -z.new_tensor(clip)), z.new_tensor(clip)).to(x.dtype)

    def state_dict(self):
        return {"mean": self.mean.clone(), "var": self.var.clone(), "count": self.count}

    def load_state_dict(self, state):
        if state["mean"].size() != self.mean.size():
            raise ValueError("state")
        self.mean, self.count = state["mean"].clone(), state["count"]
        self.squares = state["var"] * self.count


def normalise_advantages(advantages, *, eps=1e-8):
    if not len(advantages):
        return advantages.clone()
    centred = advantages - advantages.mean()
    return centred / (centred.square().mean().sqrt() + eps)
