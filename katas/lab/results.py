"""What is remembered of the last run of each spec: how many tests passed, on which bytes of the kata."""

import hashlib
import json
import re

from katas.lab import catalog
from katas.lab.catalog import ROOT


def cache_key(topic: str, kata: str) -> str:
    """The key under which pytest's cache keeps the result."""
    return f"katas/{topic}/{kata}"


def digest_of(topic: str, kata: str) -> str:
    """Of the kata and of all that it imports from its topic: a change of any of them makes a result old."""
    seen, waiting = {}, [catalog.kata_file(topic, kata)]
    while waiting:
        file = waiting.pop()
        if file not in seen and file.is_file():
            seen[file] = file.read_bytes()
            names = re.findall(rb"^\s*from \.(\w*) import (.*)$", seen[file], re.MULTILINE)
            used = [
                name.decode() for module, rest in names for name in ([module] if module else re.findall(rb"\w+", rest))
            ]
            used += [name.decode() for name in re.findall(rb"\bkatas\.%s\.(\w+)" % topic.encode(), seen[file])]
            waiting += [file.with_name(f"{name}.py") for name in used]
    return hashlib.sha256(b"".join(seen[file] for file in sorted(seen))).hexdigest()[:16]


def last_run(topic: str, kata: str) -> dict | None:
    try:
        found = json.loads((ROOT / ".pytest_cache" / "v" / cache_key(topic, kata)).read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and "digest" in found else None
