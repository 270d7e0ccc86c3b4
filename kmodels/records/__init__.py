"""One JSON record a run: what was run, on what, and what came out. Written whole or not at all."""

import hashlib
import json
import math
import re
import sys
from collections.abc import Mapping
from copy import copy
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from kmodels.analysis.evaluation import Evaluation
from kmodels.analysis.metrics import Calibration
from kmodels.data.cache import SPLITS
from kmodels.errors import InputError, describe_error, require
from kmodels.experiment import Experiment
from kmodels.files import write_atomically
from kmodels.notebook import Listing, Table, html
from kmodels.records.checks import as_tuples, check_ranges, check_types
from kmodels.records.descriptions import kept_epoch, mean_and_spread, origin, percent, recipe, size_name, source_name
from kmodels.records.summaries import summarise
from kmodels.text import clip, counted, printable

SCHEMA = 1
STATUSES = ("completed", "diverged", "interrupted", "failed")
# The largest, of a thousand classes, has a tenth of it.
MOST_BYTES = 2**28


@dataclass(frozen=True, kw_only=True, repr=False)
class Record:
    """The outcome of one run.

    Attributes:
        status: "completed", "diverged" (the loss was no longer a number), "interrupted" (by the user) or "failed".
        error: what ended a failed run.
        source: where the pixels came from (`Dataset.source`).
        class_names: in the order of the labels.
        image_shape: (height, width, 3) of the images the network saw.
        parameters: trainable parameters of the network, or the fitted numbers of a head.
        history: per finished epoch: loss, accuracy, val_loss, val_accuracy (fractions of 1), learning_rate and
            seconds; None where a value is not finite. Where the loss has label smoothing, class weights or mixed
            images, also cross_entropy and val_cross_entropy, without them, to be compared with other runs.
        best_epoch: the epoch whose weights were kept, from 1; which that is, the experiment's `keep` and `monitor` say.
        train, val, test: None unless the run completed. Test is evaluated once, after everything was chosen.
        compile_seconds: on JAX tracing and compiling the training step, next to nothing where an earlier run in the
            same process or the cache on disk had it; elsewhere the first training step.
        train_seconds: all training steps without that; validation excluded.
        images_per_second: training images over train_seconds.
        precision: what the network computed in: float32, bfloat16 or float16.
        devices: how many trained it together; the outcome depends on their number by rounding only.
        commit: of the kmodels checkout, with "+" if it had changes; None outside one.
        started: UTC time, ISO 8601.
        seeds_at_once: with how many seeds, itself included, it was trained in one program; times are those of all.
        deterministic: whether the GPU was made to repeat results bit for bit.
        weights_sha256: of the weights that the network started from, or that computed a head's features; None: random.
        started_from: where `init_from` was given: the file's name ("network"), and the names of the layers whose
            weights were transferred ("taken") and initialised ("drawn").
        callbacks: the names of callbacks beyond kmodels' own.
        code_sha256: {field of the experiment: digest of its source} of functions named as "module:function".
        head: where a head was fitted on frozen features: what was chosen on val, with the candidates' val accuracies.
        network_sha256: digest of the weights of the network beside it; None: it has none, or is older than this field.
        warnings: sentences on what may be wrong with it, as the run printed them.
    """

    experiment: Experiment
    seed: int
    status: str
    source: Mapping[str, Any]
    class_names: tuple[str, ...]
    image_shape: tuple[int, int, int]
    parameters: int
    history: Mapping[str, tuple[float | None, ...]]
    best_epoch: int | None
    train: Evaluation | None = None
    val: Evaluation | None = None
    test: Evaluation | None = None
    compile_seconds: float | None = None
    train_seconds: float | None = None
    images_per_second: float | None = None
    backend: str
    device: str
    precision: str
    devices: int = 1
    versions: Mapping[str, str]
    commit: str | None
    started: str
    error: str | None = None
    weights_sha256: str | None = None
    started_from: Mapping[str, Any] | None = None
    code_sha256: Mapping[str, str] | None = None
    head: Mapping[str, Any] | None = None
    callbacks: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    network_sha256: str | None = None
    seeds_at_once: int = 1
    deterministic: bool = False
    schema: int = SCHEMA

    def __post_init__(self):
        require(self.status in STATUSES, f"status must be one of {', '.join(STATUSES)}", self.status)
        for name in ("source", "history"):
            require(isinstance(getattr(self, name), Mapping), f"{name} must be a mapping", getattr(self, name))
        missing = {"kind", "name", "counts", "sha256"} - set(self.source)
        require(not missing, f"source must have {', '.join(sorted(missing))}", sorted(self.source))
        if self.status == "completed":
            evaluated = all((self.train, self.val, self.test))
            require(evaluated, "a completed run must have train, val and test evaluated", self.status)

    def __repr__(self):
        test = f", test accuracy {100 * self.test.accuracy:.2f} %" if self.test else ""
        return f"<Record {self.experiment.name}, seed {self.seed}: {self.status}, {self.epochs_run} epochs{test}>"

    def _repr_html_(self):
        seconds = None if self.train_seconds is None else f"{self.train_seconds:,.1f} s of training steps"
        rows = {
            "settings": recipe(self.experiment),
            "data": f"{source_name(self.source)}, {size_name(self.image_shape)}, {len(self.class_names)} classes",
            "training": ", ".join(filter(None, (f"{self.epochs_run} epochs", kept_epoch(self), seconds))),
            "computed on": f"{self.device}, {self.backend}, {self.precision}",
            **origin(self),
        }
        rows |= {"error": self.error} if self.error else {}
        tables = [Table(rows.items())]
        results = {name: getattr(self, name) for name in SPLITS if getattr(self, name)}
        if results:
            losses = {name: "-" if one.loss is None else f"{one.loss:.4f}" for name, one in results.items()}
            cells = [(name, f"{one.examples:,}", losses[name], percent(one.accuracy)) for name, one in results.items()]
            tables.append(Table(cells, ("", "images", "loss", "accuracy %"), (1, 2, 3)))
        title = f"{self.experiment.name}, seed {self.seed}: {self.status}"
        notes = [f"warning: {warning}" for warning in self.warnings]
        return html(title, filter(None, [self.experiment.description]), tables, notes=notes)

    @property
    def epochs_run(self):
        """How many epochs were finished."""
        return len(self.history.get("loss", ()))

    @property
    def chosen(self):
        """{name: number} of what a head chose on val."""
        return {name: value for name, value in (self.head or {}).items() if isinstance(value, float)}

    @property
    def stem(self):
        """Where the record lies under the results folder, without suffix; its pictures lie beside it.

        A run that was not completed has a stem of its own, so that it never takes the place of one that was.
        """
        ending = "" if self.status == "completed" else f"-{self.status}"
        stem = record_stem(
            self.experiment,
            self.seed,
            self.source,
            self.weights_sha256,
            self.backend,
            self.precision,
            self.code_sha256,
        )
        return f"{stem}{ending}"


