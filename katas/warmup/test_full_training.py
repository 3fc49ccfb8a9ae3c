"""Full checks: your code, trained end to end in five minutes of a GTX 1060 each. `pytest katas/warmup -m gpu`"""

import pytest

pytestmark = pytest.mark.gpu
