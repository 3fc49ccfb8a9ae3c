"""What a check keeps as it goes: rows of metrics on the disk, and the loss as a mean over some steps."""

import csv
import io
import os
from pathlib import Path


class Metrics:
    """Appends rows to a CSV file, each one on the disk at once: an interrupted run keeps what it had."""

    def __init__(self, file: Path):
        self.file = file  # that of an earlier run stays until there is a row to take its place
        self.columns: list[str] = []

    def row(self, **values) -> None:
        new = not self.columns
        self.columns = self.columns or list(values)
        with self.file.open("w" if new else "a", newline="") as stream:
            writer = csv.DictWriter(stream, self.columns, restval="", extrasaction="raise")
            if new:
                writer.writeheader()
            writer.writerow(values)


def save(state: object, file: Path) -> None:
    """`torch.save`, in one step: a run that is killed meanwhile, or finds the disk full, still has the last file."""
    import torch

    saved, unfinished = io.BytesIO(), file.with_name(f"{file.name}.unfinished")
    torch.save(state, saved)  # not into the file: it would say "unexpected pos 267008 vs 266904" of a full disk
    try:
        unfinished.write_bytes(saved.getbuffer())
        os.replace(unfinished, file)
    finally:
        unfinished.unlink(missing_ok=True)


class LossRecorder:
    """Losses of a training run: the bar moves every step, and every `every` steps their means are kept and shown.

    `rows` holds (step, mean of the first loss, mean of the second …).
    """

    every = 50  # steps

    def __init__(self, bar):
        self.bar = bar
        self.losses: list[tuple[float, ...]] = []
        self.rows: list[tuple[float, ...]] = []

    def add(self, step: int, *losses: float) -> tuple[float, ...] | None:
        """The means, if they are due at this step (counted from 0)."""
        self.losses.append(losses)
        self.bar.update(1)
        if (step + 1) % self.every:
            return None
        means = tuple(sum(column) / len(column) for column in zip(*self.losses, strict=True))
        self.losses.clear()
        self.rows.append((step + 1, *means))
        self.bar.set_postfix_str("loss " + " + ".join(f"{mean:.3f}" for mean in means))
        return means