def record_stem(experiment, seed, source, weights_sha256, backend, precision, code_sha256=None):
    """`Record.stem` of a completed run, before there is a record.

    Equal for a repeat of the same run (experiment, data, first weights, backend, precision, seed and the source of the
    user's own functions), different for any other. Arguments as the attributes of a Record.
    """
    how = backend if precision == "float32" else f"{backend}-{precision}"
    what = f"{experiment.fingerprint}-{source['sha256'][:8]}"
    if weights_sha256:
        what += f"-{weights_sha256[:8]}"
    if code_sha256:
        digest = hashlib.sha256(json.dumps(dict(code_sha256), sort_keys=True).encode()).hexdigest()
        what += f"-code{digest[:8]}"
    return f"{experiment.name}/{how}-{what}-seed{seed}"


def write_record(record, out):
    """Writes a record atomically, and returns its path, `<out>/<record.stem>.json`.

    Args:
        record: a Record.
        out: the results folder.

    Raises:
        InputError: if it cannot be written.
    """
    content = {**asdict(record), "epochs_run": record.epochs_run}
    return write_atomically(Path(out) / f"{record.stem}.json", record_json(content))


def record_json(content):
    """The text of a record's file: a line for each field, and for each list of numbers.

    A confusion matrix of a hundred classes takes a hundred lines so, and a third of the bytes.

    Args:
        content: what JSON can hold.
    """
    # No text in it has such a line end: in JSON they are written as escapes.
    numbers = re.compile(r'\[\n[^][{}"]*\n *\]')
    text = numbers.sub(lambda found: re.sub(r"\s+", "", found.group()), json.dumps(content, indent=1))
    return f"{text}\n"


