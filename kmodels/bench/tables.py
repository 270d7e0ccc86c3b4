"""What was measured, as text for a terminal and as Markdown tables: medians, and ratios within a round."""

import itertools
import json
from pathlib import Path
from statistics import median

from kmodels.bench.contenders import CONTENDERS
from kmodels.bench.gpu_target import PROGRAMS
from kmodels.errors import InputError
from kmodels.text import Markdown, aligned, markdown_table

OURS = ("ours", "ours-epoch")
# {backend: (ours on it, Keras' own fit on it)}; of several the fastest counts.
ON_BACKENDS = {
    "JAX": (OURS, "stock-fit"),
    "TensorFlow": (("keras-tensorflow",), "stock-fit-tensorflow"),
    "PyTorch": (("keras-torch",), "stock-fit-torch"),
}


def rate(contenders, name):
    """The median images/s of a contender; None where it was not measured."""
    rates = contenders.get(name, {}).get("images_per_second")
    return median(rates) if rates else None


def fastest(contenders, names):
    """Who has the highest median of those measured among `names`; None where none was measured."""
    measured = [name for name in names if rate(contenders, name)]
    return max(measured, key=lambda name: rate(contenders, name), default=None)


def reference_of(contenders):
    """The name that the others are compared with: the faster of ours, else the first that was measured, else None."""
    return fastest(contenders, OURS) or next((name for name in contenders if rate(contenders, name)), None)


def ratio(contenders, name, other):
    """How many times as fast one contender is as another: the median of the ratios within each round.

    Both were timed within seconds in a round, so a slow minute of the machine changes the speeds more than the ratio.
    """
    pairs = zip(contenders[name]["images_per_second"], contenders[other]["images_per_second"], strict=False)
    return median(one / two for one, two in pairs)


def _beside_stock_fit(row):
    """How many times as fast ours is as Keras' own fit, on each backend that has both."""
    contenders, found = row["contenders"], []
    for backend, (ours, stock) in ON_BACKENDS.items():
        best = fastest(contenders, ours)
        if best and rate(contenders, stock):
            found.append(f"{backend} {ratio(contenders, best, stock):.2f}")
    return f"ours / stock fit: {', '.join(found)}" if found else ""


def _startup(row):
    (cold, compiling), (warm, reading) = (
        [median(start[name] for start in row[cache]) for name in ("process_seconds", "compile_seconds")]
        for cache in ("cold", "warm")
    )
    return (
        f"compiling takes {compiling:.1f} s, in a second process {reading:.1f} s; from the start of a process to the "
        f"end of the first step {cold:.1f} s and {warm:.1f} s"
    )


def _contenders(row):
    contenders = row["contenders"]
    reference = reference_of(contenders)
    lines = [("contender", "images/s", "least", "most", f"{reference} / it", "compile s", "")]
    for name, result in contenders.items():
        rates, cells = result["images_per_second"], ["-"] * 5
        if rates:
            cells[:3] = (f"{number:,.0f}" for number in (median(rates), min(rates), max(rates)))
            if name != "input":
                cells[3] = f"{ratio(contenders, reference, name):.2f}"
            # The first step, or the first epoch where that is a program, compiles.
            cells[4] = f"{max(0.0, result['first_step_seconds'] - result['second_step_seconds']):.1f}"
        lines.append((name, *cells, f"failed: {result['error']}" if result["error"] else CONTENDERS[name].what))
    return aligned(lines, right=range(1, 6))


def _kernels(row):
    found = ((name, row["programs"][name]) for name in PROGRAMS)
    programs = (f"{name} {one['kernels']:,} kernels, {one['bytes'] / 2**20:,.0f} MiB" for name, one in found)
    return f"a step, compiled and not run: {'; '.join(programs)}"


def of_photographs(measured):
    """What was measured on one backend, in a sentence."""
    return "; ".join(f"{what} {number}" for what, number in photograph_columns(measured).items())


