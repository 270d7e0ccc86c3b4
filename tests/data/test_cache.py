"""The cache: a dataset is prepared once, completely or not at all."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import mount, small_disk

from kmodels import InputError
from kmodels.data import cache
from kmodels.data.cache import is_whole, prepared
from kmodels.files import cache_folder
from kmodels.locks import FileLock

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


def test_a_process_that_waits_for_another_says_so(capsys):
    zeros("taken")
    lock = f"{folder_of('taken')}.lock"
    shutil.rmtree(folder_of("taken"))
    said = ""
    with FileLock(lock):
        waits = threading.Thread(target=zeros, args=("taken",))
        waits.start()
        while not said:
            time.sleep(0.02)
            said = capsys.readouterr().err
    waits.join()
    assert said == "waiting: another process is preparing taken\n"
    assert folder_of("taken").is_dir()


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


def zeros(name, images=2):
    """Opens a dataset of zeros; prepares it where it must be."""

    def prepare(writer):
        for split in ("train", "val", "test"):
            labels = np.arange(images) % 2
            writer.fill(split, np.full((images, 8, 8, 3), 5, np.uint8), labels, np.arange(images))
        return ["a", "b"], {"kind": "test", "notes": []}

    return prepared(name, {}, prepare)


def folder_of(name):
    (folder,) = [path for path in cache_folder().glob(f"{name}-*") if path.is_dir()]
    return folder


def overwrite(path, start):
    """Zeroes a file from `start` (a share of its size) on."""
    with path.open("r+b") as file:
        size = path.stat().st_size
        file.seek(int(start * size))
        file.write(bytes(size - int(start * size)))


def edit(path, old, new):
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (lambda folder: overwrite(folder / "train_images.npy", 0.5), "train_images.npy has changed"),
        (lambda folder: overwrite(folder / "val_index.npy", 0.9), "val_index.npy has changed"),
        (lambda folder: os.truncate(folder / "test_images.npy", 20_000), "test_images.npy has changed"),
        (lambda folder: (folder / "val_labels.npy").unlink(), "no val_labels.npy"),
        (lambda folder: (folder / "meta.json").write_text(""), "damaged"),
        (lambda folder: (folder / "meta.json").write_text("[]"), "damaged"),
        (lambda folder: edit(folder / "meta.json", '"test"', '"tent"'), "meta.json has changed"),
        (lambda folder: edit(folder / "meta.json", '"a"', '"c"'), "meta.json has changed"),
        (lambda folder: edit(folder / "meta.json", '"digests"', '"digestz"'), "meta.json has other keys"),
    ],
)
def test_a_damaged_dataset_is_prepared_again_and_that_is_said(damage, why, capsys):
    source = zeros("damaged", 1000).source
    assert capsys.readouterr().out == ""
    damage(folder_of("damaged"))
    dataset = zeros("damaged", 1000)
    out = capsys.readouterr().out
    assert why in out
    assert "preparing it again" in out
    assert dataset.source == source
    assert dataset.train.images.min() == 5
    zeros("damaged", 1000)
    assert capsys.readouterr().out == ""


def test_a_change_between_the_blocks_that_are_checked_is_found_by_reading_all(monkeypatch):
    monkeypatch.setattr(cache, "CHECKED_BLOCKS", 2)
    monkeypatch.setattr(cache, "CHECKED_BYTES", 64)
    assert is_whole(zeros("verified"))
    with (folder_of("verified") / "train_images.npy").open("r+b") as file:
        file.seek(200)
        file.write(b"?")
    dataset = zeros("verified")
    assert not is_whole(dataset)
    assert is_whole(zeros("verified"))


def test_what_is_prepared_is_on_the_disk_before_it_has_its_name(monkeypatch):
    events = []
    fsync, rename = os.fsync, Path.rename

    def flush(handle):
        events.append(Path(os.readlink(f"/proc/self/fd/{handle}")).name)
        fsync(handle)

    monkeypatch.setattr(os, "fsync", flush)
    monkeypatch.setattr(Path, "rename", lambda path, to: events.append("renamed") or rename(path, to))
    zeros("flushed")
    before, after = events[: events.index("renamed")], events[events.index("renamed") + 1 :]
    partial = f"{folder_of('flushed').name}.partial"
    assert {"meta.json", "train_images.npy", "val_labels.npy", "test_index.npy", partial} <= set(before)
    assert after == [cache_folder().name]


def test_what_killed_preparations_left_is_removed_by_the_next_but_not_that_of_a_living_one(tmp_path):
    left = cache_folder() / "other-0.1-abc.partial"
    left.mkdir(parents=True)
    (left / "train_images.npy").write_bytes(b"")
    alive = start(tmp_path / "log", 3)
    while not list(cache_folder().glob("slow-*.partial/train_images.npy")):
        time.sleep(0.02)
    zeros("sweeping")
    assert not left.exists()
    assert list(cache_folder().glob("slow-*.partial"))
    assert alive.communicate()[0].strip() == SUM


def test_a_cache_that_cannot_be_written_names_the_variable(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("KMODELS_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(InputError, match=r"cannot write into the folder .*KMODELS_CACHE"):
        zeros("nowhere")


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


def test_a_full_disk_leaves_no_half_of_a_dataset_and_one_with_room_is_prepared(tmp_path, monkeypatch):
    source = zeros("fits", 100).source
    with small_disk(tmp_path / "disk", 30) as disk:
        monkeypatch.setenv("KMODELS_CACHE", str(disk / "cache"))
        with pytest.raises(InputError, match=r"cannot prepare .* KMODELS_CACHE"):
            zeros("fits", 100)
        assert [path for path in (disk / "cache").iterdir() if path.is_dir()] == []
        mount(disk, "remount,size=300k")
        assert zeros("fits", 100).source == source
