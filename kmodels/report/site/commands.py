"""The command that repeats a group of runs."""

import shlex

from kmodels.experiment import deciding_fields

# Where the images of a record lie, its command says by this word: records hold no paths of the machine.
FOLDER = "DIR"
# The kinds of sources that are read from a folder of the user's.
FROM_FOLDERS = ("exact pixels", "folder", "image files")


def repeat_command(records, listed):
    """The command that repeats runs, for a shell in a checkout.

    Args:
        records: Records of one experiment, with equal settings, data, backend and precision.
        listed: the Experiment of this name as its report lists it; None where there is none.

    Returns:
        The command; for an experiment that is in no report, lines of Python.
    """
    first, seeds = records[0], sorted({record.seed for record in records})
    if listed is None:
        return _python(first, seeds)
    report, name = first.experiment.name.split("/", 1)
    words = ["python", f"experiments/{report}.py", name, "--seeds", *map(str, seeds)]
    words += _flags(first.experiment, listed)
    if first.source["kind"] in FROM_FOLDERS:
        words += ["--data-dir", f"{FOLDER}/{first.source['name']}"]
    words += ["--deterministic"] if first.deterministic else []
    words += ["--devices", str(first.devices)] if first.devices > 1 else []
    return f"KERAS_BACKEND={first.backend} {shlex.join(words)}"


def run_command(experiment, seeds=(0, 1, 2)):
    """The command that runs an experiment as its report lists it."""
    report, name = experiment.name.split("/", 1)
    return shlex.join(["python", f"experiments/{report}.py", name, "--seeds", *map(str, seeds)])


def _flags(experiment, listed):
    """The flags for settings that differ from the listed ones."""
    words = []
    for item in deciding_fields():
        value, usual = getattr(experiment, item.name), getattr(listed, item.name)
        if value == usual:
            continue
        words.append(f"--{item.name.replace('_', '-')}")
        if item.name == "model_options":
            changed = {name: value.get(name) for name in {**usual, **value} if value.get(name) != usual.get(name)}
            words += [f"{name}={_option(option)}" for name, option in changed.items()]
        else:
            words += map(str, value) if isinstance(value, tuple) else [str(value)]
    return words


def _option(value):
    return ",".join(map(str, value)) + ("," if len(value) == 1 else "") if isinstance(value, tuple) else str(value)


def _python(record, seeds):
    """Every setting that is not at its default, as Python."""
    experiment, lines = record.experiment, []
    for item in deciding_fields():
        value = getattr(experiment, item.name)
        if value != item.default:
            lines.append(f"    {item.name}={dict(value) if item.name == 'model_options' else value!r},")
    return "\n".join(
        [
            "import kmodels",
            "",
            "experiment = kmodels.Experiment(",
            f"    name={experiment.name!r},",
            *lines,
            ")",
            f"kmodels.run_seeds(experiment, seeds={seeds}{_data_dir(record)})",
        ]
    )


def _data_dir(record):
    return f", data_dir={FOLDER + '/' + record.source['name']!r}" if record.source["kind"] in FROM_FOLDERS else ""
