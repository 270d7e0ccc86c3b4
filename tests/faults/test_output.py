"""Where nothing can be printed, nothing else is lost."""

import subprocess
import sys

import pytest

from kmodels import read_records

SCRIPT = """
from kmodels.experiment import Experiment
from kmodels.script import main
main([Experiment(name="tests/mlp", dataset="synthetic", image_size=16, model="mlp", batch_size=8, epochs=1)], "")
"""


@pytest.mark.parametrize(
    ("redirected", "status", "errors"),
    [("> /dev/full", 1, "cannot write to standard output: No space left on device"), (">&-", 0, "")],
)
def test_a_run_that_cannot_print_is_recorded(tmp_path, redirected, status, errors):
    (tmp_path / "script.py").write_text(SCRIPT)
    command = f"{sys.executable} {tmp_path / 'script.py'} --out {tmp_path} {redirected}"
    done = subprocess.run(["sh", "-c", command], stderr=subprocess.PIPE, text=True)
    assert done.returncode == status
    assert "Traceback" not in done.stderr
    assert errors in done.stderr
    (record,) = read_records(tmp_path).values()
    assert record.status == "completed"
