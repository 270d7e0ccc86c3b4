"""Atomic writing: the old content or the new, never half."""

import errno
import json
import os
import platform
import random
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kmodels import InputError
from kmodels.files import cache_folder, replacing, writable_folder, write_atomically


def test_it_writes_and_replaces(tmp_path):
    path = tmp_path / "new" / "file.txt"
    write_atomically(path, "old")
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"
    assert os.listdir(path.parent) == ["file.txt"]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = write_atomically(tmp_path / "file.txt", "old")

    def fail(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(InputError, match=r"cannot write .*file.txt: No space left"):
        write_atomically(path, "new")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file.txt"]


def test_a_file_system_that_flushes_no_folder_will_do(tmp_path, monkeypatch):
    fsync = os.fsync

    def of_files_only(handle):
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, "Invalid argument")
        fsync(handle)

    monkeypatch.setattr(os, "fsync", of_files_only)
    assert write_atomically(tmp_path / "file.txt", "new").read_text() == "new"


def test_without_a_home_folder_the_variable_that_chooses_the_cache_is_named(without_home, monkeypatch):
    with pytest.raises(InputError, match=r"no home folder.* KMODELS_CACHE chooses another folder"):
        cache_folder()
    monkeypatch.setenv("KMODELS_CACHE", "elsewhere")
    assert cache_folder() == Path("elsewhere")


def test_a_killed_writer_leaves_a_whole_file(tmp_path):
    path = tmp_path / "file.json"
    code = (
        "import itertools, json, sys; from kmodels.files import write_atomically\n"
        "for i in itertools.count():\n    write_atomically(sys.argv[1], json.dumps([i] * 20_000))"
    )
    rng = random.Random(0)
    for _ in range(5):
        process = subprocess.Popen([sys.executable, "-c", code, str(path)])
        while not path.exists():
            time.sleep(0.01)
        time.sleep(rng.uniform(0.05, 0.3))
        process.send_signal(signal.SIGKILL)
        process.wait()
        values = json.loads(path.read_text())
        assert len(values) == 20_000
        assert len(set(values)) == 1
    # The next writer clears up after the killed ones, and leaves alone what is being written, by other hosts too.
    host = platform.node()
    alive = {f".file.json.{host}-{os.getpid()}.1", f".file.json.{host}-2-{process.pid}.1"}
    for name in alive:
        (tmp_path / name).write_text("")
    write_atomically(path, "new")
    assert set(os.listdir(tmp_path)) == {*alive, "file.json"}


@pytest.mark.parametrize("ending", ["", ".keras"])
def test_what_is_being_written_is_not_found_as_a_file_of_its_kind(ending, tmp_path):
    with replacing(tmp_path / "file.json", ending) as temporary:
        temporary.write_text("{")
        assert temporary.name.endswith(ending)
        assert not list(tmp_path.rglob("*.json"))
        assert len(list(tmp_path.iterdir())) == 1
    assert os.listdir(tmp_path) == ["file.json"]


def test_a_folder_that_is_a_file_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"the folder to write into is a file; .*--out.* Received: .*file"):
        writable_folder(tmp_path / "file")


def test_an_unwritable_folder_is_named(tmp_path):
    # A missing parent in /proc cannot be made by anyone, root included.
    with pytest.raises(InputError, match="cannot write into the folder '/proc/none'"):
        writable_folder("/proc/none")
