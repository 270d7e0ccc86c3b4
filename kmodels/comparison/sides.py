"""The runs that are compared: what was given as a and as b."""

import glob
from collections import Counter
from pathlib import Path

from kmodels.errors import InputError, require, shorten
from kmodels.records import Record, read_record, read_records
from kmodels.records.summaries import summarise


def read_side(given, out):
    """{path: Record} of what was given as a or b."""
    if isinstance(given, Record):
        given = [given]
    if isinstance(given, list | tuple):
        fits = given and all(isinstance(record, Record) for record in given)
        require(fits, "a and b must each be a Record, a list of Records or a path", given)
        return {Path(out) / f"{record.stem}.json": record for record in given}
    require(isinstance(given, str | Path), "a and b must each be a Record, a list of Records or a path", given)
    path = Path(given)
    if path.is_dir():
        found = read_records(path)
        require(found, "the folder must have records (*-seed*.json) that can be read", str(path))
        return found
    if path.is_file():
        return {path: read_record(path)}
    paths = [Path(name) for name in sorted(glob.glob(str(path), recursive=True)) if name.endswith(".json")]
    require(paths, "there is no such record (.json), folder or pattern of records", str(path))
    return {path: read_record(path) for path in paths}


def find_groups(records, letter):
    """Summaries of one experiment that have completed runs; several if it was run on other data or in another way."""
    names = list(dict.fromkeys(record.experiment.name for record in records.values()))
    if len(names) > 1:
        raise InputError(f"{letter} must be one experiment; give the folder of one. Received: {shorten(names)}")
    groups = [summary for summary in summarise(records.values()) if summary.records]
    if not groups:
        counts = Counter(record.status for record in records.values())
        states = ", ".join(f"{count} {status}" for status, count in counts.items())
        raise InputError(f"{letter} ({names[0]}) must have a completed run. Received: {states}")
    return groups


def choose_groups(sides, paths):
    """Of each side the Summary that is compared, and those that are left out.

    A folder may have runs of an experiment on several data or backends: those compared are the only ones that agree.
    """
    pairs = [(a, b) for a in sides[0] for b in sides[1]]
    if len(pairs) > 1:
        pairs = [(a, b) for a, b in pairs if _where(a) == _where(b)]
    if len(pairs) != 1:
        letter, groups = ("a", sides[0]) if len(sides[0]) > 1 else ("b", sides[1])
        patterns = [str(paths[id(group.records[0])]).rsplit("-seed", 1)[0] + "-seed*.json" for group in groups]
        raise InputError(
            f"{letter} ({groups[0].experiment.name}) must be runs with the same settings, data, backend and precision; "
            f"give one of these patterns, in quotes. Received: {shorten(patterns)}"
        )
    return [(one, [group for group in side if group is not one]) for one, side in zip(pairs[0], sides, strict=True)]


def _where(summary):
    record = summary.records[0]
    return summary.source["sha256"], record.backend, record.precision


def common_seed(a, b):
    """Summaries of the one run of each side: of the smallest seed that both have, or else of the smallest of each."""
    common = {record.seed for record in a.records} & {record.seed for record in b.records}
    chosen = [
        next(record for record in summary.records if not common or record.seed == min(common)) for summary in (a, b)
    ]
    return [summarise([record])[0] for record in chosen]


def same_data(a, b):
    """Whether both were measured on the same pixels."""
    return a.source["sha256"] == b.source["sha256"]
