"""The page of an experiment: every group of its runs."""

from markupsafe import Markup

from kmodels.analysis.metrics import accuracy_interval
from kmodels.records.descriptions import (
    changed_settings,
    choice,
    epochs,
    kept_epoch,
    mean_and_spread,
    on_unnamed_images,
    origin,
    percent,
    recipe,
    settings,
    weights_tested,
)
from kmodels.records.summaries import class_accuracies, mean, runs_alike
from kmodels.report.pictures import PICTURES, picture_path
from kmodels.report.site import charts
from kmodels.report.site.cells import Number, Table, number_cell, percent_cell
from kmodels.report.site.commands import FOLDER, repeat_command
from kmodels.report.site.figures import over_runs
from kmodels.report.site.page import Page, page_of_experiment, page_of_report
from kmodels.report.tables import shot_groups
from kmodels.text import printable

# Pictures whose numbers are charts here.
AS_CHARTS = ("curves", "confusion", "classes", "reliability", "long_tail")
# Rows of the table of confusions; with more classes than this, only the best and the worst are drawn.
CONFUSIONS, CLASSES = 10, 20
# Columns of the table of runs.
RUNS = (
    "seed", "status", "test %", "validation %", "training %", "test loss", "calibration error %", "epochs", "kept",
    "chosen on validation", "seconds", "images/s", "record",
)  # fmt: skip


def experiment(material, name):
    """The values of an experiment's page.

    Args:
        material: a Material.
        name: of an experiment with records.
    """
    page = Page(material, page_of_experiment(name))
    groups, listed = material.groups[name], material.listed.get(name)
    report_name = name.split("/")[0]
    judged = material.judged.get(report_name)
    verdicts = [v for v in judged.verdicts if any(name in bound.names for bound in v.claim.bounds)] if judged else []
    names = list(material.of_report(report_name))
    at = names.index(name)
    return {
        "page": page,
        "name": name.split("/", 1)[-1],
        "report": report_name,
        "report_page": page.href(page_of_report(report_name)),
        "experiment": listed or groups[0].experiment,
        "listed": listed,
        "agreement": material.agreements.get(name),
        "before": page.experiment(names[at - 1]) if at else "",
        "after": page.experiment(names[at + 1]) if at + 1 < len(names) else "",
        "verdicts": page.verdicts(verdicts) if verdicts else None,
        "groups": [group_values(page, group, listed, index) for index, group in enumerate(groups)],
        "folder": FOLDER,
    }


def group_values(page, group, listed, index):
    """The values of a group of runs, for runs.html.j2.

    Args:
        page: a Page.
        group: a Group.
        listed: the Experiment as its report lists it, or None.
        index: of the group on the page, from 0.
    """
    first = (group.completed or group.records)[0]
    published = (listed or group.experiment).published
    trained = _trained(group)
    found = {
        "id": f"runs-{index + 1}",
        "group": group,
        "first": first,
        "mean": mean_and_spread(group.summary),
        "tested": _tested(group.completed),
        "published": published,
        "unnamed_images": on_unnamed_images(listed or group.experiment),
        "recipe": recipe(group.experiment),
        "kept": weights_tested([group.experiment]),
        "runs": _runs_table(page, group, index),
        "curves": _curves(trained),
        "trained": len(trained),
        "command": repeat_command(group.records, listed),
        "warnings": list(dict.fromkeys(w for record in group.records for w in record.warnings)),
        "errors": [r for r in group.records if r.status != "completed"],
        "settings": _settings_table(group, listed, index),
        "environment": _environment(group),
        "pictures": _pictures(page, group),
        "mistakes": {},
        "shots": {},
        "calibrated": None,
        "calibration_error": mean([r.test.calibration.error for r in group.completed if r.test.calibration]),
        "epochs": epochs(group.completed or group.records),
    }
    if group.completed:
        found |= _classes(group, published, index)
    return found


