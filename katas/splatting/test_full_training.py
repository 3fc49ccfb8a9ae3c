"""Full checks: your code, trained end to end within five minutes of a GTX 1060 each. `pytest katas/splatting -m gpu`"""

import pytest

pytestmark = pytest.mark.gpu
