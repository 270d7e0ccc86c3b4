"""What an experiment file becomes when it is run: a command that lists, runs, tries and draws its experiments."""

import sys
import tempfile
from dataclasses import dataclass, field, make_dataclass, replace
from functools import partial
from pathlib import Path
from types import NoneType
from typing import Annotated, Literal

from kmodels.backend import check_backend, check_platforms, make_deterministic
from kmodels.catalogue import parents_first, select, tiny
from kmodels.command_line import tyro
from kmodels.components import load_component
from kmodels.errors import InputError, require, require_seeds
from kmodels.exit_status import leave, run_command
from kmodels.experiment import PLANNED_SEEDS, deciding_fields, kind_name, kinds
from kmodels.files import writable_folder
from kmodels.flags import parse_options
from kmodels.models import builder
from kmodels.records import read_records, with_published
from kmodels.report import tables, write_report

AS_LISTED = "as-listed"


def main(experiments, doc, *, figures=(), claims=(), draw=False, closing=""):
    """Runs the command line of an experiment file and exits.

    Args:
        experiments: the Experiments of the file, in the order of the report.
        doc: its docstring, shown by --help.
        figures: of kmodels/report/figures.py, for --figures.
        claims: of kmodels/report/claims.py, for --claims and --figures.
        draw: draw the figures after every run, not only for --figures.
        closing: printed at the end of a run.
    """
    leave(run_command(_main, experiments, doc, figures, claims, draw, closing))


def _main(experiments, doc, figures, claims, draw, closing):
    arguments = tyro.cli(arguments_class(), description=doc, config=(tyro.conf.FlagCreatePairsOff,))
    return run_arguments(arguments, experiments, figures, claims, draw, closing)


def run_arguments(arguments, experiments, figures=(), claims=(), draw=False, closing=""):
    """Does what the arguments of an experiment file ask for.

    Args:
        arguments: of the class that `arguments_class` returns.
        experiments, figures, claims, draw, closing: as in `main`.

    Returns:
        The exit status.

    Raises:
        InputError: for what the user can mend.
    """
    selected = select(experiments, arguments.names)
    arguments = replace(arguments, seeds=_seeds(arguments))
    if arguments.list:
        print(tables.experiment_list(selected))
        return 0
    if arguments.claims:
        return _judge(selected, experiments, arguments.out, claims)
    check_backend()
    if arguments.deterministic:
        make_deterministic()
    given = {
        item.name: getattr(arguments, item.name)
        for item in deciding_fields()
        if getattr(arguments, item.name) != AS_LISTED
    }
    selected = [_changed(experiment, given, arguments.data_dir) for experiment in selected]
    if arguments.smoke:
        return _smoke(selected)
    if arguments.plan or arguments.pending or arguments.hours is not None:
        from kmodels.commands.plan import run_plan

        status, ran = run_plan(arguments, selected, experiments, claims, bool(given))
        if not ran:
            return status
    else:
        status = 0 if arguments.figures else _run(selected, arguments, experiments)
    if status == 2:
        # What was wrong is the last thing to be read.
        return status
    if arguments.figures or draw:
        _draw(selected, arguments, figures, claims)
    elif claims:
        # They were judged by fewer records before.
        try:
            _write_verdicts(selected, experiments, arguments.out, claims)
        except InputError as error:
            print(f"claims were not judged again: {error}")
    if closing:
        print(f"\n{closing}")
    return status


def _run(selected, arguments, experiments):
    table = partial(tables.published_against_measured, experiments=experiments, out=arguments.out)
    return run_experiments(parents_first(selected), arguments, table)[0]


def _seeds(arguments):
    """The seeds asked for: by default one, and those of a plan where there is one to make."""
    if arguments.seeds is None:
        return PLANNED_SEEDS if arguments.plan else (0,)
    return arguments.seeds


def _changed(experiment, given, data_dir):
    """The experiment with the fields given on the command line; its description says which they are."""
    given = dict(given)
    if "model_options" in given:
        given["model_options"] = {**experiment.model_options, **parse_options(given["model_options"])}
    changes = {name: value for name, value in given.items() if value != getattr(experiment, name)}
    if not changes:
        return experiment
    differences = ", ".join(f"{name}={value}" for name, value in changes.items())
    published = experiment.published
    if "dataset" in changes and (data_dir is None or data_dir.resolve().name != experiment.dataset):
        # Other images than those of the report: its numbers say nothing about them.
        published = None
    description = f"{experiment.description}; {differences}" if experiment.description else differences
    return replace(experiment, **changes, published=published, description=description)


