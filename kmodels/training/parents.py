"""The network that a run starts from: what `init_from` names."""

import shlex
from pathlib import Path

import keras

from kmodels.errors import InputError, require
from kmodels.records import read_record


def parent_network(experiment, seed, out, source=None):
    """The .keras file that an experiment's `init_from` means; None for None.

    A name stands for the completed runs of that experiment and this seed under `out` that have a network; for a head,
    those that saw the same images. Runs of another backend count only where there is none of this one.

    Args:
        experiment: an Experiment.
        seed: of the run that starts from it.
        out: the results folder.
        source: of the Dataset of that run; None where it is not open yet: then any network will do for a head.

    Raises:
        InputError: if there is no such file or network, or several; says how to make it, or which they are.
    """
    name = experiment.init_from
    if name is None:
        return None
    if name.endswith(".keras"):
        require(Path(name).is_file(), "init_from must be an experiment's name or a file that exists", name)
        return Path(name)
    paths = sorted((Path(out) / name).glob(f"*-seed{seed}.json"))
    found = {path.with_suffix(".keras"): read_record(path) for path in paths}
    there = {file: record for file, record in found.items() if file.is_file()}
    if experiment.head and source:
        there = {file: record for file, record in there.items() if _same_images(record, experiment, source)}
    here = [file for file, record in there.items() if record.backend == keras.backend.backend()]
    candidates = here or list(there)
    if not candidates:
        raise InputError(_missing(experiment, seed, out, found))
    if len(candidates) > 1 and (source or not experiment.head):
        question = f"init_from: {name!r} with seed {seed} was run in several ways; give one of them:"
        raise InputError(question, *(f"  {file}" for file in candidates))
    return candidates[0]


def _same_images(record, experiment, source):
    theirs = record.experiment
    settings = (theirs.subset, theirs.imbalance) == (experiment.subset, experiment.imbalance)
    return settings and record.source["sha256"] == source["sha256"]


def _missing(experiment, seed, out, found):
    """What is lacking, and the command that makes it."""
    elsewhere = "" if Path(out) == Path("results") else f" --out {shlex.quote(str(out))}"
    command = f"kmodels run {experiment.init_from} --seeds {seed}{elsewhere}"
    if any(record.experiment.head in ("svm", "nearest_mean") for record in found.values()):
        return f"init_from: {experiment.init_from!r} is a head without a network of its own"
    what = f"init_from: there is no network of {experiment.init_from!r} with seed {seed} under {out}"
    if found and not any(file.is_file() for file in found):
        return f"{what}, only its record; this makes it: {command} --again"
    if found:
        what += " that was trained on these images"
    return f"{what}; this makes it: {command}"