def photograph_columns(measured):
    """{what: number as text} of a network in use on one backend."""
    rates, head = measured["predict"], measured["head"]

    def beside(name):
        return median(files / other for files, other in zip(rates["files"], rates[name], strict=True))

    # On a CPU, decoding takes time of the cores that the network keeps busy.
    shared = median(1 / (1 + m / d) for m, d in zip(rates["memory"], rates["decoding"], strict=True))
    return {
        "files, images/s": f"{median(rates['files']):,.1f}",
        "/ Keras' predict, in memory": f"{beside('keras'):.2f}",
        "/ ours, in memory": f"{beside('memory'):.2f}",
        "expected of decoding in turns": f"{shared:.2f}",
        "decoding alone, images/s": f"{median(rates['decoding']):,.0f}",
        "first prediction, s": f"{median(measured['first']):.1f}",
        "head: photographs": f"{head['images']:,}",
        "head, s": f"{head['seconds']:.0f}",
        "one pass of these, s": f"{head['pass_seconds']:.0f}",
    }


def _photographs(row):
    return "; ".join(f"{backend}: {of_photographs(measured)}" for backend, measured in row["backends"].items())


SENTENCES = {
    "throughput": _beside_stock_fit,
    "startup": _startup,
    "kernels": _kernels,
    "photographs": _photographs,
}


def text(results):
    """All sections that were measured, each with a heading; the argument is what the JSON file holds."""
    parts = []
    for section, rows in results["sections"].items():
        for row in rows:
            heading = f"{section}: {row['model']}, batch {row['batch_size']}"
            table = [_contenders(row)] if section == "throughput" else []
            shown = [f"failed: {row['error']}"] if "error" in row else [*table, SENTENCES[section](row)]
            parts.append("\n".join(filter(None, [heading, *shown])))
    return "\n\n".join(parts)


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
    """Tables for results/bench/README.md: throughput, photographs, and what fits in a sentence.

    Args:
        benchmarks: from `read_benchmarks`; of several measurements of the same, the last counts.
    """
    speed, photographs, sentences = {}, {}, {}
    for section, results in itertools.product(SENTENCES, benchmarks):
        for row in results["sections"].get(section, ()):
            device, precision = row.get("gpu", results["environment"]["device"]), results["settings"]["precision"]
            where = (device, precision, Markdown(f"`{row['model']}`"), str(row["batch_size"]))
            if section == "throughput":
                speed[where] = row["contenders"]
            if section == "photographs" and not row.get("error"):
                photographs |= {(*where, backend): one for backend, one in row["backends"].items()}
            elif line := "" if row.get("error") else SENTENCES[section](row):
                sentences[section, *where] = line
    tables, head = [], ("device", "precision", "network", "batch")
    if speed:
        names = [name for name in CONTENDERS if name != "input" and any(name in row for row in speed.values())]
        lines = [(*head, *(Markdown(f"`{name}`") for name in names))]
        lines += [(*where, *(_rate_and_ratio(row, name) for name in names)) for where, row in speed.items()]
        tables.append(markdown_table(lines, right=range(3, 4 + len(names))))
        tables.append("\n".join(f"- `{name}`: {CONTENDERS[name].what}" for name in names))
    if photographs:
        columns = {where: photograph_columns(one) for where, one in photographs.items()}
        names = next(iter(columns.values()))
        lines = [(*head, "backend", *names), *((*where, *one.values()) for where, one in columns.items())]
        tables.append(markdown_table(lines, right=(3, *range(5, 5 + len(names)))))
    if sentences:
        lines = [("section", *head, "measured"), *((*what, line) for what, line in sentences.items())]
        tables.append(markdown_table(lines, right=(4,)))
    return "\n\n".join(tables) or "No benchmark yet."


def _rate_and_ratio(contenders, name):
    """The median images/s, and how many times as fast ours was."""
    reference, images = reference_of(contenders), rate(contenders, name)
    if images is None:
        return "-"
    shown = f"**{images:,.0f}**" if name == fastest(contenders, contenders.keys() - {"input"}) else f"{images:,.0f}"
    return Markdown(shown if name == reference else f"{shown} ({ratio(contenders, reference, name):.2f})")