def read_record(path):
    """Reads a record back into equal values.

    Everything in it is checked first, by type, range and characters: what it says decides where files are written.

    Raises:
        InputError: if the file is missing, is no record, or has another schema version.
    """
    try:
        require(Path(path).stat().st_size <= MOST_BYTES, f"a record must have at most {MOST_BYTES:,} bytes", str(path))
        content = json.loads(Path(path).read_text(), parse_float=_finite_number, parse_constant=_finite_number)
    except UnicodeDecodeError as error:
        raise InputError(f"cannot read the record {path}: it is not text; a record is a .json file") from error
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"cannot read the record {path}: {error}") from error
    schema = content.get("schema") if isinstance(content, dict) else None
    if schema != SCHEMA:
        raise InputError(f"{path} is not a record of schema {SCHEMA}. Received schema: {_on_one_line(schema)}")
    try:
        values = {item.name: as_tuples(content[item.name]) for item in fields(Record) if item.name in content}
        values["experiment"] = Experiment.from_record(values["experiment"])
        values["source"] = content["source"]
        for split in ("train", "val", "test"):
            values[split] = _evaluation(values[split])
        record = Record(**values)
        check_types(record)
        check_ranges(record)
    except (KeyError, TypeError, AttributeError, ValueError, OverflowError, RecursionError) as error:
        raise InputError(f"{path} is not a whole record: {_on_one_line(describe_error(error))}") from error
    return record


def _on_one_line(value):
    """What a file holds, or what is wrong with it, on one line of a message."""
    return clip(printable(value), 300)


def _finite_number(text):
    number = float(text)
    require(math.isfinite(number), "numbers in a record must be finite", text)
    return number


def _evaluation(content):
    if content is None:
        return None
    values = dict(content)
    if values.get("calibration") is not None:
        values["calibration"] = Calibration(**values["calibration"])
    return Evaluation(**values)


class RecordList(Listing, list):
    """A list of Records that shows itself as a table."""

    def _listing(self):
        return _listing(self)


class RecordsByPath(Listing, dict):
    """A dict {path: Record} that shows itself as a table."""

    def _listing(self):
        return _listing(self.values())


def _listing(records):
    """What `Listing` shows of Records."""
    head = ("experiment", "data", "backend", "seed", "status", "epochs", "val %", "test %", "seconds")
    rows = [
        (
            record.experiment.name,
            record.source["name"],
            record.backend,
            str(record.seed),
            record.status,
            str(record.epochs_run),
            percent(record.val and record.val.accuracy),
            percent(record.test and record.test.accuracy),
            "-" if record.train_seconds is None else f"{record.train_seconds:,.1f}",
        )
        for record in records
    ]
    title = counted(len(rows), "record")
    summaries = summarise(records)
    if len(summaries) == 1 and len(rows) > 1:
        title += f", test accuracy {mean_and_spread(summaries[0])} %"
    return title, rows, head, (3, 5, 6, 7, 8)


def read_records(out):
    """All records under a folder, sorted by path, as a dict {path: Record} that shows itself as a table.

    Those that cannot be read are left out, and a line names them.

    Args:
        out: the results folder.

    Raises:
        InputError: if there is no such folder.
    """
    require(Path(out).is_dir(), "the results folder (--out, out=) must exist", str(out))
    records, errors = RecordsByPath(), []
    for path in sorted(Path(out).rglob("*-seed*.json")):
        try:
            records[path] = read_record(path)
        except InputError as error:
            errors.append(str(error))
    if errors:
        print(
            f"{len(errors)} of {len(records) + len(errors)} records cannot be read and are left out:", file=sys.stderr
        )
        for error in errors[:5]:
            print(f"  {error}", file=sys.stderr)
        if len(errors) > 5:
            print(f"  and {len(errors) - 5} more", file=sys.stderr)
    return records


def with_published(records, experiments):
    """Records with the published numbers as the reports list them now; those in a record are of the day of its run.

    Args:
        records: Records.
        experiments: Experiments as listed; records of others stay as they are.

    Returns:
        A list in the same order.
    """
    listed = {one.name: one.published for one in experiments}
    found = []
    for record in records:
        if record.experiment.name in listed:
            # Not by `replace`, which would refuse settings that are no longer allowed.
            experiment = copy(record.experiment)
            object.__setattr__(experiment, "published", listed[experiment.name])
            record = replace(record, experiment=experiment)
        found.append(record)
    return found
