"""What numbers, images, settings and runs are called in tables and on pages. Fractions come in, percent goes out."""

from collections import Counter

from kmodels.analysis.metrics import accuracy_interval
from kmodels.errors import shorten
from kmodels.experiment import deciding_fields
from kmodels.text import printable

# What decides which weights of a run are tested, in words.
OF_LAST_EPOCH = "of the last epoch"
OF_BEST_EPOCH = {
    "val_loss": "of the epoch with the lowest validation loss",
    "val_accuracy": "of the epoch with the best validation accuracy",
}


def percent(fraction):
    """0.7929 -> "79.29"; None -> "-"."""
    return "-" if fraction is None else f"{100 * fraction:.2f}"


def mean_and_spread(summary):
    """A Summary's test accuracy in percent, with the seeds that it is the mean of and those that diverged.

    Args:
        summary: a Summary.

    Returns:
        "78.10 ± 0.32 (n=3)", "78.10 (n=1, 2 diverged)", "diverged (2)", or "-" where no seed has an outcome.
    """
    if not summary.records:
        return f"diverged ({summary.diverged})" if summary.diverged else "-"
    spread = "" if summary.spread is None else f" ± {100 * summary.spread:.2f}"
    return f"{percent(summary.mean)}{spread} ({seeds(summary)})"


def seeds(summary):
    """The seeds of a Summary in words: "n=3, 1 diverged"."""
    return f"n={len(summary.records)}{f', {summary.diverged} diverged' if summary.diverged else ''}"


def accuracy_text(evaluation):
    """The accuracy of an Evaluation with its 95 % interval (Wilson's), in words."""
    total, right = evaluation.examples, round(evaluation.accuracy * evaluation.examples)
    low, high = accuracy_interval(right, total)
    return (
        f"{100 * evaluation.accuracy:.1f} % of {total:,} test images right "
        f"(95 % interval {100 * low:.1f} to {100 * high:.1f} %)"
    )


def source_name(source):
    """Where the pixels came from, and how many images were trained on, in words."""
    return f"{_pixels(source)}, {source['counts']['train']:,} training images)"


def pixels_name(source):
    """Where the pixels came from, in words, however many of them an experiment trains on."""
    part = f", {source['subset']:,} of its images for training and validation" if source.get("subset") else ""
    return f"{_pixels(source)}){part}"


def _pixels(source):
    if "copy" in source:
        # Which images are missing is in a note: the list is too long for a column.
        return f"{printable(source['name'])} ({printable(source['copy'].partition('; ')[0])}"
    kind = "image folder" if source["kind"] == "folder" else source["kind"]
    kind += ", not the original" if source["kind"] == "image files" and not source["original"] else ""
    formats = f", {'/'.join(source['formats'])}" if source.get("formats") else ""
    return f"{printable(source['name'])} ({kind}{formats}"


def size_name(image_shape):
    """(64, 64, 3) -> "64x64 pixels"."""
    return f"{image_shape[0]}x{image_shape[1]} pixels"


def on_published_data(source):
    """Whether these are the pixels that the published numbers were measured on: all of the original set."""
    return source.get("original", False) and not source.get("subset")


def weights_tested(experiments):
    """Which weights the test accuracies of these experiments belong to, in words that are true for all of them.

    Args:
        experiments: Experiments. Heads that are fitted without epochs do not count.

    Returns:
        "of the last epoch", for instance, to follow "weights"; several rules are joined by "or".
    """
    trained = [one for one in experiments if not one.is_fitted]
    rules = [OF_LAST_EPOCH if one.keep == "last" else OF_BEST_EPOCH[one.monitor] for one in trained]
    rules = sorted(set(rules)) or [OF_BEST_EPOCH["val_loss"]]
    return " or ".join(rules) + (", as the settings of the experiment say" if len(rules) > 1 else "")


def on_unnamed_images(experiment):
    """Whether the report of an experiment does not say which images it used, so that they are chosen here."""
    return experiment.published is not None and not experiment.published.same_images


def choice(record):
    """What a head chose on val, "C 10", and whether its solver did not converge; "" for a run that chose nothing."""
    words = [f"{name} {value:g}" for name, value in record.chosen.items()]
    if record.head and record.head.get("converged") is False:
        words.append("the solver did not converge")
    return ", ".join(words)


def backends(runs):
    """How many Records are of which backend: "jax 2, tensorflow 3"; "jax" where all are of one."""
    counts = Counter(record.backend for record in runs)
    return ", ".join(f"{name} {counts[name]}" for name in sorted(counts)) if len(counts) > 1 else "".join(counts)


