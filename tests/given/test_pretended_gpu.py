"""Where there is no GPU, the full checks are tried on a pretended one, in a process and a folder of their own."""

import shutil
import subprocess
import sys

from katas.lab import catalog
from tests.warm import ROOT, run_module

PRETENDED = """
import copy, torch
from tests.given import pretend_gpu
pretend_gpu.install()
x, generator, layer = torch.arange(3.0, device="cuda"), torch.Generator("cuda"), torch.nn.Linear(3, 2).to("cuda")
"""
REFUSED = [
    "x + torch.ones(3)",
    "torch.cat((x, torch.ones(1)))",
    "torch.stack((x.sum(), torch.tensor(1.0)))",
    "torch.ones(3)[torch.tensor([0], device='cuda')]",
    "x.__setitem__(torch.tensor([0]), torch.ones(1))",
    "torch.ones(3).__setitem__(0, x[:1])",
    "layer(torch.ones(1, 3))",
    "torch.rand(3, generator=generator)",
    "torch.rand(3, generator=torch.Generator(), device='cuda')",
    "x.numpy()",
]
ON_THE_GPU = [
    "x * torch.tensor(2.0)",
    "x[torch.tensor([0, 1])]",
    "x.double()",
    "x.new_zeros(2)",
    "torch.zeros_like(x)",
    "torch.rand(3, generator=generator, device=x.device)",
    "layer(x[None])",
    "torch.autograd.grad(layer(x[None]).sum(), layer.weight)[0]",
    "copy.deepcopy(layer).weight",
]


def run(source: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-c", source], cwd=ROOT, capture_output=True, text=True, timeout=60)


def test_the_pretended_gpu_refuses_what_a_real_one_does():
    lines = [f"try: {call}\nexcept (RuntimeError, TypeError): pass\nelse: print({call!r})" for call in REFUSED]
    result = run(PRETENDED + "\n".join(lines))
    assert result.returncode == 0 and not result.stdout, f"not refused:\n{result.stdout}{result.stderr}"


def test_what_is_made_of_tensors_of_the_gpu_is_there_too():
    lines = [f"assert ({call}).is_cuda, {call!r}" for call in ON_THE_GPU]
    lines.append("assert not x.cpu().is_cuda and x.cpu().numpy().tolist() == x.tolist() == [0, 1, 2]")
    result = run(PRETENDED + "\n".join(lines))
    assert result.returncode == 0, result.stderr


def test_the_full_checks_find_everything_on_the_gpu(tmp_path):
    for name in ("katas", "solutions", "tests"):  # a copy: the real runs/ are the learner's
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("conftest.py", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path / name)
    topics = [topic for topic in catalog.topics() if (ROOT / "solutions" / topic).is_dir()]
    checks = [f"katas/{topic}/test_{kind}.py" for topic in topics for kind in ("full_training", "dynamics")]
    result = run_module(
        "pytest", *checks, "-m", "gpu", "--short", "--impl", "solutions", "--tb=long", "-q",
        "-p", "tests.given.pretend_gpu", "--data", tmp_path,
        folder=tmp_path, timeout=280,
    )  # fmt: skip
    assert result.returncode == 0, f"{result.stdout}\n{result.stderr}"
    told = [line for line in result.stdout.splitlines() if line.startswith("cost: ")]
    assert told and all("of GPU memory" in line for line in told), (
        f"not on the GPU, where nothing could be missing: {told}"
    )
