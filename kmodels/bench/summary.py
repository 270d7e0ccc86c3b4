"""What repeats say: medians, spread, ratios within a round. Plain numbers in, plain numbers out."""

import statistics
from collections import Counter

from kmodels.bench.startup import STAGES

OURS = ("ours", "ours-epoch")


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


def compile_seconds(result):
    """How much longer the first step, or where an epoch is a program the first epoch, took than the second; or None."""
    if "first_step_seconds" not in result:
        return None
    return max(0.0, result["first_step_seconds"] - result["second_step_seconds"])


def achieved(row, name):
    """(operations a second, share of the device's peak) of a contender; None where not known, or it does not train."""
    rate = median(row["contenders"][name]["images_per_second"])
    if rate is None or not row.get("flops") or name == "input":
        return None, None
    speed = rate * row["flops"]["per_image"]
    return speed, speed / max(row["matmul"]) if row["matmul"] else None


def growth(resident):
    """Bytes more an epoch, from the least of the third quarter of some epochs to the least of the last.

    In the first half allocators still settle; what a checkpoint's thread holds for a moment comes and goes; what leaks
    stays. It takes four values or more.
    """
    quarter = len(resident) // 4
    return (min(resident[-quarter:]) - min(resident[-2 * quarter : -quarter])) / quarter


def starts(row):
    """{"cold", "warm": {what: seconds}} of a row of startup.py, medians; None where nothing was measured."""
    parts = ("process_seconds", "compile_seconds", *STAGES)
    return {
        cache: {part: median([one[part] for one in row[cache] if part in one]) for part in parts}
        for cache in ("cold", "warm")
    }


def sizes(watched):
    """{what: bytes} of what `memory.run_and_watch` returns; "growth" is that of an epoch."""
    epochs = watched["epoch_bytes"]
    return {
        "libraries": watched["framework_bytes"],
        "more": epochs[-1] - watched["framework_bytes"],
        "images": watched["data_bytes"],
        "growth": growth(epochs),
        "peak": watched["peak_bytes"],
    }


def spent(taken):
    """{kind of layer: Counter of milliseconds a step by direction}, longest first."""
    by_kind = {}
    for part in taken["parts"]:
        both = by_kind.setdefault(part["kind"], Counter())
        both[part["direction"]] += 1e3 * part["seconds"] / taken["steps"]
    return dict(sorted(by_kind.items(), key=lambda item: -item[1].total()))
