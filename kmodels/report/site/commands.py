"""The command that repeats a group of runs."""

import shlex

from kmodels.data.image_notes import were_unreadable_left_out
from kmodels.experiment import deciding_fields
from kmodels.flags import flag_words

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
    deterministic = any(record.deterministic for record in records)
    if listed is None:
        return _python(first, seeds, deterministic)
    experiment = first.experiment
    words = ["python", f"experiments/{experiment.report}.py", experiment.short_name, "--seeds", *map(str, seeds)]
    words += _flags(_settings(first), listed)
    for option, value in _options(first).items():
        words += [f"--{option.replace('_', '-')}", *([] if value is True else [str(value)])]
    words += ["--deterministic"] if deterministic else []
    return f"KERAS_BACKEND={shlex.quote(first.backend)} {shlex.join(words)}"


def run_command(experiment):
    """The command that runs three seeds of an experiment as its report lists it."""
    return f"python experiments/{experiment.report}.py {experiment.short_name} --seeds 0 1 2"


def _settings(record):
    """{name: value} of what decides the outcome."""
    return {item.name: getattr(record.experiment, item.name) for item in deciding_fields()}


def _options(record):
    """{name: value} of what the run was given besides its settings, as `run_seeds` takes it."""
    options = {}
    if record.source["kind"] in FROM_FOLDERS:
        options["data_dir"] = f"{FOLDER}/{record.source['name']}"
    if were_unreadable_left_out(record.source):
        options["skip_unreadable"] = True
    if record.devices > 1:
        options["devices"] = record.devices
    return options


def _flags(settings, listed):
    """The flags for settings that differ from the listed ones."""
    words = []
    for name, value in settings.items():
        usual = getattr(listed, name)
        if value == usual:
            continue
        if name == "model_options":
            value = {name: value.get(name) for name in {**usual, **value} if value.get(name) != usual.get(name)}
        words += flag_words(name, value)
    return words


def _python(record, seeds, deterministic):
    """Every setting that is not at its default, as Python."""
    defaults, lines = {item.name: item.default for item in deciding_fields()}, []
    for name, value in _settings(record).items():
        if value != defaults[name]:
            lines.append(f"    {name}={dict(value) if name == 'model_options' else value!r},")
    options = "".join(f", {name}={value!r}" for name, value in _options(record).items())
    return "\n".join(
        [
            "import os",
            "",
            f"os.environ['KERAS_BACKEND'] = {record.backend!r}",
            "import kmodels",
            "",
            *(["kmodels.make_deterministic()"] if deterministic else []),
            "experiment = kmodels.Experiment(",
            f"    name={record.experiment.name!r},",
            *lines,
            ")",
            f"kmodels.run_seeds(experiment, seeds={seeds}{options})",
        ]
    )
