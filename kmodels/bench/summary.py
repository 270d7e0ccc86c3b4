"""What repeats say: medians, spread, ratios within a round. Plain numbers in, plain numbers out."""

import statistics
from collections import Counter

OURS = ("ours", "ours-epoch")
MEBIBYTE = 2**20


def reference_of(contenders):
    """The name that the others are compared with: the faster of ours, else the first that was measured, else None."""
    measured = [name for name, result in contenders.items() if result["images_per_second"]]
    ours = [name for name in OURS if name in measured]
    return max(ours, key=lambda name: median(contenders[name]["images_per_second"]), default=next(iter(measured), None))


def median(values):
    """The median; None of nothing."""
    return statistics.median(values) if values else None


def ratios(result, other):
    """One's speed divided by the other's, for each round that both have.

    Both were timed within seconds in a round, so a slow minute of the machine changes the speeds more than the ratio.
    """
    pairs = zip(result["images_per_second"], other["images_per_second"], strict=False)
    return [mine / theirs for mine, theirs in pairs]


def achieved(row, name):
    """(operations/s, share of the device's peak) of a contender; None where not known, or it does not train."""
    rate = median(row["contenders"][name]["images_per_second"])
    if rate is None or not row.get("flops") or name == "input":
        return None, None
    speed = rate * row["flops"]["per_image"]
    return speed, speed / max(row["matmul"]) if row["matmul"] else None


def growth(resident):
    """Bytes more per epoch, from the least of the third quarter of at least four epochs to the least of the last.

    In the first half allocators still settle; what a checkpoint's thread holds for a moment comes and goes; what leaks
    stays.
    """
    quarter = len(resident) // 4
    return (min(resident[-quarter:]) - min(resident[-2 * quarter : -quarter])) / quarter


def spent(taken):
    """{kind of layer: Counter of milliseconds per step by direction} of what `profile.take` returns, longest first."""
    by_kind = {}
    for part in taken["parts"]:
        both = by_kind.setdefault(part["kind"], Counter())
        both[part["direction"]] += 1e3 * part["seconds"] / taken["steps"]
    return dict(sorted(by_kind.items(), key=lambda item: -item[1].total()))


def sentence(section, row):
    """A row of a section in one line; "" where nothing was measured.

    Args:
        section: "callbacks", "deterministic", "startup", "memory" or "profile".
        row: what the section of that name yields.
    """
    return _SENTENCES[section](row)


def _pair(row):
    """Of two contenders, the second without what the first has."""
    (name, result), (other_name, other) = row["contenders"].items()
    compared = ratios(result, other)
    if not compared:
        return ""
    return f"{name}: {median(compared):.3f} times as fast as {other_name} ({min(compared):.3f} to {max(compared):.3f})"


def _startup(row):
    if not (row["cold"] and row["warm"]):
        return ""
    cold, warm = ({name: median([one[name] for one in row[cache]]) for name in row[cache][0]} for cache in _CACHES)
    return (
        f"compiling takes {cold['compile_seconds']:.1f} s; in a second process {warm['compile_seconds']:.1f} s, of it "
        f"{warm['tracing_seconds']:.1f} s tracing and {warm['machine_code_seconds']:.1f} s reading machine code; from "
        f"the start of a process to the end of the first step {cold['process_seconds']:.1f} s and "
        f"{warm['process_seconds']:.1f} s"
    )


def _memory(row):
    watched = row["watched"]
    if not watched:
        return ""
    epochs, libraries = watched["epoch_bytes"], watched["framework_bytes"]
    more, images = (epochs[-1] - libraries) / MEBIBYTE, watched["data_bytes"] / MEBIBYTE
    return (
        f"{more:,.0f} MiB above the libraries' {libraries / MEBIBYTE:,.0f}, {images:,.0f} of them the images; growth "
        f"over the second half of {len(epochs)} epochs: {growth(epochs) / MEBIBYTE:.2f} MiB an epoch"
    )


def _profile(row):
    if not row["taken"]:
        return ""
    kinds = spent(row["taken"])
    whole = sum(both.total() for both in kinds.values())
    parts = (f"{kind} {100 * both.total() / whole:.0f} %" for kind, both in list(kinds.items())[:4])
    busy = 100 * row["taken"]["busy_seconds"] / row["taken"]["seconds"]
    return f"{', '.join(parts)}; the device is at work in {busy:.0f} % of the time"


_CACHES = ("cold", "warm")
_SENTENCES = {
    "callbacks": _pair,
    "deterministic": _pair,
    "startup": _startup,
    "memory": _memory,
    "profile": _profile,
}
