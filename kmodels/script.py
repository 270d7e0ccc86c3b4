"""What an experiment file becomes when it is run: a command that lists, runs, tries and draws its experiments."""

import os
import sys
import tempfile
from dataclasses import dataclass, field, make_dataclass, replace
from pathlib import Path
from types import NoneType
from typing import Annotated, Literal, get_args

import tyro

from kmodels.backend import check_backend
from kmodels.errors import InputError, unknown
from kmodels.experiment import deciding_fields
from kmodels.report import tables, write_report

AS_LISTED = "as-listed"


def main(experiments, doc, *, comparisons=None, draw=False, closing=""):
    """Runs the command line of an experiment file and exits.

    Args:
        experiments: the Experiments of the file, in the order of the report.
        doc: its docstring, shown by --help.
        comparisons: {title: experiments whose curves share a figure}.
        draw: draw the figures after every run, not only for --figures.
        closing: printed at the end of a run.
    """
    sys.exit(run_command(lambda: _main(experiments, doc, comparisons, draw, closing)))


def run_command(command):
    """Calls `command` and returns an exit status; a user's mistake becomes one line instead of a traceback."""
    try:
        status = command()
        sys.stdout.flush()
        return status
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        # The reader, `head` say, has seen enough; Python would complain once more when it closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except KeyboardInterrupt as interrupt:
        print(f"\ninterrupted{f': {interrupt}' if str(interrupt) else ''}", file=sys.stderr)
        return 130


def _main(experiments, doc, comparisons, draw, closing):
    arguments = tyro.cli(_arguments_class(), description=doc, config=(tyro.conf.FlagCreatePairsOff,))
    if arguments.list:
        print(tables.experiment_list(experiments))
        return 0
    check_backend()
    selected = _select(experiments, arguments.names)
    given = {
        item.name: getattr(arguments, item.name)
        for item in deciding_fields()
        if getattr(arguments, item.name) != AS_LISTED
    }
    selected = [replace(experiment, **given) for experiment in selected]
    if arguments.smoke:
        return _smoke(selected)
    status = 0 if arguments.figures else _run(selected, arguments)
    if arguments.figures or draw:
        _draw(selected, arguments, comparisons)
    if closing:
        print(f"\n{closing}")
    return status


def _run(selected, arguments):
    from kmodels.training import run

    records = []
    for number, experiment in enumerate(selected, start=1):
        for seed in arguments.seeds:
            print(f"\n[{number}/{len(selected)}] {experiment.name}, seed {seed}: {experiment.description}", flush=True)
            records.append(run(experiment, seed, arguments.out, data_dir=arguments.data_dir))
    print(f"\n{tables.published_against_measured(records)}\n\nrecords:")
    for record in records:
        print(f"  {arguments.out / record.stem}.json")
    return 0 if all(record.status == "completed" for record in records) else 1


def _draw(selected, arguments, comparisons):
    print("\nfigures and page:")
    for report in dict.fromkeys(experiment.name.split("/")[0] for experiment in selected):
        experiments = [experiment for experiment in selected if experiment.name.startswith(f"{report}/")]
        for path in write_report(experiments, arguments.out, comparisons, arguments.data_dir):
            print(f"  {path}")


def _smoke(selected):
    """Runs every experiment for one epoch on 40 made-up images; nothing is kept."""
    from kmodels.training import run

    with tempfile.TemporaryDirectory() as out:
        for experiment in selected:
            tiny = replace(
                experiment, dataset="made_up", feed="arrays", subset=None, epochs=1, batch_size=16, description=""
            )
            record = run(tiny, 0, out, verbose=0)
            print(f"{experiment.name}: {record.status}, {record.parameters:,} parameters", flush=True)
    return 0


def _select(experiments, names):
    """The experiments that are named by report, by report/name or by name alone, in the order given; none: all."""
    if not names:
        return list(experiments)
    chosen = []
    for name in names:
        report = [item for item in experiments if item.name.startswith(f"{name}/")]
        exact = [item for item in experiments if name in (item.name, item.name.split("/")[-1])]
        if not report and not exact:
            raise unknown("experiment", name, [item.name.split("/")[-1] for item in experiments])
        if not report and len(exact) > 1:
            raise InputError(f"{name!r} is in several reports; choose {' or '.join(item.name for item in exact)}")
        chosen += report or exact
    return list(dict.fromkeys(chosen))


@dataclass(frozen=True)
class _Common:
    """The arguments that every experiment file takes."""

    names: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="NAME ...")] = ()
    """which experiments, as --list shows them; none: all"""
    seeds: tuple[int, ...] = (0,)
    """one run each"""
    out: Path = Path("results")
    """the folder for records"""
    data_dir: Path | None = None
    """the folder of images, or of the archive you already have; None: download"""
    list: bool = False
    """show the experiments with their published numbers, and end"""
    smoke: bool = False
    """try each for one epoch on made-up images; keeps nothing"""
    figures: bool = False
    """draw the figures of the report from the records in --out, and a page with them"""


def _arguments_class():
    """_Common and an optional flag for every field of Experiment, typed as the field is."""
    overrides = []
    for item in deciding_fields():
        kinds = get_args(item.type) or (item.type,)
        metavar = "|".join("None" if kind is NoneType else kind.__name__.upper() for kind in kinds)
        flag = tyro.conf.arg(help=item.metadata["help"], metavar=metavar)
        kind = Annotated[item.type | Literal[AS_LISTED], flag]
        overrides.append((item.name, kind, field(default=AS_LISTED)))
    return make_dataclass("Arguments", overrides, bases=(_Common,), frozen=True)
