"""The network that a run starts from: what `init_from` names."""

from pathlib import Path

import keras

from kmodels.errors import InputError, require
from kmodels.records import read_record


def parent_network(init_from, seed, out):
    """The .keras file that an experiment's `init_from` means; None for None.

    Args:
        init_from: a .keras file, or the name of an experiment with a completed run of this seed under `out`. Of several
            such runs (other settings, data or backends) the newest of this backend, else the newest.
        seed: of the run that starts from it.
        out: the results folder.

    Raises:
        InputError: if there is no such file or network; says how to make it.
    """
    if init_from is None:
        return None
    if init_from.endswith(".keras"):
        require(Path(init_from).is_file(), "init_from must be an experiment's name or a file that exists", init_from)
        return Path(init_from)
    found = []
    for path in sorted((Path(out) / init_from).glob(f"*-seed{seed}.json")):
        if path.with_suffix(".keras").is_file():
            record = read_record(path)
            found.append((record.backend == keras.backend.backend(), record.started, path))
    if not found:
        raise InputError(
            f"init_from: there is no network of {init_from!r} with seed {seed} under {out}; this makes it: "
            f"{making(init_from, seed, out)}"
        )
    return max(found)[-1].with_suffix(".keras")


def making(name, seed, out):
    """The command that trains the network of an experiment."""
    report, _, rest = name.partition("/")
    elsewhere = "" if Path(out) == Path("results") else f" --out {out}"
    return f"python experiments/{report}.py {rest} --seeds {seed}{elsewhere}"
