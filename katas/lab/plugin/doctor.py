"""Are this Python, this PyTorch, this card and this data folder fit? If not, the run stops at its start."""

import importlib.util
import re
import sys
from pathlib import Path

import pytest

from katas.lab import forks

# Without --force-reinstall pip leaves 2.7.1+cpu or +cu128 as it is: for pip these are 2.7.1.
INSTALL = "pip install --force-reinstall torch==2.7.1 torchvision==0.22.1"
NEEDED = ("torch", "torchvision", "jaxtyping", "beartype", "pytest_timeout")


def refuse_another_python() -> None:
    """A Python without the project's packages would fail every kata, as if it were the learner's fault."""
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise pytest.UsageError(
            f"{', '.join(missing)} not installed in this Python, {sys.executable}\n"
            "  activate the virtual environment first: source .venv/bin/activate\n"
            '  (README.md, "Set up", says how to make it)'
        )


def refuse_wrong_device(config) -> None:
    import torch

    wanted = config.getoption("--device")
    if wanted == "cuda" and not torch.cuda.is_available():
        raise pytest.UsageError(f"--device cuda: {no_cuda_reason()}")
    if wanted != "cpu" and torch.cuda.is_available():
        problem = unsupported_card(*_card(), torch.__version__)
        if problem:
            raise pytest.UsageError(problem)


def _card() -> tuple[str, tuple[int, int], list[str]]:
    """Name, capability, and what PyTorch has kernels for. In a fork: none of a process that uses CUDA could use it."""
    import torch

    def about(_):
        return torch.cuda.get_device_name(), torch.cuda.get_device_capability(), torch.cuda.get_arch_list()

    if not forks.SUPPORTED or torch.cuda.is_initialized():
        return about(None)
    fork = forks.Fork(about)
    try:
        return fork.ask(None, seconds=60)
    except forks.Ended as ended:
        raise pytest.UsageError(
            f"PyTorch finds a card and cannot use it: {ended.reason}. On the CPU: --device cpu"
        ) from None
    finally:
        fork.close()


def refuse_data_folder_without_data(config) -> None:
    """A folder that was named for nothing: nearly always a typing error. With --download it may be new."""
    chosen = config.getoption("--data")
    if not chosen or config.getoption("--download"):
        return
    folder = Path(chosen).expanduser()
    if not folder.is_dir():
        raise pytest.UsageError(f"--data {chosen}: there is no such folder")
    if not any(folder.iterdir()):
        raise pytest.UsageError(f"--data {chosen}: the folder is empty. --download fetches what the checks need")


def no_cuda_reason() -> str:
    import torch

    if torch.version.cuda is None:
        return f"this PyTorch is a build for the CPU alone. Install the one with CUDA: {INSTALL}"
    return (
        "PyTorch finds no CUDA device. Does `nvidia-smi` list the card? If not, install NVIDIA's driver. "
        f"If it does, the driver is too old for this PyTorch (CUDA {torch.version.cuda}): install a newer one"
    )


def unsupported_card(name: str, capability: tuple[int, int], arch_list: list[str], version: str) -> str | None:
    """Why this PyTorch build cannot run on the card, and the command that fixes it; None if it can.

    Code for sm_XY runs on every X.Z with Z ≥ Y; compute_XY (PTX) runs on every later card.
    """
    major, minor = capability
    for arch in arch_list:
        kind, _, number = arch.rpartition("_")
        digits = re.match(r"\d+", number)
        if not digits:
            continue
        arch_major, arch_minor = divmod(int(digits.group()), 10)
        same_family = arch_major == major and arch_minor <= minor
        if (kind == "sm" and same_family) or (kind == "compute" and (arch_major, arch_minor) <= capability):
            return None
    fix = (
        f"{INSTALL}   (the last plain wheel with kernels for Pascal)"
        if capability < (7, 5)
        else "pip install --upgrade torch torchvision"
    )
    return (
        f"PyTorch {version} has no kernels for {name} (compute capability {major}.{minor}): it was built for "
        f"{' '.join(arch_list)}.\n  Fix: {fix}\n  Or run on the CPU: --device cpu"
    )