def epochs(runs):
    """How many epochs Records have: "50" where all are equal, else "27 to 31"."""
    numbers = [record.epochs_run for record in runs]
    low, high = min(numbers), max(numbers)
    return f"{low}" if low == high else f"{low} to {high}"


def kept_epoch(record):
    """Which weights a completed run kept, in words: "weights of epoch 12, the lowest val_loss".

    Args:
        record: a Record.

    Returns:
        The words; None for a run that kept none (not completed, or a head fitted without epochs).
    """
    if record.status != "completed" or not record.best_epoch:
        return None
    if record.experiment.keep == "last":
        return "weights of the last epoch"
    extreme = "lowest" if record.experiment.monitor == "val_loss" else "best"
    return f"weights of epoch {record.best_epoch}, the {extreme} {record.experiment.monitor}"


def settings(experiment):
    """{name: value} of every setting that decides the outcome, with each option of the network by itself.

    Args:
        experiment: an Experiment.

    Returns:
        A dict with every field but `model_options`, whose entries take its place. An option that has the name of a
        field is called "model_options.<name>".
    """
    found = {item.name: getattr(experiment, item.name) for item in deciding_fields() if item.name != "model_options"}
    options = experiment.model_options.items()
    return found | {f"model_options.{name}" if name in found else name: value for name, value in options}


def changed_settings(experiment, listed):
    """{name: value} of the settings in which an experiment differs from the one that a report lists.

    Args:
        experiment: an Experiment, as it was run.
        listed: an Experiment.

    Returns:
        Values of `experiment`; None for an option of the network that only `listed` has.
    """
    run, wanted = settings(experiment), settings(listed)
    return {name: run.get(name) for name in {**run, **wanted} if run.get(name) != wanted.get(name)}


def recipe(experiment):
    """The settings that matter most, in one line.

    Args:
        experiment: an Experiment.
    """
    optimizer = f"{experiment.optimizer} {experiment.learning_rate:g}"
    if experiment.momentum:
        optimizer += f", momentum {experiment.momentum:g}"
    if experiment.weight_decay is not None:
        optimizer += f", weight decay {experiment.weight_decay:g}"
    options = [f"{name.replace('_', ' ')} {value}" for name, value in experiment.model_options.items()]
    data = [] if experiment.augmentation == "none" else [experiment.augmentation]
    if experiment.imbalance:
        kind, value = experiment.imbalance
        data.append(f"{kind.replace('_', ' ')} {_numbers(value)}")
    if experiment.sampler != "shuffle":
        data.append(experiment.sampler)
    start = [f"from {experiment.init_from}"] if experiment.init_from else []
    start += ["frozen"] if experiment.frozen else []
    rest = [optimizer, f"batch {experiment.batch_size}", f"at most {experiment.epochs} epochs", *_schedule(experiment)]
    if experiment.head:
        start.insert(0, " ".join(filter(None, ("head", experiment.head, experiment.kernel))))
        rest = [] if experiment.is_fitted else rest
    loss = [f"label smoothing {experiment.label_smoothing:g}"] if experiment.label_smoothing else []
    if experiment.class_weight is not None:
        loss.append(f"class weight {_numbers(experiment.class_weight)}")
    return ", ".join([experiment.model, *options, *start, *data, *rest, *loss])


def _schedule(experiment):
    """What differs from the default of how the learning rate changes and which weights are kept."""
    found = [f"schedule {experiment.schedule}"] if experiment.schedule else []
    if experiment.plateau_patience is not None:
        found.append(f"plateau patience {experiment.plateau_patience}")
    if experiment.warmup_epochs:
        found.append(f"warm-up {experiment.warmup_epochs} epochs")
    if experiment.monitor != "val_loss":
        found.append(f"monitor {experiment.monitor}")
    if experiment.keep != "best":
        found.append(f"keep {experiment.keep}")
    return found


def _numbers(value):
    if isinstance(value, str):
        return value
    return " ".join(f"{number:g}" for number in (value if isinstance(value, tuple) else (value,)))


def origin(record):
    """{what: in words} of the network that a run started from and of what a head chose on val."""
    found, start = {}, record.started_from
    if start:
        found["starts from"] = f"{start['network']}: {shorten(start['taken'])}"
        found["initialised"] = shorten(start["drawn"]) or "nothing"
    if record.chosen:
        found["chosen on val"] = choice(record)
    return found
