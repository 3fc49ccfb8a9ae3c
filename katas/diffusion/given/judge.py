"""The judge: a classifier of digits that has only ever seen real ones.

It says which digit a generated image shows, and its features say how far apart two sets of images are. It is
trained once, on real training images, and kept in a file; generated images never reach its training.
"""

import hashlib
import pickle
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from katas.lab.checks.recorder import save
from katas.lab.digits import NUM_CLASSES, Digits

NUM_FEATURES = 32
BATCH_SIZE = 1000  # 60,000 images of 28 × 28 at once would take 12 GB
VERSION = 1  # to be raised whenever network or training change: old files are then not used any more


class Judge(nn.Module):
    """Images (N, 1, H, W) in [0, 1] → logits (N, 10); `features` gives what the last layer sees, (N, 32)."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(),
            nn.Conv2d(32, 64, 3, stride=2, padding=1), nn.BatchNorm2d(64), nn.ReLU(),
            nn.Conv2d(64, 64, 3, stride=2, padding=1), nn.BatchNorm2d(64), nn.ReLU(),
            nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(256, NUM_FEATURES),
        )  # fmt: skip
        self.last = nn.Linear(NUM_FEATURES, NUM_CLASSES)

    def features(self, images: Tensor) -> Tensor:
        return self.layers(images)

    def forward(self, images: Tensor) -> Tensor:
        return self.last(F.relu(self.features(images)))

    @torch.no_grad()
    def agreement(self, images: Tensor, labels: Tensor) -> float:
        """The share of the images that show, in the eyes of the judge, the digit that they should."""
        logits = torch.cat([self(batch) for batch in images.split(BATCH_SIZE)])
        return float((logits.argmax(dim=1) == labels).float().mean())

    @torch.no_grad()
    def moments(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Mean (32,) and covariance (32, 32) of the features, in float64: for a Fréchet distance."""
        features = torch.cat([self.features(batch) for batch in images.split(BATCH_SIZE)]).double().cpu()
        return features.mean(dim=0), features.T.cov()


def judge_of(train: Digits, file: Path, *, device: torch.device | str = "cpu", steps: int = 1500) -> Judge:
    """The judge of these real images: from `file` if it was trained on the very same, else trained and kept
    there."""
    key = _key(train, steps)
    with torch.random.fork_rng(devices=[device] if torch.device(device).type == "cuda" else []):
        torch.manual_seed(0)
        judge = Judge().to(device)
        try:
            saved = torch.load(file, weights_only=True, map_location=device)
            if saved["key"] == key:
                judge.load_state_dict(saved["weights"])
                return _frozen(judge)
        except (OSError, RuntimeError, KeyError, EOFError, ValueError, pickle.UnpicklingError):
            pass  # no such file, or one that cannot be read: train
        _train(judge, train, steps)
    file.parent.mkdir(parents=True, exist_ok=True)
    save({"key": key, "weights": judge.state_dict()}, file)
    return _frozen(judge)


def _train(judge: Judge, train: Digits, steps: int) -> None:
    """Batches of 128, each image moved by up to a pixel in 8, so that the judge looks at shapes."""
    optimizer = torch.optim.AdamW(judge.parameters(), lr=3e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps)
    device = next(judge.parameters()).device
    generator = torch.Generator().manual_seed(0)
    images, labels, pad = train.images.to(device), train.labels.to(device), train.images.shape[-1] // 8
    for _ in range(steps):
        chosen = torch.randint(len(images), (128,), generator=generator).to(device)
        down, right = torch.randint(-pad, pad + 1, (2,), generator=generator).tolist()
        batch = torch.roll(F.pad(images[chosen], [pad] * 4), (down, right), dims=(2, 3))
        batch = batch[:, :, pad : batch.shape[2] - pad, pad : batch.shape[3] - pad]
        loss = F.cross_entropy(judge(batch), labels[chosen], label_smoothing=0.05)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()


def _frozen(judge: Judge) -> Judge:
    return judge.eval().requires_grad_(False)


def _key(train: Digits, steps: int) -> str:
    digest = hashlib.sha256(train.images.numpy().tobytes() + train.labels.numpy().tobytes())
    return f"{VERSION}-{steps}-{digest.hexdigest()[:16]}"