def run_experiments(selected, arguments, table):
    """Runs experiments one after the other, and shows what came out.

    Args:
        selected: Experiments, each after the one that it starts from.
        arguments: a Running that also has `data_dir`.
        table: from records to the text that is shown.

    Returns:
        The exit status, and the records.

    Raises:
        InputError: for what can be seen to be wrong before the first run.
    """
    _check(selected, arguments)
    from kmodels.interrupts import time_limit
    from kmodels.tracking import how_to_look
    from kmodels.training.sweeps import failures, sweep

    outcomes, seeds = [], dict.fromkeys(arguments.seeds)
    options = {
        name: getattr(arguments, name)
        for name in ("again", "resume", "data_dir", "skip_unreadable", "devices", "split", "track")
    }
    try:
        with time_limit(arguments.max_hours):
            for outcome in sweep(selected, seeds, arguments.out, **options):
                outcomes.append(outcome)
    finally:
        # Also when a later one is interrupted: what was finished is shown.
        records = [outcome.record for outcome in outcomes if outcome.record]
        if records:
            print(f"\n{table(with_published(records, selected))}\n\nrecords:")
            for record in records:
                print(f"  {arguments.out / record.stem}.json")
            if arguments.track:
                print(f"to see how they trained: {how_to_look(arguments.track, arguments.out)}")
    failed = [outcome.error for outcome in outcomes if outcome.error]
    if failed:
        check_platforms()
    for line in failures(outcomes):
        print(f"error: {line}", file=sys.stderr)
    if failed and all(isinstance(error, InputError) for error in failed):
        return 2, records
    unfinished = len(outcomes) < len(selected) * len(seeds)
    return int(bool(failed) or unfinished or any(record.status != "completed" for record in records)), records


def _check(selected, arguments):
    """Finds what can be wrong before the first run, not after hours of it."""
    require_seeds("--seeds", arguments.seeds)
    writable_folder(arguments.out)
    for experiment in selected:
        builder(experiment.model, experiment.model_options)
        weights = experiment.model_options.get("weights")
        if weights not in (None, "imagenet") and not Path(weights).is_file():
            raise InputError(f"the option weights must be 'imagenet' or a file that exists. Received: {weights!r}")
        for kind, reference in experiment.references.items():
            load_component(kind, reference)
    _check_parents(selected, arguments)


def _check_parents(selected, arguments):
    """Raises InputError where the network that an experiment starts from is neither there nor about to be made."""
    names = [experiment.name for experiment in selected]
    for experiment in (experiment for experiment in selected if experiment.init_from):
        if experiment.init_from not in names:
            from kmodels.training.parents import parent_network

            for seed in arguments.seeds:
                parent_network(experiment, seed, arguments.out)
        elif arguments.split == "runs":
            # Those of a folder of photographs have no names to choose them by.
            alone = f", or do {experiment.init_from} alone first" if hasattr(arguments, "names") else ""
            raise InputError(
                f"--split runs cannot do {experiment.init_from} and {experiment.name}, which starts from it, at once; "
                f"leave --split out{alone}"
            )


def _judge(selected, experiments, out, claims):
    """Prints what the records say of the claims about the selected experiments; writes that of their whole reports."""
    from kmodels.report.claim_tables import report_text, together

    names = {experiment.name for experiment in selected}
    asked = {claim.says for claim in claims for bound in claim.bounds if names & set(bound.names)}
    require(asked, "--claims needs experiments that a claim is about", sorted(names))
    found = {
        name: report.about(names, asked) for name, report in _write_verdicts(selected, experiments, out, claims).items()
    }
    for name, report in found.items():
        print(f"{name}\n\n{report_text(report)}\n")
    if len(found) > 1:
        print(f"all reports\n\n{together(found.values()).summary}\n")
    return 0


def _write_verdicts(selected, experiments, out, claims):
    """Writes verdicts on all claims of the reports of the selected experiments; returns {report: Report} of these."""
    from kmodels.report.claim_tables import write_claims

    reports = {experiment.report for experiment in selected}
    judged = write_claims(claims, experiments, read_records(out).values(), out, only=reports)
    return {name: report for name, report in judged.items() if name in reports}


def _draw(selected, arguments, figures, claims):
    print("\nfigures and page:")
    reports = list(dict.fromkeys(experiment.report for experiment in selected))
    for report in reports:
        experiments = [experiment for experiment in selected if experiment.name.startswith(f"{report}/")]
        try:
            *pictures, page = write_report(experiments, arguments.out, figures, arguments.data_dir, claims)
        except InputError as error:
            if len(reports) == 1:
                raise
            print(error)
            continue
        for path in pictures:
            print(f"  {path}")
        print(f"  {page.resolve().as_uri()}")


