"""The results as text for a terminal."""

from kmodels.bench.memory import MEBIBYTE, SETTLED_EPOCH
from kmodels.bench.summary import achieved, compile_seconds, median, ratios, reference_of
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
    lines = [("compile cache", "process to first step s", "of it compiling s")]
    for cache in ("cold", "warm"):
        seconds = ([one[part] for one in row[cache]] for part in ("process_seconds", "compile_seconds"))
        lines.append((cache, *(_number(median(values), ".1f") for values in seconds)))
    return f"{aligned(lines, right=(1, 2))}{_failed(row)}"


def _memory(row):
    if not row["watched"]:
        return _failed(row).strip()
    watched = row["watched"]
    epochs = watched["epoch_bytes"]
    above = epochs[-1] - watched["framework_bytes"]
    lines = [
        ("resident", "MiB"),
        ("libraries and a tiny run", _mebibytes(watched["framework_bytes"])),
        (f"more after {len(epochs)} epochs", _mebibytes(above)),
        ("of it the images", _mebibytes(watched["data_bytes"])),
        (f"growth from epoch {SETTLED_EPOCH}", _mebibytes(epochs[-1] - epochs[SETTLED_EPOCH - 1])),
        ("peak", _mebibytes(watched["peak_bytes"])),
    ]
    return aligned(lines, right=(1,))


def _failed(row):
    return f"\nfailed: {row['error']}" if row["error"] else ""


def _mebibytes(number):
    return f"{number / MEBIBYTE:,.0f}"


def _number(value, form):
    return "-" if value is None else format(value, form)