def _tested(completed):
    """How many seeds and test images an accuracy is of; of one seed also its interval."""
    if not completed:
        return ""
    test, number = completed[0].test, len(completed)
    if number > 1:
        return f"{number} seeds, {test.examples:,} test images"
    low, high = accuracy_interval(round(test.accuracy * test.examples), test.examples)
    return f"1 seed, {test.examples:,} test images, 95 % interval {percent(low)} to {percent(high)} %"


def _runs_table(page, group, index):
    """A row for each run; columns in which no run has anything are left out."""
    columns = {name: [] for name in RUNS}
    for record in group.records:
        results = [record.test, record.val, record.train]
        calibration = record.test and record.test.calibration
        cells = (
            Number(str(record.seed), record.seed),
            record.status,
            *(percent_cell(result and result.accuracy) for result in results),
            number_cell(record.test and record.test.loss, ".4f"),
            percent_cell(calibration and calibration.error),
            number_cell(record.epochs_run or None, "d"),
            number_cell(record.best_epoch if kept_epoch(record) else None, "d"),
            choice(record),
            number_cell(record.train_seconds, ",.1f"),
            number_cell(record.images_per_second, ",.0f"),
            page.record(record),
        )
        for column, cell in zip(columns.values(), cells, strict=True):
            column.append(cell)
    columns = {name: cells for name, cells in columns.items() if any(map(_tells, cells))}
    return Table("Runs", tuple(columns), list(map(list, zip(*columns.values(), strict=True))), f"seeds-{index + 1}")


def _tells(cell):
    return cell.value is not None if isinstance(cell, Number) else bool(cell)


def _trained(group):
    """The run of each seed whose curves are drawn: of those with a loss the one that counts, by seed."""
    runs = [record for record in group.records if any(loss is not None for loss in record.history.get("loss", ()))]
    return [record for of_seeds in runs_alike(runs) for record in of_seeds]


def _curves(records):
    """(caption, chart, legend) of the losses, the accuracies and, if it changes, the learning rate.

    Args:
        records: one of each seed.
    """
    separate = records and all("cross_entropy" in record.history for record in records)
    loss = ("cross_entropy", "val_cross_entropy") if separate else ("loss", "val_loss")
    found = []
    for title, columns, factor, digits in (
        ("cross entropy", loss, 1, 3),
        ("accuracy, %", ("accuracy", "val_accuracy"), 100, 1),
    ):
        series = []
        for colour, (name, column) in enumerate(zip(("training", "validation"), columns, strict=True)):
            numbers = over_runs([record.history.get(column, ()) for record in records], factor)
            dots = tuple({r.best_epoch for r in records if r.best_epoch}) if colour else ()
            series.append(charts.Line(name, *numbers, colour=colour, dots=dots))
        chart = charts.lines(series, title, digits=digits, percent=factor == 100)
        if chart:
            found.append((title, chart, charts.legend(series)))
    rates, _, _ = over_runs([record.history.get("learning_rate", ()) for record in records])
    known = [rate for rate in rates if rate]
    if len(set(known)) > 1 and min(known) > 0:
        line = charts.Line("learning rate", tuple(rate or None for rate in rates), colour=2)
        found.append(("learning rate", charts.lines([line], "learning rate", digits=6, logarithmic=True), ""))
    return found


def _classes(group, published, index):
    """The confusion matrix, accuracies of the classes and the calibration of completed runs."""
    names, matrix = group.completed[0].class_names, group.confusion_matrix()
    accuracies = class_accuracies(group.summary)
    theirs = published and published.per_class_accuracy
    theirs = theirs if theirs and group.experiment.published and len(theirs) == len(names) else None
    totals = [sum(row) for row in matrix]
    shown = [_class_row(*of) for of in zip(names, accuracies, totals, theirs or [None] * len(names), strict=True)]
    if len(names) > CLASSES:
        half = CLASSES // 2
        ranked = sorted(range(len(names)), key=lambda i: -(accuracies[i] or 0))
        parts = {f"The {half} best classes": ranked[:half], f"The {half} worst classes": ranked[-half:]}
        bars = [charts.rows([shown[i] for i in part], f"{words}: test accuracy, %") for words, part in parts.items()]
    else:
        bars = [charts.rows(shown, "Test accuracy by class, %")]
    return {
        "classes": bars,
        "has_published_classes": theirs is not None,
        "confusion": charts.confusion(matrix, names),
        "confused": _confused(names, matrix, totals, f"confused-{index}"),
        "all_classes": _all_classes(names, totals, accuracies, f"classes-{index}") if len(names) > CLASSES else None,
        "calibrated": next((record for record in group.completed if record.test.calibration), None),
        "shots": shot_groups(group.completed) if group.experiment.imbalance else {},
    }


