"""The results as text for a terminal; `readme.py` has the tables for the README."""

from kmodels.bench.contenders import EVERYONE
from kmodels.bench.program_text import BACKWARD, FORWARD
from kmodels.bench.summary import MEBIBYTE, achieved, median, ratios, reference_of, sentence, spent
from kmodels.report.tables import aligned


def text(results):
    """All sections that were measured, each with a heading; the argument is what the JSON file holds."""
    tables = {"throughput": _throughput, "profile": _profile, "kernels": _kernels}
    parts = []
    for section, rows in results["sections"].items():
        for row in rows:
            table = tables[section](row) if section in tables else sentence(section, row)
            errors = [row.get("error"), *(one["error"] for one in row.get("contenders", {}).values())]
            failed = "" if section in tables and table else "; ".join(f"failed: {error}" for error in errors if error)
            lines = [f"{section}: {row['model']}, batch {row['batch_size']}", table, failed]
            parts.append("\n".join(line for line in lines if line))
    return "\n\n".join(parts) or "nothing was measured"


def _throughput(row):
    contenders = row["contenders"]
    reference = reference_of(contenders)
    head = ("contender", "images/s", "least", "most", f"{reference} / it", "GFLOP/s", "% of peak", "compile s", "")
    lines = [head, *(_contender(row, name, reference) for name in contenders)]
    flops = row["flops"]
    if not flops:
        return aligned(lines, right=range(1, 8))
    peak = f"; peak: {max(row['matmul']) / 1e9:,.0f} GFLOP/s in a product of matrices" if row["matmul"] else ""
    counted = f"{flops['per_image'] / 1e6:,.0f} MFLOP to train on an image, counted by {flops['counted']}{peak}"
    return f"{aligned(lines, right=range(1, 8))}\n{counted}"


def _contender(row, name, reference):
    result = row["contenders"][name]
    rates = result["images_per_second"]
    speed, share = achieved(row, name)
    compared = ratios(row["contenders"][reference], result) if reference and name != "input" else []
    # The first step, or the first epoch where that is a program, compiles.
    built = "first_step_seconds" in result
    compiled = max(0.0, result["first_step_seconds"] - result["second_step_seconds"]) if built else None
    return (
        name,
        _number(median(rates), ",.0f"),
        _number(min(rates, default=None), ",.0f"),
        _number(max(rates, default=None), ",.0f"),
        _number(median(compared), ".2f"),
        _number(speed and speed / 1e9, ",.0f"),
        _number(share and 100 * share, ".1f"),
        _number(compiled, ".1f"),
        f"failed: {result['error']}" if result["error"] else EVERYONE[name].what,
    )


def _profile(row):
    """By kind of layer, longest first; milliseconds per step."""
    if not row["taken"]:
        return ""
    taken, kinds = row["taken"], spent(row["taken"])
    whole = sum(both.total() for both in kinds.values())
    lines = [("part of a step", "forward ms", "backward ms", "% of all")]
    for kind, both in kinds.items():
        times = (_number(both.get(direction), ".1f") for direction in (FORWARD, BACKWARD))
        lines.append((kind, *times, f"{100 * both.total() / whole:.1f}"))
    step, busy = 1e3 * taken["seconds"] / taken["steps"], 100 * taken["busy_seconds"] / taken["seconds"]
    note = f"a step takes {step:,.1f} ms; the device is busy in {busy:.1f} % of it, on a CPU side by side"
    return f"{aligned(lines, right=(1, 2, 3))}\n{note}"


def _kernels(row):
    lines = [("program", "kernels", "library calls", "MiB moved", "of them by a library", "temporary MiB", "")]
    for name, program in row["programs"].items():
        if program["error"]:
            lines.append((name, *"-----", f"failed: {program['error']}"))
            continue
        moved, library, temporary = (
            f"{program[part] / MEBIBYTE:,.0f}" for part in ("bytes", "library_bytes", "temporary_bytes")
        )
        counts = f"{program['kernels']:,}", f"{program['library_calls']:,}"
        lines.append((name, *counts, moved, library, temporary, ""))
    return f"{aligned(lines, right=range(1, 6))}\na training step, compiled for {row['gpu']}; nothing was run"


def _number(value, form):
    return "-" if value is None else format(value, form)
