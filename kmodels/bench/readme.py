"""Benchmarks in the README: a table of the throughput, one of all else measured, one of programs for a GPU."""

import json
from pathlib import Path

from kmodels.bench.contenders import CONTENDERS
from kmodels.bench.kernels import PROGRAMS
from kmodels.bench.memory import MEBIBYTE
from kmodels.bench.summary import median, ratios, reference_of, sizes, spent, starts
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
    """What these results say, for the README: tables of the throughput, of all else measured, of programs for a GPU.

    Of several measurements of the same, the last counts.
    """
    speed, programs, rest = {}, {}, {}
    for results in benchmarks:
        device, precision = results["environment"]["device"], results["settings"]["precision"]
        for section, rows in results["sections"].items():
            for row in rows:
                where = (device, precision, row["model"], row["batch_size"])
                if section == "throughput":
                    speed[where] = row
                elif section == "kernels":
                    programs[row["gpu"], *where[1:]] = row["programs"]
                elif said := IN_A_SENTENCE[section](row):
                    rest[section, *where] = said
    tables = [_speed_table(speed)] if speed else []
    if rest:
        lines = [("what", "device", "precision", "network", "batch", "measured")]
        lines += [(section, *map(str, where), said) for (section, *where), said in sorted(rest.items())]
        tables.append(table(lines, right=(4,)))
    if programs:
        tables.append(_kernels_table(programs))
    return "\n\n".join(tables) or "No benchmark yet."


def _speed_table(rows):
    """A line for each device, precision, network and batch size."""
    names = [name for name in CONTENDERS if name != "input" and any(name in row["contenders"] for row in rows.values())]
    lines = [("device", "precision", "network", "batch", *(f"`{name}`" for name in names))]
    for (device, precision, model, batch_size), row in rows.items():
        lines.append((device, precision, f"`{model}`", str(batch_size), *(_rate(row, name) for name in names)))
    return table(lines, right=range(3, 4 + len(names)))


def _rate(row, name):
    """The median of images a second, and how many times as fast ours was."""
    rate = median(row["contenders"].get(name, {}).get("images_per_second"))
    if rate is None:
        return "-"
    reference = reference_of(row["contenders"])
    compared = median(ratios(row["contenders"][reference], row["contenders"][name]))
    return f"**{rate:,.0f}**" if name == reference else f"{rate:,.0f} ({compared:.2f})"


def _kernels_table(rows):
    """A line for each GPU compiled for, precision, network and batch size."""
    lines = [("compiled for, not run on", "precision", "network", "batch", *(f"`{name}`" for name in PROGRAMS))]
    for (gpu, precision, model, batch_size), programs in rows.items():
        counted = (_program(programs[name]) for name in PROGRAMS)
        lines.append((gpu, precision, f"`{model}`", str(batch_size), *counted))
    return table(lines, right=range(3, 4 + len(PROGRAMS)))


def _program(program):
    return "-" if program["error"] else f"{program['kernels']:,}; {program['bytes'] / MEBIBYTE:,.0f} MiB"


def _pair_said(row):
    (name, result), (other_name, other) = row["contenders"].items()
    compared = ratios(result, other)
    if not compared:
        return ""
    return f"{name}: {median(compared):.3f} times as fast as {other_name} ({min(compared):.3f} to {max(compared):.3f})"


def _startup_said(row):
    cold, warm = (starts(row)[cache] for cache in ("cold", "warm"))
    if None in (*cold.values(), *warm.values()):
        return ""
    return (
        f"compiling takes {cold['compile_seconds']:.1f} s; in a second process {warm['compile_seconds']:.1f} s, of it "
        f"{warm['tracing_seconds']:.1f} s tracing and {warm['machine_code_seconds']:.1f} s reading machine code; from "
        f"the start of a process to the end of the first step {cold['process_seconds']:.1f} s and "
        f"{warm['process_seconds']:.1f} s"
    )


def _memory_said(row):
    if not row["watched"]:
        return ""
    found = {what: number / MEBIBYTE for what, number in sizes(row["watched"]).items()}
    return (
        f"{found['more']:,.0f} MiB above the libraries' {found['libraries']:,.0f}, {found['images']:,.0f} of them the "
        f"images; growth over the second half of {len(row['watched']['epoch_bytes'])} epochs: "
        f"{found['growth']:.2f} MiB an epoch"
    )


def _profile_said(row):
    if not row["taken"]:
        return ""
    kinds = spent(row["taken"])
    whole = sum(both.total() for both in kinds.values())
    parts = (f"{kind} {100 * both.total() / whole:.0f} %" for kind, both in list(kinds.items())[:4])
    busy = 100 * row["taken"]["busy_seconds"] / row["taken"]["seconds"]
    return f"{', '.join(parts)}; the device is at work in {busy:.0f} % of the time"


# A row of each section in one line; "" where nothing was measured.
IN_A_SENTENCE = {
    "callbacks": _pair_said,
    "deterministic": _pair_said,
    "startup": _startup_said,
    "memory": _memory_said,
    "profile": _profile_said,
}