def _smoke(selected):
    """Runs every experiment for one epoch on 40 synthetic images; nothing is kept."""
    from kmodels.training import run

    failed = 0
    for experiment in selected:
        builder(experiment.model, experiment.model_options)
    for experiment in selected:
        # A folder for each: the network of one would be the largest file here, and there may be fifty.
        with tempfile.TemporaryDirectory() as out:
            record = run(tiny(experiment, out), 0, out, verbose=0)
        print(f"{experiment.name}: {record.status}, {record.parameters:,} parameters", flush=True)
        failed += record.status != "completed"
    return 1 if failed else 0


@dataclass(frozen=True, kw_only=True)
class Running:
    """The arguments of every command that runs experiments."""

    seeds: tuple[int, ...] = (0,)
    """one run each"""
    out: Path = Path("results")
    """the folder for records"""
    skip_unreadable: bool = False
    """leave out image files that cannot be read, instead of refusing all; the record says how many"""
    again: bool = False
    """repeat runs that have a record in --out; left out: their records are shown"""
    resume: bool = False
    """continue a run that was killed or interrupted; it ends as if it had not been"""
    deterministic: bool = False
    """make runs on a GPU repeat bit for bit, somewhat slower; on a CPU they always do"""
    devices: int = 1
    """how many GPUs to use: on JAX they divide each batch; see --split"""
    split: Literal["batch", "runs"] = "batch"
    """how to use several devices: divide each batch among them, or give each a run of its own"""
    max_hours: float | None = None
    """stop after so many hours, as by Ctrl-C; --resume continues from there"""
    track: Literal["tensorboard", "mlflow"] | None = None
    """show each run there while it trains; files go to --out/tracking, or MLflow's to MLFLOW_TRACKING_URI"""


@dataclass(frozen=True, kw_only=True)
class _Common(Running):
    """The arguments that every experiment file takes."""

    names: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="NAME ...")] = ()
    """which experiments, as --list shows them; none: all"""
    seeds: Annotated[tuple[int, ...] | None, tyro.conf.arg(metavar="INT ...")] = None
    """one run each; None: 0, and with --plan 0 1 2 3 4"""
    data_dir: Path | None = None
    """the folder of images, or the archive you already have or its folder; None: download, where that can be. With
    --plan also a folder with those of several datasets, as DIR/cifar10 and DIR/cifar100"""
    plan: bool = False
    """show which runs are not recorded, the most informative first, with the minutes that each takes here,
    and which cannot be done here, and why; runs nothing without --hours. Downloads nothing"""
    hours: float | None = None
    """with --plan: do what is planned for so many hours; stopped at any moment, the same command goes on from there"""
    pending: bool = False
    """with --plan: write PENDING.md in --out, what waits for this device, for a GPU and for data"""
    list: bool = False
    """show the experiments with their published numbers, and end"""
    smoke: bool = False
    """try each for one epoch on synthetic images; keeps nothing"""
    claims: bool = False
    """show what the report claims and what the records in --out say of it, write that to claims.md there, and end"""
    figures: bool = False
    """draw the figures of the report from the records in --out, and a page with them"""


def setting_flags(several=False, without=()):
    """The flags of Experiment's settings, typed as its fields are, for `make_dataclass`.

    Args:
        several: whether a setting may have several values; then a flag has a tuple of them, empty if it is not given.
            Otherwise one that is not given is AS_LISTED.
        without: names of fields that have no flag.

    Returns:
        A list of (name, type, field).
    """
    flags = []
    for item in (item for item in deciding_fields() if item.name not in without):
        metavar = "|".join("None" if kind is NoneType else kind_name(kind).upper() for kind in kinds(item))
        field_type, default = item.type | Literal[AS_LISTED], field(default=AS_LISTED)
        if item.name == "model_options":
            metavar, field_type = "NAME=VALUE ...", tuple[str, ...] | Literal[AS_LISTED]
        elif several and not item.name.startswith("class_"):
            metavar, field_type, default = f"{metavar} ...", tuple[item.type, ...], field(default=())
        flag = tyro.conf.arg(help=item.metadata["help"], metavar=metavar, help_behavior_hint="" if several else None)
        flags.append((item.name, Annotated[field_type, flag], default))
    return flags


def arguments_class(*bases):
    """The class of the arguments of an experiment file, for tyro; `bases` are further ones before the usual."""
    return make_dataclass("Arguments", setting_flags(), bases=(*bases, _Common), frozen=True, kw_only=True)
