"""Dynamics: what changes when one thing is different, and why. `pytest katas/warmup -m gpu`"""

import pytest

pytestmark = pytest.mark.gpu
