"""What the families of faults share: what is counted and checked, a full disk, and a signal at a moment that is drawn.

A fault is a function of a `World` and a random generator of its own. It checks that nothing was lost.
"""

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
from collections import Counter
from dataclasses import astuple
from functools import cached_property
from importlib import import_module
from pathlib import Path

import numpy as np
from PIL import Image

import kmodels
from kmodels import InputError, load_dataset
from kmodels.data.cache import SPLITS
from kmodels.exit_status import leave, run_command
from kmodels.models.saving import load_network, weights_checksum
from kmodels.records.predictions import predictions_path, read_predictions
from kmodels.script import main

BASE = kmodels.Experiment(
    name="faults/mlp",
    dataset="synthetic",
    image_size=16,
    model="mlp",
    augmentation="rotate_flip",
    batch_size=16,
    epochs=6,
    patience=None,
)
# What is long in starting a process is done once, by one that is then forked; none of it starts a thread.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["kmodels.script", "kmodels.training.sweeps", "kmodels.training.together"])


class World:
    """What all faults of one harness share, and what was checked.

    Args:
        base: an empty folder.
        outcome: the fixture of that name.

    Attributes:
        checked: {what was checked: how often}.
        folder: an empty one for the fault at hand.
    """

    def __init__(self, base, outcome):
        self.base, self.outcome, self.checked = Path(base), outcome, Counter()
        self.folder = None

    def check(self, what, holds, detail=""):
        """Counts a check, and fails where it does not hold."""
        self.checked[what] += 1
        assert holds, f"not so: {what}. {detail}"

    def refused(self, do, *arguments, **options):
        """What a function returns, and None; or None and the InputError, which must be one sentence on one line."""
        try:
            return do(*arguments, **options), None
        except InputError as error:
            text = str(error)
            self.check("an error is one line of at most 2,000 characters", one_line(text), text)
            return None, error

    @cached_property
    def whole(self):
        """The record of an uninterrupted run, in the folder `whole_out`, and how many files it changed."""
        frequent_checkpoints()
        with signal_at(None, 0, self.whole_out) as changes:
            record = kmodels.run(BASE, 0, self.whole_out, verbose=0)
        return record, changes.count

    @cached_property
    def weights(self):
        """Those of the network of `whole`."""
        return load_network(self.whole_out / f"{self.whole[0].stem}.keras").get_weights()

    @cached_property
    def interrupted(self):
        """The folder of a run that was interrupted after some epochs, with its checkpoint."""
        out, (_, changes) = self.base / "interrupted", self.whole
        with signal_at(signal.SIGINT, changes // 2, out), contextlib.suppress(KeyboardInterrupt):
            kmodels.run(BASE, 0, out, verbose=0)
        return out

    @property
    def whole_out(self):
        return self.base / "whole"

    @cached_property
    def pictures(self):
        """A folder of 60 small images in three classes."""
        rng = np.random.default_rng(0)
        for number in range(60):
            path = self.base / "pictures" / "abc"[number % 3] / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, 256, (16, 16, 3), np.uint8)).save(path)
        return self.base / "pictures"

    @cached_property
    def prepared(self):
        """The dataset of `pictures`."""
        with cache_in(self.base / "cache"):
            return load_dataset("folder", None, self.pictures)

    def check_whole(self, record, out, detail=""):
        """The record, and the network beside it, are those of the uninterrupted run, and nothing else lies there."""
        whole, _ = self.whole
        expected, got = self.outcome(whole), self.outcome(record)
        differing = {name: (got[name], value) for name, value in expected.items() if got[name] != value}
        self.check("history and metrics equal those of an uninterrupted run, bit for bit", not differing, differing)
        digest = weights_checksum(out / f"{record.stem}.keras")
        self.check("the network has the weights of that run", digest == whole.network_sha256, f"{digest} {detail}")
        # Predictions are written last, where there is space; what is there must be of this run.
        kept = read_predictions(out / f"{record.stem}.json")
        predictions = [] if kept else [predictions_path(Path(f"{whole.stem}.json")).as_posix()]
        expected = [name for name in files(self.whole_out) if name not in predictions]
        self.check("no other file is left", files(out) == expected, files(out))

    def check_prepared(self, cache):
        """Opening `pictures` with this cache gives the right pixels, and nothing else is left in the cache."""
        expected = self.prepared
        with cache_in(cache):
            dataset = load_dataset("folder", None, self.pictures)
        pairs = [(getattr(dataset, split), getattr(expected, split)) for split in SPLITS]
        same = all(np.array_equal(a, b) for pair in pairs for a, b in zip(*map(astuple, pair), strict=True))
        self.check("the cache gives the right pixels, labels and names", same and dataset.class_names == tuple("abc"))
        self.check("the record would say the same of the data", dataset.source == expected.source, dataset.source)
        folders = [path.name for path in cache.iterdir() if path.is_dir()]
        self.check("the cache has no other folder", len(folders) == 1, folders)


