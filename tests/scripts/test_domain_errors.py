"""The script's table on a lattice of seconds: errors fall with the buffer, to none where it covers
all.
"""

import importlib.util
from pathlib import Path

from lattgnn.data import RandomFields
from lattgnn.hamiltonians import Holstein
from lattgnn.lattice import square

spec = importlib.util.spec_from_file_location(
    "scripts.domain_errors", Path(__file__).parents[2] / "scripts/domain_errors.py"
)
assert spec is not None and spec.loader is not None
script = importlib.util.module_from_spec(spec)
spec.loader.exec_module(script)


def test_errors_fall_with_the_buffer():
    case = script.Case(
        Holstein(square(12)), RandomFields("test", n_samples=2), cores=(4,), buffers=(1, 3, 4)
    )
    found = script.measure(case)
    assert found["lattice"] == ["square", 12, 12] and found["steps"] == [-1, -1]
    near, far, whole = found["rows"]
    assert 1e-12 < far["force_mse"] < near["force_mse"] < 1e-2
    assert far["energy_rms_per_site"] < near["energy_rms_per_site"] < 1e-2
    assert whole["force_mse_worst_field"] < 1e-20 and whole["energy_rms_per_site"] < 1e-12
    assert all(row["us_per_site"] > 0 for row in found["rows"]) and found["exact_us_per_site"] > 0
