"""`python -m MODULE` without the seconds that imports take: in a fork of a server that has the libraries already."""

import gc
import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LIBRARIES = (
    "pytest", "hypothesis.strategies", "hypothesis.extra.numpy", "jaxtyping", "beartype", "torch", "torchvision",
    "torch._dynamo", "scipy.optimize", "sklearn.datasets", "pycocotools.cocoeval", "matplotlib.figure", "tqdm",
)  # fmt: skip

_server = multiprocessing.get_context("forkserver")
_server.set_forkserver_preload(list(LIBRARIES))


def run_module(module: str, *arguments, folder: Path = ROOT, timeout: float = 60) -> subprocess.CompletedProcess:
    """`python -m MODULE ARGUMENTS` in the folder, in this process's environment."""
    command = (module, *map(str, arguments))
    with tempfile.TemporaryDirectory() as written:
        files = [Path(written, stream) for stream in ("stdout", "stderr")]
        process = _server.Process(target=_run, args=(command, folder, dict(os.environ), files))
        process.start()
        try:
            process.join(timeout)
            if process.exitcode is None:
                raise subprocess.TimeoutExpired(command, timeout, *(file.read_bytes() for file in files))
        finally:
            process.kill()
            process.join()
        return subprocess.CompletedProcess(command, process.exitcode, *(file.read_text() for file in files))


def _run(command: tuple[str, ...], folder: Path, environment: dict[str, str], files: list[Path]) -> None:
    for stream, file in enumerate(files, start=1):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT), stream)
    os.environ.clear()
    # pytest rewrites the assertions of its plugins, and warns of a library that is there before it
    os.environ.update(environment, PYTEST_ADDOPTS="-W ignore::pytest.PytestAssertRewriteWarning")
    sys.modules["torch"].set_num_threads(1)  # other tests run beside this one
    os.chdir(folder)
    ours = ("katas", "solutions", "tests", "conftest")
    for name in [name for name in sys.modules if name.split(".")[0] in ours]:
        del sys.modules[name]
    sys.path[:] = [str(folder), *(path for path in sys.path if path and Path(path) not in (ROOT, ROOT / "tests"))]
    sys.argv[:] = command
    gc.freeze()  # else every collection walks through the libraries
    runpy.run_module(command[0], run_name="__main__", alter_sys=True)
