"""A Machine and its Problems in words, for a terminal of 80 columns, and as JSON."""

import textwrap
from dataclasses import asdict

from kmodels.commands.doctor.traps import HINT, LEVELS, RISK, STOPS, size, version_of
from kmodels.text import clip, printable

WIDTH, NAME = 80, 11
TITLES = {
    STOPS: "Problems that stop it:",
    RISK: "Problems that make it slower or risky:",
    HINT: "Hints:",
}


def works(problems):
    """Whether training will work with these Problems."""
    return not any(problem.level == STOPS for problem in problems)


def as_json(machine, problems):
    """{"training_works", "problems", "machine"}, of JSON values."""
    return {
        "training_works": works(problems),
        "problems": [asdict(problem) for problem in problems],
        "machine": asdict(machine),
    }


def as_text(machine, problems):
    """Problems first, then the facts."""
    lines = [*_wrapped(_verdict(machine, problems)), ""]
    for level in LEVELS:
        of_level = [problem for problem in problems if problem.level == level]
        if of_level:
            lines.append(TITLES[level])
        for problem in of_level:
            lines += _wrapped(problem.found, "  - ")
            if problem.mend:
                # As it can be pasted.
                command = _wrapped(problem.mend, "    mend: ", width=WIDTH - 2)
                lines += [f"{line} \\" for line in command[:-1]] + command[-1:]
            if problem.advice:
                lines += _wrapped(problem.advice, "      or: " if problem.mend else "    mend: ")
        if of_level:
            lines.append("")
    for name, facts in _facts(machine):
        for fact in facts:
            lines += _wrapped(fact, f"{name:<{NAME}}", " " * NAME)
            name = ""
    return "\n".join(lines)


def _wrapped(text, first="", rest=None, width=WIDTH):
    rest = " " * len(first) if rest is None else rest
    return textwrap.wrap(
        printable(text),
        width,
        initial_indent=first,
        subsequent_indent=rest,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _verdict(machine, problems):
    probe = machine.probe
    if not works(problems):
        return "Training will not work here."
    if probe is None or probe.second_step_seconds is None:
        return "Training was not tried."
    return (
        f"Training works here. On {machine.backend}, a step of a tiny network took "
        f"{_time(probe.second_step_seconds)}; the first one {_time(probe.first_step_seconds)}; "
        f"loading the libraries {probe.import_seconds:.1f} s."
    )


def _time(seconds):
    return f"{1000 * seconds:.1f} ms" if seconds < 1 else f"{seconds:.1f} s"


def _facts(machine):
    """Pairs of name and lines."""
    probe, versions = machine.probe, {name: version for name, version in machine.versions.items() if version}
    chosen = (
        f"KERAS_BACKEND={machine.backend}" if machine.backend_is_chosen else "the default; KERAS_BACKEND is not set"
    )
    yield "backend", [f"{machine.backend} {version_of(machine, machine.backend) or ''}".strip() + f" ({chosen})"]
    yield "device", [(probe and probe.device) or "unknown"]
    yield "GPU", [*map(_gpu, machine.gpus)] or [f"seen: {machine.gpu_seen}" if machine.gpu_seen else "none found"]
    if machine.driver:
        yield "driver", [machine.driver]
    yield "precision", [f'{probe.precision} (what precision="auto" takes)' if probe and probe.precision else "unknown"]
    yield "python", [machine.python]
    yield "packages", [", ".join(f"{name} {version}" for name, version in versions.items())]
    free = "" if machine.disk_free is None else f" ({size(machine.disk_free)} free)"
    yield "cache", [f"{machine.cache}{free}" if machine.cache else "unknown"]
    yield "memory", ["unknown" if machine.memory_free is None else f"{size(machine.memory_free)} free"]
    if probe and probe.drawing is not None:
        able = (
            "graphviz and pydot found" if probe.drawing else "not possible: needs graphviz (its command dot) and pydot"
        )
        yield "drawing", [able]
    yield "variables", [f"{name}={clip(value, 60)}" for name, value in machine.environment.items()] or ["none is set"]
    yield "datasets", [*_datasets(machine.datasets), "digits, synthetic: need no files"]


def _gpu(gpu):
    facts = [gpu.name]
    if gpu.capability:
        facts.append(f"SM {gpu.capability[0]}.{gpu.capability[1]}")
    if gpu.memory and gpu.memory_free is not None:
        facts.append(f"{size(gpu.memory_free)} of {size(gpu.memory)} free")
    return ", ".join(facts)


def _datasets(datasets):
    """A line for each dataset that is prepared, with its sizes, and for each place where others lie."""
    prepared, others = {}, []
    for found in datasets:
        if found.what == "prepared":
            height, width = found.pixels
            prepared.setdefault(found.name, {})[f"{width}x{height}"] = None
        else:
            others.append(f"{found.name}: {found.what}, {found.path}")
    return [f"{name}: prepared at {', '.join(sizes)} pixels" for name, sizes in prepared.items()] + others
