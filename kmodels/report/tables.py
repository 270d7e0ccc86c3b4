"""Experiments and records as text, aligned for a terminal."""

import statistics

from kmodels.analysis.metrics import balanced_accuracy, macro_f1
from kmodels.records import read_records
from kmodels.records.descriptions import (
    kept_epoch,
    mean_and_spread,
    origin,
    percent,
    recipe,
    size_name,
    source_name,
)
from kmodels.records.summaries import by_shots, runs_alike, summarise
from kmodels.text import aligned, counted, printable


def experiment_list(experiments):
    """Experiments with their settings and published numbers, as an aligned table."""
    rows = [
        (
            "experiment",
            "model",
            "augment",
            "optimizer",
            "rate",
            "batch",
            "at most",
            "published test %",
            "epochs",
            "what",
        )
    ]
    for item in experiments:
        published = item.published
        rows.append(
            (
                item.short_name,
                f"{item.model}, {item.head}" if item.head else item.model,
                item.augmentation,
                *(4 * ["-"] if item.is_fitted else _training_settings(item)),
                percent(published and published.test_accuracy),
                "-" if published is None or published.epochs is None else str(published.epochs),
                item.description,
            )
        )
    return aligned(rows, right=(4, 5, 6, 7, 8))


def _training_settings(experiment):
    """Optimizer, rate, batch and epochs."""
    momentum = f" {experiment.momentum:g}" if experiment.momentum else ""
    rate, batch, epochs = f"{experiment.learning_rate:g}", str(experiment.batch_size), str(experiment.epochs)
    return [f"{experiment.optimizer}{momentum}", rate, batch, epochs]


def published_against_measured(records, experiments=(), out=None):
    """For each group of `runs_alike`: the published number, the measured one, and their difference.

    Where images or settings are not those of the report there is no difference, and the row names them.

    Args:
        records: Records.
        experiments: Experiments as the reports list them; any other counts as listed.
        out: a folder with further records, of the networks that runs started from; None: all are among `records`.

    Returns:
        A table for a terminal.
    """
    # It needs claims.py, which imports this module.
    from kmodels.report.agreement import setting_of_runs

    started = any(record.started_from for record in records)
    known = [*records, *(read_records(out).values() if out and started else ())]
    rows = [("experiment", "published test %", "measured test %", "difference", "epochs", "status", "data")]
    for group in runs_alike(records):
        (summary,) = summarise(group)
        published = summary.experiment.published
        comparable = published and published.comparable_accuracy
        setting = setting_of_runs(group, experiments, known)
        changed = setting is not None and not setting.as_published
        both = comparable is not None and summary.mean is not None and not changed
        rows.append(
            (
                summary.experiment.short_name + _backend(group[0], records),
                percent(published and published.test_accuracy),
                mean_and_spread(summary),
                f"{100 * (summary.mean - comparable):+.2f}" if both else "-",
                ", ".join(str(record.epochs_run) for record in group),
                ", ".join(dict.fromkeys(record.status for record in group)),
                setting.words if changed else source_name(summary.source),
            )
        )
    return aligned(rows, right=(1, 2, 3, 4))


def measured(records):
    """What runs came to, a line for each experiment: mean and standard deviation over its seeds, in percent."""
    rows = [("experiment", "runs", "val %", "test %", "training, s")]
    for group, summary in zip(runs_alike(records), summarise(records), strict=True):
        val = [record.val.accuracy for record in summary.records]
        seconds = [record.train_seconds for record in summary.records if record.train_seconds is not None]
        rows.append(
            (
                summary.experiment.name + _backend(group[0], records),
                str(len(summary.records)),
                percent(statistics.fmean(val) if val else None),
                mean_and_spread(summary),
                f"{statistics.fmean(seconds):,.0f}" if seconds else "-",
            )
        )
    return aligned(rows, right=(1, 2, 3, 4))


def _backend(record, records):
    """The backend of a row, in brackets, where those of a table differ."""
    return f" ({record.backend})" if len({one.backend for one in records}) > 1 else ""


def record_text(record):
    """A record for a terminal: settings, data, accuracies beside the published ones, and every class."""
    experiment, published = record.experiment, record.experiment.published
    lines = [
        f"{experiment.name}, seed {record.seed}: {record.status}",
        *([experiment.description] if experiment.description else []),
        recipe(experiment),
        f"{source_name(record.source)}, {size_name(record.image_shape)}",
        f"{record.parameters:,} trainable parameters; "
        f"{', '.join(filter(None, (counted(record.epochs_run, 'epoch'), kept_epoch(record))))}; "
        f"{record.device}, {record.backend}, {record.precision}",
    ]
    lines += [*filter(None, [record.error]), *(f"warning: {warning}" for warning in record.warnings)]
    lines += [f"{name}: {value}" for name, value in origin(record).items()]
    if record.test:
        rows = [("", "images", "loss", "accuracy %", "published %", "calibration error %")]
        # The training accuracy of a report is that of augmented batches during training, ours is of clean images.
        theirs = {split: published and getattr(published, f"{split}_accuracy") for split in ("val", "test")}
        for split in ("train", "val", "test"):
            result = getattr(record, split)
            rows.append(
                (
                    split,
                    f"{result.examples:,}",
                    "-" if result.loss is None else f"{result.loss:.4f}",
                    percent(result.accuracy),
                    percent(theirs.get(split)),
                    percent(result.calibration and result.calibration.error),
                )
            )
        lines += ["", aligned(rows, right=(1, 2, 3, 4, 5)), "", *_over_classes(record), "", _of_classes(record)]
    return "\n".join(lines)


def _over_classes(record):
    """Lines with averages over classes and, for unequal classes, with the accuracy of each group of classes."""
    matrix = record.test.confusion_matrix
    lines = [f"test: balanced accuracy {percent(balanced_accuracy(matrix))} %, macro F1 {percent(macro_f1(matrix))} %"]
    if record.experiment.imbalance:
        lines += [
            f"test accuracy of {group}: {'no such class' if accuracy is None else f'{percent(accuracy)} %'}"
            for group, accuracy in shot_groups([record]).items()
        ]
    return lines


def shot_groups(records):
    """{group of classes in words: mean test accuracy, None where no class is in it} of completed runs."""
    many, few = records[0].experiment.shots
    names = {
        "many": f"classes with more than {many} training images",
        "medium": f"classes with {few} to {many}",
        "few": f"classes with fewer than {few}",
    }
    groups = by_shots(records)
    return {words: groups[name] for name, words in names.items()}


def _of_classes(record):
    """The accuracy of each class; where the report prints some, in its words."""
    if record.experiment.published and record.experiment.published.per_class_accuracy:
        return class_listing(record)
    rows = [("class", "test images", "right %")]
    for name, row, accuracy in zip(
        record.class_names, record.test.confusion_matrix, record.test.per_class_accuracy, strict=True
    ):
        rows.append((name, f"{sum(row):,}", percent(accuracy)))
    return aligned(rows, right=(1, 2))


def class_listing(record):
    """Lines as report `cifar10_alexnet` prints them, "Test Accuracy of cat: 48% (487/1000)", the percentage cut off."""
    matrix = record.test.confusion_matrix
    rows = [(name, row[i], sum(row)) for i, (name, row) in enumerate(zip(record.class_names, matrix, strict=True))]
    rows = [(f"of {printable(name)}", right, total) for name, right, total in rows]
    rows.append(("(Overall)", sum(right for _, right, _ in rows), record.test.examples))
    return "\n".join(
        f"Test Accuracy {what}: {f'{100 * right // total}% ({right}/{total})' if total else 'no image'}"
        for what, right, total in rows
    )
