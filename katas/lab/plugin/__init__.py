"""The laboratory's pytest plugin, one file a concern. The `conftest.py` at the root loads it.

doctor: is this Python, PyTorch, card and data folder fit?      selection: which implementation and which tests run
guards: limits of time and memory around a kata's code          isolation: katas run in a fork, which the run outlives
messages: what one failure says                                 ladder: what the end of a run says, and what is next
fixtures: what checks that train are handed                      short: those checks in seconds
"""

PARTS = ("selection", "guards", "messages", "isolation", "ladder", "fixtures", "short")
pytest_plugins = [f"{__name__}.{part}" for part in PARTS]
