"""The cache: a dataset is prepared once, completely or not at all."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from kmodels import InputError
from kmodels.data.cache import cache_folder, prepared

# Prepares a tiny dataset, slowly, noting each preparation in a file.
SLOW = """
import sys, time
import numpy as np
from kmodels.data.cache import SPLITS, prepared
log, seconds = sys.argv[1], float(sys.argv[2])

def prepare(writer):
    with open(log, "a") as file:
        file.write("x")
    for split in SPLITS:
        writer.fill(split, np.full((4, 8, 8, 3), 7, np.uint8), np.arange(4) % 2, np.arange(4))
        time.sleep(seconds / 3)
    return ["a", "b"], {"kind": "test", "notes": []}

print(prepared("slow", {"log": log}, prepare).train.images.sum())
"""
SUM = str(4 * 8 * 8 * 3 * 7)


def start(log, seconds):
    return subprocess.Popen(
        [sys.executable, "-c", SLOW, str(log), str(seconds)], stdout=subprocess.PIPE, text=True, env=dict(os.environ)
    )


def test_two_processes_at_once_prepare_it_once(tmp_path):
    log = tmp_path / "log"
    processes = [start(log, 0.3) for _ in range(2)]
    assert [process.communicate()[0].strip() for process in processes] == [SUM] * 2
    assert log.read_text() == "x"


def test_a_killed_preparation_is_repeated(tmp_path):
    log = tmp_path / "log"
    killed = start(log, 60)
    # The file exists before its content does.
    while not (log.exists() and log.read_text()):
        time.sleep(0.02)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert start(log, 0).communicate()[0].strip() == SUM
    assert log.read_text() == "xx"


def test_a_failed_preparation_leaves_nothing(tmp_path):
    def fail(writer):
        writer.split("train", 2, 8, 8)
        raise RuntimeError("broken source")

    with pytest.raises(RuntimeError, match="broken source"):
        prepared("failing", {"path": str(tmp_path)}, fail)
    assert not [path for path in cache_folder().glob("failing-*") if path.is_dir()]


def test_a_damaged_prepared_dataset_is_named():
    def prepare(writer):
        for split in ("train", "val", "test"):
            writer.fill(split, np.zeros((2, 8, 8, 3), np.uint8), [0, 1], [0, 1])
        return ["a", "b"], {"kind": "test", "notes": []}

    prepared("damaged", {}, prepare)
    (folder,) = [path for path in cache_folder().glob("damaged-*") if path.is_dir()]
    (folder / "val_labels.npy").unlink()
    with pytest.raises(InputError, match=r"damaged-.* is damaged"):
        prepared("damaged", {}, prepare)


def test_another_key_is_another_dataset_and_opened_arrays_cannot_be_written():
    def make(value):
        def prepare(writer):
            for split in ("train", "val", "test"):
                writer.fill(split, np.full((2, 8, 8, 3), value, np.uint8), [0, 1], [0, 1])
            return ["a", "b"], {"kind": "test", "notes": []}

        return prepared("keyed", {"value": value}, prepare)

    one, two = make(1), make(2)
    assert (one.train.images[0, 0, 0, 0], two.train.images[0, 0, 0, 0]) == (1, 2)
    assert one.source["sha256"] != two.source["sha256"]
    assert not one.train.images.flags.writeable
