"""Whatever a kata does, the run goes on, and the kata is named."""

import os
import pty
import re
import select
import subprocess
import sys
import time

import pytest

from tests.conftest import FIRST

CALLS = {  # what double() does: what is told
    "import os; os._exit(0)": "ended the process (exit code 0)",
    "import ctypes; ctypes.string_at(0)": "crashed the process (Segmentation fault)",
    "import sys; sys.exit()": "double would end the whole run (SystemExit)",
    "import pytest; pytest.exit('bye')": "double would end the whole run (Exit)",
    "raise KeyboardInterrupt": "double would end the whole run (KeyboardInterrupt)",
    "import pytest; pytest.skip('too hard')": "double skips its own spec (Skipped)",
    "import pytest; pytest.xfail('too hard')": "double skips its own spec (XFailed)",
    "import unittest; raise unittest.SkipTest('no')": "double skips its own spec (SkipTest)",
    "return double(x)": "double calls itself without end",
    "while True: pass": "not finished after 1 s",
    "sum(range(10**12))": "not finished after 1 s",
    "\n    while True:\n        try: x += 1\n        except BaseException: continue": "not finished after 1 s",
    "\n    try: return x\n    finally:\n        while True: pass": "not finished after 1 s",
    "\n    held = []\n    while True: held.append(bytes(10**8))": "asked for more than 4 GiB",
    "\n    while True: print('x' * 10**6)": "writes more than 64 MiB",
    "import threading, time; threading.Thread(target=lambda: time.sleep(10**6)).start(); return 2 * x": "has not ended",
    "import torch; torch.set_default_dtype(torch.float64); return 2 * x": "default dtype of torch is torch.float64",
    "import torch; torch.set_default_device('meta'); return 2 * x": "the default device of torch is meta",
    "import torch; torch.set_grad_enabled(False); return 2 * x": "the gradient mode of torch is False",
    "import math; math.sqrt = abs; return 2 * x": "math.sqrt is something else",
    "import os; os.chdir('/'); return 2 * x": "the working directory is another one",
    "import sys; sys.setrecursionlimit(300); return 2 * x": "the recursion limit is another one",
    "import torch; torch.Tensor.lerp_ = abs; return 2 * x": "torch.Tensor.lerp_ is something else",
    "import torch; torch.manual_seed(0); return 2 * x": "generator of torch starts anew: torch.manual_seed at katas",
    "import numpy; numpy.random.seed(0); return 2 * x": "generator of numpy starts anew: numpy.random.seed at katas",
    "raise type('Odd', (Exception,), {'__str__': lambda self: 1 / 0})": "Odd: (its own message fails: ZeroDivision",
}
IMPORTS = {
    "import sys; sys.exit()": "the import would end the whole run (SystemExit)",
    "import os; os._exit(0)": "ended the process (exit code 0)",
    "import ctypes; ctypes.string_at(0)": "crashed the process (Segmentation fault)",
    "import pytest; pytest.skip('too hard', allow_module_level=True)": "skips its own spec (Skipped)",
    "raise KeyboardInterrupt": "would end the whole run (KeyboardInterrupt)",
    "sum(range(10**12))": "not finished after 1 s",
    "while True: pass": "not finished after 1 s",
    "held = []\nwhile True: held.append(bytes(10**8))": "asked for more than 4 GiB",
    "import torch; torch.set_default_dtype(torch.float64)": "default dtype of torch is torch.float64",
    "import math; math.sqrt = abs": "math.sqrt is something else",
    "import random; random.seed(0)": "the global random generator of random starts anew: random.seed at katas/toy/kata",
}
RIGHT = """import math, torch


def double(x):
    assert math.sqrt(9.0) == 3
    with torch.random.fork_rng():
        torch.manual_seed(0)
    return 2 * x
"""
SPEC = """import torch

from katas.toy.KATA import double


def test_two():
    assert torch.zeros(1).dtype == torch.float32 and torch.zeros(1).device.type == "cpu" and double(2.0) == 4.0


def test_three():
    assert torch.is_grad_enabled() and callable(double)
"""


