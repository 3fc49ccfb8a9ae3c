"""Metrics of a check, kept as it goes."""

import csv
from pathlib import Path


class Metrics:
    """Appends rows to a CSV file, each one on the disk at once: an interrupted run keeps what it had."""

    def __init__(self, file: Path):
        self.file = file
        self.file.unlink(missing_ok=True)
        self.columns: list[str] = []

    def row(self, **values) -> None:
        new = not self.columns
        self.columns = self.columns or list(values)
        with self.file.open("a", newline="") as stream:
            writer = csv.DictWriter(stream, self.columns, restval="", extrasaction="raise")
            if new:
                writer.writeheader()
            writer.writerow(values)
