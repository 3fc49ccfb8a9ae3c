"""What a check that trains is handed: the device, a data folder, a folder for its results, a budget, a progress bar."""

import contextlib
import fcntl
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import pytest

from katas.lab import catalog
from katas.lab.checks.recorder import Metrics
from katas.lab.plugin import doctor, guards, messages

_screen = pytest.StashKey[TextIO | None]()
in_use = pytest.StashKey[Path | None]()  # the folder of the check that runs now


def pytest_configure(config):
    config.stash[_screen] = _open_screen(config)


def pytest_unconfigure(config):
    if config.stash.get(_screen, None):
        config.stash[_screen].close()


def _open_screen(config) -> TextIO | None:
    """The terminal itself, kept open beside the capture that is about to begin; None where nobody watches."""
    if hasattr(config, "workerinput") or not sys.__stdout__ or not sys.__stdout__.isatty():
        return None
    return os.fdopen(os.dup(sys.__stdout__.fileno()), "w", buffering=1)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    chosen = getattr(item, "callspec", None) and item.callspec.params.get("device")
    if chosen == "cuda" and item.config.getoption("--device") == "cpu":  # a table of speeds, one for each device
        pytest.skip("--device cpu")
    if not item.get_closest_marker("gpu") or item.config.getoption("--device") != "auto":
        return
    import torch

    if not torch.cuda.is_available():
        pytest.skip(f"needs a GPU: {doctor.no_cuda_reason()}. To run it on the CPU: --device cpu")


@pytest.fixture
def device(request):
    """The torch.device of `--device`, held to what a GTX 1060 has: 5.5 GiB, and float32 without TF32.

    Under `-n`, the workers take turns with the cards of the machine.
    """
    import torch

    wanted = request.config.getoption("--device")
    if wanted == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    from katas.lab.checks.budget import cap_gpu_memory

    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    card = card_of(getattr(request.config, "workerinput", {}).get("workerid", "gw0"), torch.cuda.device_count())
    torch.cuda.set_device(card)
    cap_gpu_memory()
    return torch.device("cuda", card)


def card_of(worker: str, cards: int) -> int:
    """Of xdist's workers gw0, gw1, …"""
    return int(worker.removeprefix("gw")) % cards


@pytest.fixture
def one_thread():
    """Small networks gain nothing from more, and lose much where other work wants the cores; and figures compare."""
    with guards.one_thread():
        yield


@pytest.fixture
def data_dir(request) -> Path:
    chosen = request.config.getoption("--data")
    return Path(chosen).expanduser() if chosen else Path.home() / ".cache" / "ml-learning-lab"


@pytest.fixture
def download(request) -> bool:
    return request.config.getoption("--download")


@pytest.fixture
def run_dir(request) -> Iterator[Path]:
    """runs/<topic>/<check>/, where a check leaves its pictures and metrics; the summary says so."""
    topic, _ = catalog.kata_of_node(request.node.nodeid) or ("other", "")
    check = re.sub(r"\W+", "_", request.node.name.removeprefix("test_")).strip("_")
    folder = catalog.RUNS / topic / check
    folder.mkdir(parents=True, exist_ok=True)
    with _alone_in(folder):
        request.config.stash[in_use] = folder
        yield folder
        request.config.stash[in_use] = None
    if any(folder.iterdir()):  # a check that is skipped leaves nothing
        request.node.user_properties.append(("artefacts", catalog.shown(folder) + "/"))


@contextlib.contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Two runs of a check at once would mix their rows."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        pytest.fail(f"another run of this check is under way, and writes into {catalog.shown(folder)}/", pytrace=False)
    finally:
        os.close(handle)


@pytest.fixture
def budget(request, device):
    """`with budget(flops=…): train()` measures a check, fails it over the budget of a GTX 1060; the summary tells."""
    from katas.lab.checks.budget import budget as measure

    def told(cost: str) -> None:
        request.node.user_properties.append(("cost", f"{messages.sentence(request.node.name)}: {cost}"))

    return lambda **options: measure(device, report=told, **options)


@pytest.fixture
def metrics(run_dir) -> Metrics:
    return Metrics(run_dir / "metrics.csv")


@pytest.fixture
def progress(request):
    """`progress(total, desc)` → a live tqdm bar with an ETA on the terminal, without `-s`; silent elsewhere."""
    from tqdm import tqdm

    screen = request.config.stash.get(_screen, None)
    bars = []

    def make(total: int, desc: str = ""):
        if screen and not bars:
            screen.write("\n")
        bars.append(tqdm(total=total, desc=desc, file=screen, disable=not screen, leave=False, dynamic_ncols=True))
        return bars[-1]

    yield make
    for bar in bars:
        bar.close()
