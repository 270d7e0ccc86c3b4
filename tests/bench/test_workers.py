"""Contenders in processes of their own, which never outlive the parent."""

import os
import signal
import subprocess
import sys
import time

import pytest

from kmodels.bench.contenders import CONTENDERS, Contender
from kmodels.bench.settings import Job
from kmodels.bench.workers import Worker, WorkerError, _environment, _variables

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
        built = worker.ask("build", job=JOB)
        assert (built["backend"], built["steps"] >= 1) == ("jax", True)
        assert worker.ask("block").steps >= built["steps"]
        worker._process.kill()
        with pytest.raises(WorkerError, match="killed by signal 9, perhaps out of memory"):
            worker.ask("block")
    with (
        Worker(Contender("missing", "kmodels.bench.ours_missing:it")) as worker,
        pytest.raises(WorkerError, match=r"ended with status 1: ModuleNotFoundError: No module named .*ours_missing"),
    ):
        worker.ask("block")


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
    contender = Contender("x", "x:x", environment=(("XLA_FLAGS", "--b"),))
    monkeypatch.setenv("XLA_FLAGS", "--a")
    for name in ("PREALLOCATE", "MEM_FRACTION"):
        monkeypatch.delenv(f"XLA_PYTHON_CLIENT_{name}", raising=False)
    found = _variables(contender)
    assert (found["XLA_PYTHON_CLIENT_PREALLOCATE"], found["XLA_FLAGS"]) == ("false", "--a --b")
    with _environment(found):
        assert os.environ["XLA_FLAGS"] == "--a --b"
    assert os.environ["XLA_FLAGS"] == "--a"
    assert "XLA_PYTHON_CLIENT_PREALLOCATE" not in os.environ
    # A user's own choice stays.
    monkeypatch.setenv("XLA_PYTHON_CLIENT_MEM_FRACTION", "0.5")
    assert "XLA_PYTHON_CLIENT_PREALLOCATE" not in _variables(contender)
