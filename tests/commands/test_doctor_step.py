"""kmodels doctor on this machine: a training step in the backend that is set."""

import json
import os
import subprocess
import sys


def test_a_training_step_proves_that_this_machine_works(backend, tmp_path):
    environment = {**os.environ, "KMODELS_CACHE": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-m", "kmodels", "doctor", "--json"], capture_output=True, text=True, env=environment
    )
    assert (done.returncode, done.stderr) == (0, "")
    told = json.loads(done.stdout)
    probe = told["machine"]["probe"]
    assert told["training_works"]
    assert told["machine"]["backend"] == backend
    assert told["machine"]["cache"] == str(tmp_path)
    assert probe["device"]
    assert probe["precision"] in ("float32", "bfloat16", "float16")
    assert probe["second_step_seconds"] < probe["first_step_seconds"]