def _class_row(name, accuracy, images, published):
    """The row of a class in a chart: its accuracy, and the published one."""
    whole = printable(name)
    if accuracy is None:
        return charts.Row(name, (), f"{whole}: no test image", "-")
    marks, tip = [charts.Mark("bar", 100 * accuracy)], f"{whole}: {100 * accuracy:.1f} % of {images:,} test images"
    if published is not None:
        marks.append(charts.Mark("tick", 100 * published))
        tip += f", published {100 * published:.1f} %"
    return charts.Row(name, tuple(marks), tip, f"{100 * accuracy:.1f}")


def _confused(names, matrix, totals, table_id):
    """The most frequent confusions, as a Table."""
    pairs = [(n, i, j) for i, row in enumerate(matrix) for j, n in enumerate(row) if i != j and n]
    pairs.sort(key=lambda pair: -pair[0])
    found = [
        [charts.text(names[i]), charts.text(names[j]), Number(f"{n:,}", n), percent_cell(n / totals[i])]
        for n, i, j in pairs[:CONFUSIONS]
    ]
    return Table(
        "The most frequent confusions", ("true class", "taken for", "images", "% of the class"), found, table_id
    )


def _all_classes(names, totals, accuracies, table_id):
    found = [
        [charts.text(name), Number(f"{n:,}", n), percent_cell(accuracy)]
        for name, n, accuracy in zip(names, totals, accuracies, strict=True)
    ]
    return Table("Every class", ("class", "test images", "test accuracy %"), found, table_id)


def _settings_table(group, listed, index):
    changed = changed_settings(group.experiment, listed) if listed else {}
    usual = settings(listed) if listed else {}
    found = []
    for name, value in settings(group.experiment).items():
        if value is None and name not in changed:
            continue
        note = (
            Markup('<span class="why">the report lists {}</span>').format(_value(usual.get(name)))
            if name in changed
            else ""
        )
        found.append([name, Markup("{}{}").format(_value(value), note)])
    return Table("Settings", ("setting", "value"), found, f"settings-{index + 1}")


def _value(value):
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _environment(group):
    """{what: in words} of where and with what the runs were computed."""

    def of(words):
        return "; ".join(dict.fromkeys(filter(None, map(words, group.records))))

    source = group.records[0].source
    counts = ", ".join(f"{number:,} {split}" for split, number in source["counts"].items())
    return {
        "images": group.images,
        "split": f"{source.get('split', '')}: {counts}".strip(": "),
        **{f"note {i}" if i > 1 else "note": note for i, note in enumerate(source.get("notes", ()), 1)},
        "checksum of the images": source["sha256"],
        **origin(group.records[0]),
        "device": of(lambda r: r.device),
        "backend and precision": f"{group.records[0].backend}, {group.records[0].precision}",
        "versions": of(lambda r: ", ".join(f"{name} {version}" for name, version in r.versions.items())),
        "commit": of(lambda r: r.commit) or "unknown",
        "started": of(lambda r: r.started.replace("T", " ")[:16]) + " UTC",
    }


def _pictures(page, group):
    """{seed: pictures beside its record} of those that have some."""
    found = {}
    for record in group.records:
        for name, caption in PICTURES.items():
            path = picture_path(record, page.material.out, name)
            if name not in AS_CHARTS and path.is_file():
                found.setdefault(record.seed, []).append({**page.image(path, caption), "seed": record.seed})
    return found
