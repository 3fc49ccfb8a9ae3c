"""How fast: yours, the solution, and the library that does it. `pytest katas/splatting -m benchmark`"""

import pytest

pytestmark = pytest.mark.benchmark
