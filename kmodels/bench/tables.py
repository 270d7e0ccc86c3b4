"""The results as text for a terminal; readme.py has the tables for the README."""

from kmodels.bench.memory import MEBIBYTE
from kmodels.bench.program_text import BACKWARD, FORWARD
from kmodels.bench.summary import achieved, compile_seconds, median, ratios, reference_of, sizes, spent, starts
from kmodels.bench.throughput import EVERYONE
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
        "kernels": _kernels,
    }
    parts = [
        f"{section}: {row['model']}, batch {row['batch_size']}\n{writers[section](row)}"
        for section, rows in results["sections"].items()
        for row in rows
    ]
    return "\n\n".join(parts) or "nothing was measured"


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
    seconds = starts(row)
    lines = [
        ("compile cache", "process to first step s", "of it compiling s", "tracing s", "lowering s", "machine code s")
    ]
    lines += [(cache, *(_number(value, ".2f") for value in values.values())) for cache, values in seconds.items()]
    pairs = zip(seconds["warm"].values(), seconds["cold"].values(), strict=True)
    lines.append(("warm / cold", *(_number(warm / cold if warm and cold else None, ".2f") for warm, cold in pairs)))
    return f"{aligned(lines, right=range(1, 6))}{_failed(row)}"


def _memory(row):
    if not row["watched"]:
        return _failed(row).strip()
    found, epochs = sizes(row["watched"]), len(row["watched"]["epoch_bytes"])
    lines = [
        ("resident", "MiB"),
        ("libraries and a tiny run", _mebibytes(found["libraries"])),
        (f"more after {epochs} epochs", _mebibytes(found["more"])),
        ("of it the images", _mebibytes(found["images"])),
        ("growth an epoch, over the second half", f"{found['growth'] / MEBIBYTE:.2f}"),
        ("peak", _mebibytes(found["peak"])),
    ]
    return aligned(lines, right=(1,))


def _mebibytes(number):
    return f"{number / MEBIBYTE:,.0f}"


def _profile(row):
    """By kind of layer, longest first; milliseconds a step."""
    if not row["taken"]:
        return _failed(row).strip()
    taken, kinds = row["taken"], spent(row["taken"])
    whole = sum(both.total() for both in kinds.values())
    lines = [("part of a step", "forward ms", "backward ms", "% of all")]
    for kind, both in kinds.items():
        times = (_number(both.get(direction), ".1f") for direction in (FORWARD, BACKWARD))
        lines.append((kind, *times, f"{100 * both.total() / whole:.1f}"))
    step, busy = 1e3 * taken["seconds"] / taken["steps"], 100 * taken["busy_seconds"] / taken["seconds"]
    return (
        f"{aligned(lines, right=(1, 2, 3))}\n"
        f"a step takes {step:,.1f} ms; the device is at work in {busy:.1f} % of it, on a processor side by side"
    )


def _kernels(row):
    """What a training step asks of a GPU, program by program."""
    head = ("program", "kernels", "library calls", "MiB moved", "of them by a library", "temporary MiB", "")
    lines = [head, *(_program(name, program) for name, program in row["programs"].items())]
    return f"{aligned(lines, right=range(1, 6))}\na training step, compiled for {row['gpu']}; nothing was run"


def _program(name, program):
    if program["error"]:
        return (name, *"-----", f"failed: {program['error']}")
    moved = (program[part] / MEBIBYTE for part in ("bytes", "library_bytes", "temporary_bytes"))
    all_bytes, library_bytes, temporary = (f"{number:,.0f}" for number in moved)
    kernels, library = f"{program['kernels']:,}", f"{program['library_calls']:,}"
    return name, kernels, library, all_bytes, library_bytes, temporary, ""


def _failed(row):
    return f"\nfailed: {row['error']}" if row["error"] else ""


def _number(value, form):
    return "-" if value is None else format(value, form)
