"""PENDING.md: what is not measured yet, by what it needs, with the commands that measure it."""

from kmodels.files import write_atomically
from kmodels.text import Markdown, duration, markdown_table

PAGE = "PENDING.md"
HEAD = """# Measurements that wait for a machine

Written by `python -m experiments --plan --pending` from the records in this folder. A command with `--plan` runs every
experiment that has no record yet, the most informative runs first. It can be stopped at any moment; the same command
continues from there.
"""
# What is no experiment of a report, as it is listed there: command, what it needs, what it is expected to cost.
OTHERS = (
    (
        "python experiments/cifar10_small_cnns.py m8 --momentum 0 --resume --data-dir DIR/cifar10",
        "CIFAR-10, a GPU",
        "one run of at most 500 epochs; tells whether the report's SGD can have been without momentum",
    ),
    (
        "pytest -m gpu",
        "a CUDA device",
        "three minutes with the device for itself; without a network `.ci/gpu 400 setup tests`",
    ),
    (
        "kmodels bench alexnet_cifar resnet18_cifar resnet50 densenet121 --batch-sizes 128 512",
        "a CUDA device, torch beside it",
        "two to three minutes a network, most of it compiling (model4 with batches of 512 is measured)",
    ),
    ("kmodels bench --precision bfloat16 --batch-sizes 512", "a CUDA device, torch beside it", "about five minutes"),
    (
        "kmodels bench --sections photographs",
        "a CUDA device; with `--contenders ours` or `keras-torch` two CPU cores, where `keras-tensorflow` is measured",
        "five minutes; on a CPU ten",
    ),
    (
        "kmodels bench model4 resnet18_cifar --contenders ours-epoch deterministic --sections throughput startup",
        "a CUDA device, torch beside it",
        "about three minutes",
    ),
)
ABOUT_COSTS = """\
Costs are estimated from records, scaled by images and the multiply-adds of the network, or else from a few training
steps. `DIR` has the data of each dataset in a folder of its name, as `DIR/cifar10/train/<class>/<file>`."""


def write_pending(planner):
    """Writes PENDING.md into the results folder of a Planner; returns its path."""
    return write_atomically(planner.out / PAGE, pending_text(planner))


def pending_text(planner):
    """What is not measured yet, as Markdown, from the records and the speed of this device.

    Args:
        planner: a kmodels.planning.planner.Planner.
    """
    plan = planner.plan()
    here = {}
    for run in plan.runs:
        # What is run again for its network is none that is lacking.
        if not run.again:
            here[run.experiment, run.seed] = run
    waiting = {
        kind: [key for key, why in plan.waiting.items() if why.kind == kind] for kind in ("slow", "data", "failed")
    }
    sections = [
        (f"On this device: {planner.device}, {planner.backend}", list(here), _cost_here, ""),
        (
            f"Better on a GPU: longer than {_limit(planner)} a run here",
            waiting["slow"],
            _cost_elsewhere,
            " --precision float32",
        ),
        ("Missing data or weights", waiting["data"], _epochs, ""),
        ("Failed here", waiting["failed"], _epochs, ""),
    ]
    parts = [HEAD.strip(), ABOUT_COSTS]
    for title, runs, cost, flags in sections:
        if runs:
            parts += [f"## {title}", _section(planner, runs, cost, flags)]
    rows = [("command", "needs", "expected cost")]
    rows += [tuple(map(Markdown, (f"`{command}`", *rest))) for command, *rest in OTHERS]
    return "\n\n".join([*parts, "## Other measurements", markdown_table(rows)]) + "\n"


def _section(planner, runs, cost, flags):
    """A table with a row for each report."""
    rows = [("command", "needs", "runs", "which", "expected cost")]
    reports = {}
    for experiment, seed in runs:
        reports.setdefault(experiment.report, []).append((experiment, seed))
    # In the order of the experiments, whatever the order of the plan.
    for report in dict.fromkeys(one.report for one in planner.wanted):
        if group := reports.get(report):
            command = f"`python -m experiments {report} --plan --hours 8 --data-dir DIR{flags}`"
            runs = Markdown(which(group))
            rows.append((Markdown(command), _needs(group), str(len(group)), runs, cost(planner, group)))
    return markdown_table(rows, right=(2,))


def which(runs):
    """Runs in words: "seeds 2 3 4: `m1` `m2`; seeds 0 1: `m3`".

    Args:
        runs: (Experiment, seed) pairs of one report.
    """
    seeds = {}
    for experiment, seed in runs:
        seeds.setdefault(experiment.short_name, set()).add(seed)
    names = {}
    for name in sorted(seeds):
        names.setdefault(tuple(sorted(seeds[name])), []).append(f"`{name}`")
    return "; ".join(f"seeds {' '.join(map(str, which))}: {' '.join(group)}" for which, group in sorted(names.items()))


def _needs(runs):
    """Data and weights that runs need."""
    found = {experiment.dataset for experiment, _ in runs}
    weights = {one.model for one, _ in runs if one.model_options.get("weights") == "imagenet"}
    return ", ".join([*sorted(found), *(f"ImageNet weights of {model}" for model in sorted(weights))])


def _cost_here(planner, runs):
    estimates = [planner.estimate(experiment) for experiment, _ in runs]
    return f"about {duration(sum(estimate.seconds for estimate in estimates if estimate))}"


def _cost_elsewhere(planner, runs):
    """What these cost on each GPU that records tell of, and each run here."""
    words = []
    gpus = {(one.device, one.backend) for one in planner.records if not one.device.startswith("cpu")}
    for device, backend in sorted(gpus):
        found = [planner.estimate(experiment, device, backend) for experiment, _ in runs]
        if known := [estimate.seconds for estimate in found if estimate]:
            words.append(f"{len(known)} of them about {duration(sum(known))} on {device}, {backend}")
    here = [estimate.seconds for experiment, _ in runs if (estimate := planner.estimate(experiment))]
    long = [seconds for seconds in here if seconds > 3600 * planner.longest]
    after = [seconds for seconds in here if seconds <= 3600 * planner.longest]
    words += [f"{_range(long)} each on {planner.device}, {planner.backend}"] if long else []
    # A head takes seconds, but it waits for its network.
    words += [f"{len(after)} of them {_range(after)} each after their network"] if after else []
    return "; ".join(words) or _epochs(planner, runs)


def _limit(planner):
    return f"{planner.longest:g} hour{'' if planner.longest == 1 else 's'}"


def _range(seconds):
    low, high = duration(min(seconds)), duration(max(seconds))
    return low if low == high else f"{low} to {high}"


def _epochs(planner, runs):
    """How many epochs runs have at most."""
    epochs = [experiment.epochs for experiment, _ in runs if not experiment.is_fitted]
    heads = sum(experiment.is_fitted for experiment, _ in runs)
    words = [f"{len(epochs)} runs of {_span(epochs)} epochs"] if epochs else []
    return " and ".join([*words, *([f"{heads} heads"] if heads else [])])


def _span(numbers):
    low, high = min(numbers), max(numbers)
    return str(low) if low == high else f"{low} to {high}"
