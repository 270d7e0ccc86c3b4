"""Processes that are ended at any moment: what they leave is continued, and ends as if nothing had happened."""

import shutil
import signal
from contextlib import suppress

from harness import BASE, cache_in, content, experiment_file, files, in_process, signal_at

import kmodels
from kmodels import load_dataset, read_record

SIGNALS = {"SIGKILL": (-9,), "SIGTERM": (143, -15), "SIGINT": (130,)}
# How long the work takes at most, in seconds, once the process has begun it.
LONGEST = 6.0


def draw_moment(rng, changes):
    """Mostly at a change of a file, where something can be half done; else at any time."""
    return rng.randint(1, changes) if rng.random() < 0.7 else rng.uniform(0, LONGEST)


def end(world, rng, changes, folder, do, *arguments):
    """Ends a command by a signal; returns the signal's name."""
    name = rng.choice(list(SIGNALS))
    status, text = in_process(world, getattr(signal, name), draw_moment(rng, changes), folder, do, *arguments)
    # It may have been through before.
    world.check("the exit status tells the signal", status in (0, *SIGNALS[name]), f"{name}, {status}: {text}")
    return name


def records_are_whole(world, out):
    for path in out.rglob("*-seed*.json"):
        if not path.name.startswith("."):
            read_record(path)
            world.check("every record there is whole", True)


def in_a_training(world, rng):
    out, (_, changes) = world.folder / "out", world.whole
    for _ in range(rng.choice([1, 1, 2])):
        name = end(world, rng, changes, out, experiment_file, "--out", out, "--resume")
        records_are_whole(world, out)
    world.check_whole(kmodels.run(BASE, 0, out, resume=True, verbose=0), out)
    return name


def in_a_repeat(world, rng):
    """The first record and its network, or the second and its: never one of each."""
    whole, changes = world.whole
    out = world.folder / "out"
    shutil.copytree(world.whole_out, out)
    name = end(world, rng, changes, out, experiment_file, "--out", out, "--again")
    records_are_whole(world, out)
    record = kmodels.run(BASE, 0, out, verbose=0)
    world.check("a completed run stays completed", record.status == "completed" and record.test == whole.test)
    world.check_whole(kmodels.run(BASE, 0, out, again=True, resume=True, verbose=0), out)
    return name


def in_this_process(world, rng):
    """Ctrl-C as a notebook has it: the process lives on, and so must everything in it."""
    out, (_, changes) = world.folder / "out", world.whole
    with signal_at(signal.SIGINT, rng.randint(1, changes), out), suppress(KeyboardInterrupt):
        kmodels.run(BASE, 0, out, verbose=0)
    records_are_whole(world, out)
    world.check_whole(kmodels.run(BASE, 0, out, resume=True, verbose=0), out)
    return "SIGINT"


def in_a_preparation(world, rng):
    cache = world.folder / "cache"
    name = end(world, rng, 60, cache, prepare, world.pictures, cache)
    world.check_prepared(cache)
    return name


def prepare(pictures, cache):
    with cache_in(cache):
        load_dataset("folder", None, pictures)


def in_a_report(world, rng):
    out = world.folder / "out"
    shutil.copytree(world.whole_out, out)
    before = content(out)
    name = end(world, rng, 40, out, experiment_file, "--out", out, "--figures")
    now = content(out)
    world.check("records and networks are as they were", all(now[path] == before[path] for path in before))
    in_process(world, None, 10**9, out, experiment_file, "--out", out, "--figures")
    # One temporary folder of matplotlib's or Pillow's would be a name with a dot.
    world.check("the next report leaves no temporary file", not any("/." in f"/{name}" for name in files(out)))
    world.check("the next report has its page", any(name.endswith(".html") for name in files(out)))
    return name


KINDS = {
    "in a training": (in_a_training, 24),
    "in a repeat": (in_a_repeat, 8),
    "in a notebook's process": (in_this_process, 16),
    "in a preparation": (in_a_preparation, 8),
    "in a report": (in_a_report, 2),
}
