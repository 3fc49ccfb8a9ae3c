"""How fast: yours, the solution, and the library that does it. `pytest katas/warmup -m benchmark`"""

import pytest

pytestmark = pytest.mark.benchmark
