"""The results as text for a terminal."""

import json
from collections import Counter
from pathlib import Path

from kmodels.bench.contenders import CONTENDERS
from kmodels.bench.memory import MEBIBYTE, SETTLED_EPOCH
from kmodels.bench.program_text import BACKWARD, FORWARD
from kmodels.bench.summary import achieved, compile_seconds, growth, median, ratios, reference_of
from kmodels.bench.throughput import EVERYONE
from kmodels.errors import InputError
from kmodels.report.tables import aligned


def text(results):
    """All sections that were measured, each with a heading; the argument is what the JSON file holds."""
    writers = {
        "throughput": _throughput,
        "callbacks": _pair,
        "startup": _startup,
        "memory": _memory,
        "deterministic": _pair,
        "profile": _profile,
    }
    parts = [
        f"{section}: {row['model']}, batch {row['batch_size']}\n{writers[section](row)}"
        for section, rows in results["sections"].items()
        for row in rows
    ]
    return "\n\n".join(parts) or "nothing was measured"


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
    """A table of the throughput in these results, a line for each device, precision, network and batch size.

    Of several measurements of the same, the last counts.
    """
    latest = {}
    for results in benchmarks:
        for row in results["sections"].get("throughput", ()):
            where = (results["environment"]["device"], results["settings"]["precision"])
            latest[*where, row["model"], row["batch_size"]] = row
    if not latest:
        return "No benchmark yet."
    names = [
        name for name in CONTENDERS if name != "input" and any(name in row["contenders"] for row in latest.values())
    ]
    head = ("device", "precision", "network", "batch", *(f"`{name}`" for name in names))
    lines = [head, ("---",) * 3 + ("---:",) * (1 + len(names))]
    for (device, precision, model, batch_size), row in latest.items():
        lines.append((device, precision, f"`{model}`", str(batch_size), *(_rate(row, name) for name in names)))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _rate(row, name):
    """The median of images a second, and how many times as fast ours was."""
    rate = median(row["contenders"].get(name, {}).get("images_per_second"))
    if rate is None:
        return "-"
    reference = reference_of(row["contenders"])
    compared = median(ratios(row["contenders"][reference], row["contenders"][name]))
    return f"**{rate:,.0f}**" if name == reference else f"{rate:,.0f} ({compared:.2f})"


def _throughput(row):
    contenders = row["contenders"]
    reference = reference_of(contenders)
    head = ("contender", "images/s", "least", "most", f"{reference} / it", "GFLOP/s", "% of peak", "compile s", "")
    lines = [head, *(_contender(row, name, reference) for name in contenders)]
    return f"{aligned(lines, right=range(1, 8))}\n{_counted(row)}"


def _contender(row, name, reference):
    result = row["contenders"][name]
    rates = result["images_per_second"]
    speed, share = achieved(row, name)
    compared = ratios(row["contenders"][reference], result) if reference and name != "input" else []
    return (
        name,
        _number(median(rates), ",.0f"),
        _number(min(rates, default=None), ",.0f"),
        _number(max(rates, default=None), ",.0f"),
        _number(median(compared), ".2f"),
        _number(speed and speed / 1e9, ",.0f"),
        _number(share and 100 * share, ".1f"),
        _number(compile_seconds(result), ".1f"),
        f"failed: {result['error']}" if result["error"] else EVERYONE[name].what,
    )


def _counted(row):
    if not row["flops"]:
        return "operations were not counted"
    peak = f"; peak: {max(row['matmul']) / 1e9:,.0f} GFLOP/s in a product of matrices" if row["matmul"] else ""
    flops = row["flops"]
    return f"{flops['per_image'] / 1e6:,.0f} MFLOP to train on an image, counted by {flops['counted']}{peak}"


def _pair(row):
    """Two contenders, the second without what the first has."""
    (name, result), (other_name, other) = row["contenders"].items()
    lines = [("", "images/s", "")]
    for label, one in ((name, result), (other_name, other)):
        error = f"failed: {one['error']}" if one["error"] else ""
        lines.append((label, _number(median(one["images_per_second"]), ",.0f"), error))
    compared = ratios(result, other)
    spread = f" ({min(compared):.3f} to {max(compared):.3f})" if compared else ""
    median_ratio = _number(median(compared), ".3f")
    return f"{aligned(lines, right=(1,))}\n{name} / {other_name}, within a round: {median_ratio}{spread}"


def _startup(row):
    parts = ("process_seconds", "compile_seconds")
    seconds = {cache: [median([one[part] for one in row[cache]]) for part in parts] for cache in ("cold", "warm")}
    lines = [("compile cache", "process to first step s", "of it compiling s")]
    lines += [(cache, *(_number(value, ".2f") for value in values)) for cache, values in seconds.items()]
    if None not in (*seconds["cold"], *seconds["warm"]):
        compared = (warm / cold if cold else None for warm, cold in zip(seconds["warm"], seconds["cold"], strict=True))
        lines.append(("warm / cold", *(_number(value, ".2f") for value in compared)))
    return f"{aligned(lines, right=(1, 2))}{_failed(row)}"


def _memory(row):
    if not row["watched"]:
        return _failed(row).strip()
    watched = row["watched"]
    epochs = watched["epoch_bytes"]
    lines = [
        ("resident", "MiB"),
        ("libraries and a tiny run", _mebibytes(watched["framework_bytes"])),
        (f"more after {len(epochs)} epochs", _mebibytes(epochs[-1] - watched["framework_bytes"])),
        ("of it the images", _mebibytes(watched["data_bytes"])),
        (f"growth from epoch {SETTLED_EPOCH}", _mebibytes(growth(epochs[SETTLED_EPOCH - 1 :]))),
        ("peak", _mebibytes(watched["peak_bytes"])),
    ]
    return aligned(lines, right=(1,))


def _profile(row):
    """By kind of layer, longest first; milliseconds a step."""
    if not row["taken"]:
        return _failed(row).strip()
    taken, spent = row["taken"], {}
    for part in taken["parts"]:
        both = spent.setdefault(part["kind"], Counter())
        both[part["direction"]] += 1e3 * part["seconds"] / taken["steps"]
    whole = sum(both.total() for both in spent.values())
    lines = [("part of a step", "forward ms", "backward ms", "% of all")]
    for kind, both in sorted(spent.items(), key=lambda item: -item[1].total()):
        times = (_number(both.get(direction), ".1f") for direction in (FORWARD, BACKWARD))
        lines.append((kind, *times, f"{100 * both.total() / whole:.1f}"))
    step, busy = 1e3 * taken["seconds"] / taken["steps"], 100 * taken["busy_seconds"] / taken["seconds"]
    return (
        f"{aligned(lines, right=(1, 2, 3))}\n"
        f"a step takes {step:,.1f} ms; the device is at work in {busy:.1f} % of it, on a processor side by side"
    )


def _failed(row):
    return f"\nfailed: {row['error']}" if row["error"] else ""


def _mebibytes(number):
    return f"{number / MEBIBYTE:,.0f}"


def _number(value, form):
    return "-" if value is None else format(value, form)