@contextlib.contextmanager
def cache_in(folder):
    """A context in which datasets are prepared in this folder."""
    before, os.environ["KMODELS_CACHE"] = os.environ.get("KMODELS_CACHE"), str(folder)
    try:
        yield
    finally:
        os.environ.pop("KMODELS_CACHE")
        if before is not None:
            os.environ["KMODELS_CACHE"] = before


def frequent_checkpoints():
    """Saves after every epoch, however long that takes."""
    checkpoint = import_module("kmodels.training.checkpoint")
    checkpoint.COPY_EVERY = checkpoint.WRITE_EVERY = 0


def one_line(text):
    return len(text) <= 2000 and text.isprintable()


def files(folder):
    """The sorted paths of all files in a folder, relative to it; digests in their names are of no interest here."""
    return sorted(str(path.relative_to(folder)) for path in Path(folder).rglob("*") if path.is_file())


def content(folder):
    """{path: bytes} of all files in a folder."""
    return {name: (Path(folder) / name).read_bytes() for name in files(folder)}


def memory(name):
    """A number of bytes that the system has about this process."""
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith(f"{name}:"))


class _Changes:
    """Counts what this process changes in a folder, and sends it a signal at one of these changes."""

    number = at = folder = None
    count = 0
    hooked = False

    def __call__(self, event, arguments):
        if self.folder is None or event not in ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir"):
            return
        if event == "open" and not arguments[2] & (os.O_WRONLY | os.O_RDWR):
            return
        if str(arguments[0]).startswith(self.folder):
            self.count += 1
            if self.count == self.at:
                os.kill(os.getpid(), self.number)


CHANGES = _Changes()


@contextlib.contextmanager
def signal_at(number, at, folder):
    """A context in which this process gets the signal `number` when it changes files in the folder the `at`-th time."""
    if not CHANGES.hooked:
        # Nothing takes a hook away again.
        sys.addaudithook(CHANGES)
        CHANGES.hooked = True
    CHANGES.number, CHANGES.at, CHANGES.count, CHANGES.folder = number, at, 0, str(folder)
    try:
        yield CHANGES
    finally:
        CHANGES.folder = None


def in_process(world, number, moment, folder, do, *arguments):
    """Calls a function in a process of its own, as a command, and sends it a signal.

    Args:
        world: the World.
        number: of the signal.
        moment: after so many changes of files in the folder (an int), or after so many seconds of work (a float).
        folder: see `moment`.
        do, *arguments: what to call.

    Returns:
        The exit status, and what was printed.
    """
    printed, ready = world.folder / "printed", PROCESSES.Event()
    at = moment if isinstance(moment, int) else 0
    process = PROCESSES.Process(target=_command, args=(printed, ready, number, at, folder, do, arguments))
    process.start()
    assert ready.wait(300)
    if not at:
        timer = threading.Timer(moment, os.kill, (process.pid, number))
        timer.start()
        process.join(300)
        timer.cancel()
    process.join(300)
    assert process.exitcode is not None, "it does not end"
    text = printed.read_text()
    printed.unlink()
    world.check("no traceback", "Traceback" not in text, text)
    return process.exitcode, text


def _command(printed, ready, number, at, folder, do, arguments):
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(os.open(printed, os.O_WRONLY | os.O_CREAT | os.O_APPEND), stream.fileno())
    frequent_checkpoints()

    def command():
        ready.set()
        with signal_at(number, at, folder):
            return do(*arguments)

    leave(run_command(command))


def experiment_file(*arguments):
    """Runs the command line of an experiment file with BASE in it."""
    sys.argv = ["file", *map(str, arguments)]
    main([BASE], "")