def sections_of(toy, sources: list[str]) -> tuple[str, list[str]]:
    """All of them in one run, each a kata of its own between right ones: the whole output, and what is said of each."""
    names = [f"kata{n:02}" for n in range(2 * len(sources) + 1)]
    toy.write("katas/toy/__init__.py", f"KATAS = {tuple(names)}\n")
    for file in [*toy.path.glob("katas/toy/*first.py"), *toy.path.glob("katas/toy/*second.py")]:
        file.unlink()
    for n, name in enumerate(names):
        toy.kata(name, sources[n // 2] if n % 2 else RIGHT)
        toy.write(f"katas/toy/test_{name}.py", SPEC.replace("KATA", name))
    result = toy.pytest("katas/toy", "-o", "timeout=1", timeout=250)
    output = result.stdout.str() + result.stderr.str()
    assert result.ret == 1 and "INTERNALERROR" not in output, output
    for name in names[::2]:
        assert re.search(rf"✔ {name} +2 passed", output), f"{name} is right\n{output}"
    return output, names[1::2]


def test_what_a_call_does_stays_in_its_kata(toy):
    output, names = sections_of(toy, [f"def double(x):\n    {body}\n" for body in CALLS])
    failures = output.split("✘ two\n")[1:]
    for name, failure, (body, told) in zip(names, failures, CALLS.items(), strict=False):
        assert re.search(rf"✘ {name} +1 passed +1 failed", output), f"{body}\n{output}"
        assert told in failure and f"katas/toy/{name}.py" in failure, f"{body}: {told}\n{failure}"
    assert len(failures) == len(CALLS)


def test_what_an_import_does_stays_in_its_kata(toy):
    guards = toy.path / "katas/lab/plugin/guards.py"
    guards.write_text(guards.read_text().replace("SECONDS_TO_IMPORT = 20", "SECONDS_TO_IMPORT = 1"))
    output, names = sections_of(toy, [f"{line}\n{RIGHT}" for line in IMPORTS])
    for name, (line, told) in zip(names, IMPORTS.items(), strict=True):
        assert re.search(rf"✘ {name} +1 failed", output), f"{line}\n{output}"
        failure = re.search(rf"katas/toy/(test_)?{name}.py\b(.*?)^(___|===)", output, re.DOTALL | re.MULTILINE)
        assert failure and told in failure.group(), f"{line}: {told}\n{output}"


# --- where a person types -------------------------------------------------------------------------------------------


def talk(toy, *arguments: str, answers: list[str], seconds: float = 60) -> str:
    """Runs pytest on a pseudo-terminal and answers at each prompt of the debugger: all that was on the screen."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "pytest", *arguments]
    process = subprocess.Popen(
        command, cwd=toy.path, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
    )
    os.close(theirs)
    seen, end = b"", time.monotonic() + seconds
    while time.monotonic() < end and (process.poll() is None or select.select([ours], [], [], 0)[0]):
        if select.select([ours], [], [], 0.1)[0]:
            try:
                seen += os.read(ours, 4096)
            except OSError:  # the other end is closed
                break
        if answers and seen.rstrip().endswith(b"(Pdb)"):
            os.write(ours, answers.pop(0).encode() + b"\n")
            seen += b"\n"
    process.kill()
    process.wait()
    return seen.decode().replace("\r", "")


PAUSES = FIRST.replace("return _times(x, 2)", "breakpoint()\n    return 2 * x")


def test_a_person_in_the_debugger_has_all_the_time(toy):
    toy.kata("first", PAUSES)
    wait = "import time; time.sleep(11)"  # the limit is 1 s of CPU, 6 s by the clock and 3 more
    seen = talk(toy, "katas/toy/test_first.py", "-o", "timeout=1", answers=["p 10 * x", wait, "c"])
    assert "40.0" in seen and "✔ first               3 passed" in seen and "first is green" in seen, seen


def test_under_the_debugger_of_an_editor_there_is_no_limit(toy):
    toy.write("attached.py", "import sys, types\n\nsys.modules['debugpy'] = types.ModuleType('debugpy')\n")
    waits = (
        "import time\n    end = time.process_time() + 1.5\n    while time.process_time() < end: pass\n    return 2 * x"
    )
    toy.kata("first", FIRST.replace("return _times(x, 2)", waits))
    arguments = "katas/toy/test_first.py", "-o", "timeout=1"
    assert toy.pytest(*arguments).ret == 1
    assert toy.pytest(*arguments, "-p", "attached").ret == 0


@pytest.mark.parametrize("arguments", [(), ("--pdb",), ("-s",)])
def test_who_quits_the_debugger_has_not_seen_the_kata_green(toy, arguments):
    toy.kata("first", PAUSES)
    seen = talk(toy, "katas/toy/test_first.py", *arguments, answers=["q"])
    assert "Quitting debugger" in seen and "is green" not in seen and "what ran holds" in seen, seen
