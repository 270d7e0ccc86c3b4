"""Contenders in processes of their own: asked in turns, failing alone, never outliving the parent."""

import os
import signal
import subprocess
import sys
import time

import pytest

from kmodels.bench import throughput
from kmodels.bench.contenders import Contender
from kmodels.bench.settings import Job
from kmodels.bench.workers import Worker, WorkerError, _environment

JOB = Job(model="model1", batch_size=4, image_size=8, epoch_steps=2, block_seconds=1e-3)


def alive(process_id):
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.fixture
def said():
    return []


def test_contenders_take_turns_and_one_that_fails_does_not_stop_the_others(monkeypatch, said):
    broken = Contender("not there", "kmodels.bench.ours:nothing")
    monkeypatch.setitem(throughput.EVERYONE, "broken", broken)
    results = throughput.race(JOB, ("jax", "broken", "input"), 2, said.append)
    for name in ("jax", "input"):
        assert len(results[name]["images_per_second"]) == 2
        assert min(results[name]["images_per_second"]) > 0
        assert (results[name]["backend"], results[name]["error"]) == ("jax", None)
    assert results["broken"]["images_per_second"] == []
    assert "no attribute 'nothing'" in results["broken"]["error"]
    assert "round 2 of 2" in said[-1]


def test_what_a_worker_prints_is_no_answer_and_its_death_is_one_line():
    with Worker(Contender("prints", "builtins:print")) as worker:
        with pytest.raises(WorkerError, match="TypeError"):
            worker.ask("build", job=JOB.as_dict())
        worker._process.send_signal(signal.SIGKILL)
        with pytest.raises(WorkerError, match="killed by signal 9, perhaps for want of memory"):
            worker.ask("block")


def test_a_worker_ends_when_its_parent_is_killed():
    code = (
        "import os, time; from kmodels.bench.workers import Worker; from kmodels.bench.contenders import Contender; "
        "worker = Worker(Contender('sleeps', 'time:sleep')); print(worker._process.pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as parent:
        worker = int(parent.stdout.readline())
        assert alive(worker)
        parent.kill()
    end = time.monotonic() + 20
    while alive(worker) and time.monotonic() < end:
        time.sleep(0.05)
    assert not alive(worker)


def test_memory_of_a_gpu_is_shared_unless_the_user_says_otherwise(monkeypatch):
    contender = Contender("x", "x:x", environment=(("XLA_FLAGS", "--b"),))
    monkeypatch.setenv("XLA_FLAGS", "--a")
    for name in ("PREALLOCATE", "MEM_FRACTION"):
        monkeypatch.delenv(f"XLA_PYTHON_CLIENT_{name}", raising=False)
    assert _environment(contender, {})["XLA_PYTHON_CLIENT_PREALLOCATE"] == "false"
    assert _environment(contender, {"MORE": "1"})["MORE"] == "1"
    assert _environment(contender, {})["XLA_FLAGS"] == "--a --b"
    monkeypatch.setenv("XLA_PYTHON_CLIENT_MEM_FRACTION", "0.5")
    assert "XLA_PYTHON_CLIENT_PREALLOCATE" not in _environment(contender, {})
