"""Contenders in processes of their own, which never outlive the parent."""

import os
import signal
import subprocess
import sys
import time

import pytest

from kmodels.bench.contenders import CONTENDERS, Contender
from kmodels.bench.settings import Job
from kmodels.bench.workers import Worker, WorkerError, _variables

JOB = Job(model="mlp", batch_size=4, image_size=8, epoch_steps=2, block_seconds=1e-3)
PARENT = """
import time
from kmodels.bench.workers import Worker
from kmodels.bench.contenders import Contender
print(Worker(Contender("sleeps", "time:sleep"))._process.pid, flush=True)
time.sleep(60)
"""


def alive(process_id):
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_worker_answers_fails_and_dies_in_one_line():
    with Worker(CONTENDERS["input"]) as worker:
        with pytest.raises(WorkerError, match="AttributeError: 'Session' object has no attribute 'sing'"):
            worker.ask("sing")
        assert worker.ask("build", job=JOB)["first_step_seconds"] > 0
        steps = worker.ask("calibrate", seconds=JOB.block_seconds)
        assert worker.ask("block", steps=steps) > 0 < steps
        worker._process.kill()
        with pytest.raises(WorkerError, match="ended with status -9: killed, perhaps out of memory"):
            worker.ask("block", steps=1)
    with (
        Worker(Contender("missing", "kmodels.bench.ours_missing:it")) as worker,
        pytest.raises(WorkerError, match=r"ended with status 1: .*InputError: .*ours_missing"),
    ):
        worker.ask("block", steps=1)


def test_a_worker_ends_when_its_parent_is_killed():
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True) as parent:
        worker = int(parent.stdout.readline())
        assert alive(worker)
        parent.send_signal(signal.SIGKILL)
    end = time.monotonic() + 20
    while alive(worker) and time.monotonic() < end:
        time.sleep(0.05)
    assert not alive(worker)


def test_a_worker_has_variables_of_its_own(monkeypatch):
    contender = Contender("x", "x:x", "torch", xla_flags="--b")
    monkeypatch.setenv("XLA_FLAGS", "--a")
    for name in ("PREALLOCATE", "MEM_FRACTION"):
        monkeypatch.delenv(f"XLA_PYTHON_CLIENT_{name}", raising=False)
    before = dict(os.environ)
    with _variables(contender, {"MORE": "1"}):
        names = "KERAS_BACKEND", "XLA_FLAGS", "XLA_PYTHON_CLIENT_PREALLOCATE", "MORE"
        assert [os.environ[name] for name in names] == ["torch", "--a --b", "false", "1"]
    assert os.environ == before
    # A user's own choice stays.
    monkeypatch.setenv("XLA_PYTHON_CLIENT_MEM_FRACTION", "0.5")
    with _variables(contender, {}):
        assert "XLA_PYTHON_CLIENT_PREALLOCATE" not in os.environ
