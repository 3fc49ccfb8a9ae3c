"""No full check, or run of one that is a test of its own, may take long on a GTX 1060."""

import json
import subprocess
import sys


def test_no_full_check_takes_long_on_a_gtx_1060():
    run = subprocess.run([sys.executable, "-m", "tests.given.costs"], capture_output=True, text=True, check=True)
    costs = json.loads(run.stdout)
    assert len(costs) == 20 and all(10 < seconds < 5 * 60 for seconds in costs.values()), costs
