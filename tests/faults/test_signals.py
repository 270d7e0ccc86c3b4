"""Runs spread over processes end with what ends the process that started them."""

import os
import signal
import subprocess
import sys
import time

import pytest

from kmodels import read_records

SCRIPT = """
from kmodels.experiment import Experiment
from kmodels.script import main
main([Experiment(name="tests/long", dataset="synthetic", image_size=16, model="mlp", batch_size=8, epochs=100_000,
                 patience=None)], "")
"""


@pytest.mark.slow
@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_processes_record_their_epochs_and_end_with_their_parent(tmp_path, number, status):
    process, printed = start(tmp_path, "--devices", "2", "--split", "runs", "--seeds", "0", "1")
    wait_for(printed, "[tests/long seed 0] Epoch 4/", "[tests/long seed 1] Epoch 4/")
    workers = children(process.pid)
    assert len(workers) >= 2
    process.send_signal(number)
    assert process.wait(timeout=120) == status
    deadline = time.monotonic() + 60
    while any(map(runs, workers)) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not any(map(runs, workers))
    assert [record.status for record in read_records(tmp_path).values()] == ["interrupted"] * 2


@pytest.mark.slow
def test_a_second_sigterm_ends_at_once(tmp_path):
    process, printed = start(tmp_path)
    wait_for(printed, "Epoch 4/")
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGTERM)
    # The first one may have been served before the second came.
    assert process.wait(timeout=30) in (-signal.SIGTERM, 143)


def start(folder, *arguments):
    """The process of the script, and the file to which it prints."""
    (folder / "script.py").write_text(SCRIPT)
    command = [sys.executable, "-u", str(folder / "script.py"), "--out", str(folder), *arguments]
    printed = folder / "printed"
    with printed.open("w") as file:
        return subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT), printed


def wait_for(printed, *lines):
    deadline = time.monotonic() + 120
    while not all(line in printed.read_text() for line in lines):
        assert time.monotonic() < deadline, printed.read_text()
        time.sleep(0.05)


def children(parent):
    listed = subprocess.run(
        ["ps", "-ww", "--ppid", str(parent), "-o", "pid=", "-o", "args="], capture_output=True, text=True
    )
    return [
        int(pid) for pid, *command in map(str.split, listed.stdout.splitlines()) if "LokyProcess" in " ".join(command)
    ]


def runs(pid):
    try:
        with open(f"/proc/{pid}/status") as file:
            return "State:\tZ" not in file.read() and os.path.exists(f"/proc/{pid}/exe")
    except FileNotFoundError:
        return False
