"""Benchmarks in the README: a table of the throughput, one of all else measured, one of programs for a GPU."""

import json
from pathlib import Path

from kmodels.bench.contenders import CONTENDERS
from kmodels.bench.gpu_target import PROGRAMS
from kmodels.bench.summary import MEBIBYTE, median, ratios, reference_of, sentence
from kmodels.errors import InputError
from kmodels.report.markdown import table


def read_benchmarks(folder):
    """The results of all benchmarks in a folder, oldest first.

    Raises:
        InputError: if a file there holds none.
    """
    try:
        found = [json.loads(path.read_text()) for path in Path(folder).glob("*.json")]
        return sorted(found, key=lambda results: results["started"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"cannot read the benchmarks in {folder}: {type(error).__name__}: {error}") from error


def markdown(benchmarks):
    """Tables of these results, as from `read_benchmarks`; of several measurements of the same, the last counts."""
    speed, programs, rest = {}, {}, {}
    for results in benchmarks:
        device, precision = results["environment"]["device"], results["settings"]["precision"]
        for section, rows in results["sections"].items():
            for row in rows:
                where = (device, precision, row["model"], row["batch_size"])
                if section == "throughput":
                    speed[where] = row["contenders"]
                elif section == "kernels":
                    programs[row["gpu"], *where[1:]] = row["programs"]
                elif line := sentence(section, row):
                    rest[section, *where] = line
    tables = []
    if speed:
        names = [name for name in CONTENDERS if name != "input" and any(name in row for row in speed.values())]
        tables.append(_by_column("device", names, speed, _rate))
    if rest:
        lines = [("what", "device", "precision", "network", "batch", "measured")]
        lines += [(*map(str, what), line) for what, line in sorted(rest.items())]
        tables.append(table(lines, right=(4,)))
    if programs:
        tables.append(_by_column("compiled for, not run on", PROGRAMS, programs, _program))
    return "\n\n".join(tables) or "No benchmark yet."


def _by_column(device, names, rows, cell):
    """A line for each device, precision, network and batch size, with a column `cell(row, name)` for each name."""
    lines = [(device, "precision", "network", "batch", *(f"`{name}`" for name in names))]
    for (where, precision, model, batch_size), row in rows.items():
        lines.append((where, precision, f"`{model}`", str(batch_size), *(cell(row, name) for name in names)))
    return table(lines, right=range(3, 4 + len(names)))


def _rate(contenders, name):
    """The median images/s, and how many times as fast ours was."""
    rate, reference = median(contenders.get(name, {}).get("images_per_second")), reference_of(contenders)
    if rate is None:
        return "-"
    compared = median(ratios(contenders[reference], contenders[name]))
    return f"**{rate:,.0f}**" if name == reference else f"{rate:,.0f} ({compared:.2f})"


def _program(programs, name):
    program = programs[name]
    return "-" if program["error"] else f"{program['kernels']:,}; {program['bytes'] / MEBIBYTE:,.0f} MiB"
