"""Disks that are full: what was computed lies somewhere whole, that is said, and no half of a file stays."""

import contextlib
import io
import re
import shutil
import signal
import sys
import tempfile
from pathlib import Path

from conftest import mount, small_disk
from harness import BASE, cache_in, content, files, signal_at

import kmodels
from kmodels import load_dataset, read_record
from kmodels.exit_status import run_command
from kmodels.models.saving import load_network, save_network, weights_checksum
from kmodels.report import write_report

# The most that a fault writes, in KiB: a checkpoint with its predecessor.
MOST = 1500


def printed_by(do, *arguments, **options):
    """What a function prints, and returns; what it raises when it is interrupted counts as printed."""
    printed, result = io.StringIO(), None
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        try:
            result = do(*arguments, **options)
        except (KeyboardInterrupt, SystemExit) as interrupt:
            print(interrupt)
    return printed.getvalue(), result


def elsewhere(text, out):
    """The files outside `out` that a message says something is in."""
    words = text.replace(";", " ").split()
    found = [Path(word) for word in words if word.startswith(tempfile.gettempdir()) and Path(word).is_file()]
    return sorted({path for path in found if not path.is_relative_to(out)})


def of_a_run(world, rng):
    whole, _ = world.whole
    with small_disk(world.folder / "small", rng.randint(4, MOST)) as out:
        text, record = printed_by(kmodels.run, BASE, 0, out, verbose=0)
        world.check("the run is completed, and equal to one with space", world.outcome(record) == world.outcome(whole))
        there = [*elsewhere(text, out), *(out / name for name in files(out))]
        records = [read_record(path).test for path in there if path.suffix == ".json"]
        world.check("one record is somewhere", records == [whole.test], f"{there} {text}")
        networks = [weights_checksum(path) for path in there if path.suffix == ".keras"]
        world.check("one network is somewhere, with its weights", networks == [whole.network_sha256], f"{there} {text}")
        left = {Path(name).suffix for name in files(out)} | {Path(name).name[:1] for name in files(out)} & {"."}
        world.check("no half of a file stays", left <= {".json", ".keras", ".npz"}, files(out))
        for path in elsewhere(text, out):
            shutil.rmtree(path.parent, ignore_errors=True)
    return "results"


def of_an_interrupted_run(world, rng):
    _, changes = world.whole
    with small_disk(world.folder / "small", rng.randint(4, MOST)) as out:
        with signal_at(signal.SIGINT, rng.randint(1, changes), out):
            text, _ = printed_by(kmodels.run, BASE, 0, out, verbose=0)
        there = [*elsewhere(text, out), *(out / name for name in files(out))]
        epochs = [read_record(path).epochs_run for path in there if path.suffix == ".json"]
        promised = re.search("finished epochs? (is|are) in", text) or "the record is in" in text
        world.check("a record that a message names is there", not promised or epochs, f"{there} {text}")
        before = files(out)
        mount(out, f"remount,size={20 * MOST}k")
        for path in elsewhere(text, out):
            if path.suffix == ".keras":
                shutil.copy(path, out / BASE.name)
            shutil.rmtree(path.parent, ignore_errors=True)
        world.check_whole(kmodels.run(BASE, 0, out, resume=True, verbose=0), out, f"{before} {text}")
    return "results of an interrupted run"


def of_the_cache(world, rng):
    with small_disk(world.folder / "small", rng.randint(4, 120)) as disk:
        cache = disk / "cache"
        with cache_in(cache):
            dataset, error = world.refused(load_dataset, "folder", None, world.pictures)
        left = [path.name for path in cache.iterdir() if path.is_dir()] if cache.is_dir() else []
        world.check("it is prepared, or KMODELS_CACHE is named", dataset or "KMODELS_CACHE" in str(error), error)
        world.check("no half of a dataset stays", dataset or not left, left)
        del dataset
        mount(disk, f"remount,size={MOST}k")
        world.check_prepared(cache)
    return "cache"


def of_pictures(world, rng):
    assert world.whole
    needed = sum(map(len, content(world.whole_out).values())) // 1024 + 32
    with small_disk(world.folder / "small", needed + rng.randint(0, 600)) as out:
        shutil.copytree(world.whole_out, out, dirs_exist_ok=True)
        before = content(out)
        text, (_, error) = printed_by(world.refused, write_report, [BASE], out)
        now = content(out)
        world.check("records and networks are as they were", all(now[path] == before[path] for path in before))
        world.check("the page is there, or the error says why not", error or any(n.endswith("html") for n in now), text)
        world.check("no half of a file stays", not any("/." in f"/{name}" for name in now), list(now))
    return "pictures"


def of_a_network(world, rng):
    """One that is there is whole after another one did not fit in its place."""
    whole, _ = world.whole
    source = world.whole_out / f"{whole.stem}.keras"
    size = source.stat().st_size // 1024
    with small_disk(world.folder / "small", rng.randint(size + 8, 3 * size)) as out:
        path = out / "one.keras"
        shutil.copy(source, path)
        _, error = world.refused(save_network, load_network(source), path)
        world.check("a network that is there stays whole", weights_checksum(path) == whole.network_sha256, error)
        world.check("no half of a file stays", files(out) == ["one.keras"], files(out))
    return "network"


def of_standard_output(world, rng):
    out, before = world.folder / "out", sys.stdout
    command = [kmodels.run, BASE, 0, out]
    with open("/dev/full", "w") as sys.stdout, contextlib.redirect_stderr(io.StringIO()) as errors:
        try:
            status = run_command(lambda: kmodels.run(*command[1:], verbose=2) and 0)
            sys.stdout.flush()
        finally:
            sys.stdout = before
    world.check(
        "a run that cannot print says so and is not successful", status == 1 and "No space" in errors.getvalue()
    )
    (record,) = kmodels.read_records(out).values()
    world.check_whole(record, out)
    return "standard output"


KINDS = {
    "of a run": (of_a_run, 14),
    "of an interrupted run": (of_an_interrupted_run, 14),
    "of the cache": (of_the_cache, 14),
    "of pictures": (of_pictures, 2),
    "of a network": (of_a_network, 4),
    "of standard output": (of_standard_output, 2),
}
