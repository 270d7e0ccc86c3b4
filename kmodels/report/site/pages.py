"""The pages of the site: for each the values in its template."""

import os
from typing import NamedTuple

from markupsafe import Markup
from PIL import Image

from kmodels.report import figures as report_figures
from kmodels.report.agreement import FEWEST_SEEDS, summarise_agreement
from kmodels.report.claim_tables import reason, rows, word
from kmodels.report.pictures import PICTURES, picture_path
from kmodels.report.site import charts
from kmodels.report.site.commands import FOLDER, repeat_command, run_command
from kmodels.report.site.figures import ends, over_runs, show
from kmodels.report.tables import (
    changed_settings,
    kept_epoch,
    mean_and_spread,
    origin,
    percent,
    recipe,
    settings,
    shot_groups,
    weights_tested,
)
from kmodels.report.verdicts import CONFIRMED, OPEN, REFUTED, count

# Pictures whose numbers are charts here.
AS_CHARTS = ("curves", "confusion", "classes", "reliability", "long_tail")
# Rows of the table of confusions, and of classes before the rest is folded.
CONFUSIONS, CLASSES = 10, 20


class Number(NamedTuple):
    """A cell of a table that is sorted by its value.

    Attributes:
        text: as it is shown.
        value: None is sorted last.
    """

    text: str
    value: float | None


class Table(NamedTuple):
    """A table that can be sorted and filtered.

    Attributes:
        caption: what it shows.
        head: names of the columns.
        rows: lists of cells: text, Markup or Number.
        id: on its page.
        stack: whether on a telephone the cells of a row stand below each other, for tables with much text.
    """

    caption: str
    head: tuple
    rows: list
    id: str
    stack: bool = False


def page_of_report(name):
    """The path of a report's page in the site."""
    return f"reports/{name}.html"


def page_of_experiment(name):
    """The path of an experiment's page in the site."""
    return f"experiments/{name}.html"


class Page:
    """What all pages have.

    Args:
        material: a Material.
        path: of the page in the site.
    """

    def __init__(self, material, path):
        self.material, self.path = material, path

    def href(self, path):
        """The address of another file of the site, from this page."""
        return os.path.relpath(path, os.path.dirname(self.path) or ".").replace(os.sep, "/")

    def file(self, path):
        """The address of a file in the results folder, from this page."""
        return self.href(os.path.join("..", os.path.relpath(path, self.material.out)))

    def link(self, text, path):
        """A link to another page, if that is written."""
        return Markup('<a href="{}">{}</a>').format(self.href(path), charts.text(text))

    def experiment(self, name, text=None):
        """The name of an experiment, as a link where it has a page."""
        text = text or name.split("/", 1)[-1]
        if name in self.material.groups:
            return self.link(text, page_of_experiment(name))
        return charts.text(text)

    def verdicts(self, verdicts, with_report=False):
        """The verdicts on claims as a Table: those with a verdict first, then those that were run elsewhere."""
        order = {CONFIRMED: 0, REFUTED: 1, OPEN: 2}
        ranked = sorted(verdicts, key=lambda one: (order.get(one.outcome, 3), not one.elsewhere))
        found = []
        for verdict in ranked:
            links = [self.experiment(name) for name in _names(verdict.claim)]
            if with_report:
                links.insert(0, self.link(verdict.claim.report, page_of_report(verdict.claim.report)))
            found.append(
                [
                    badge(verdict, reason(verdict)),
                    Markup('{}<span class="why">{}</span>').format(verdict.claim.says, Markup(", ").join(links)),
                    _evidence(verdict),
                    Number(str(verdict.seeds or "-"), verdict.seeds or None),
                ]
            )
        return Table(
            "Claims and verdicts", ("verdict", "claim", "what stands behind it", "seeds"), found, "claims", True
        )


def _names(claim):
    return dict.fromkeys(name for bound in claim.bounds for name in bound.names)


def badge(verdict, why):
    """The word of a Verdict, coloured, and what it leaves out."""
    kind = verdict.outcome.replace(" ", "-") if verdict.as_published else "elsewhere"
    note = Markup('<span class="why">{}</span>').format(why) if why else ""
    return Markup('<span class="badge {}">{}</span>{}').format(kind, word(verdict), note)


def _evidence(verdict):
    """The findings of a Verdict, and folded those on other images or with other settings."""
    elsewhere = [
        Markup("<p>{} {}</p>{}").format(badge(one, ""), one.images, _findings(one)) for one in verdict.elsewhere
    ]
    parts = [_findings(verdict)]
    if verdict.findings:
        parts.append(Markup('<span class="why">{}</span>').format(verdict.images))
    if elsewhere:
        words = ", ".join(dict.fromkeys(word(one) for one in verdict.elsewhere))
        parts.append(
            Markup("<details><summary>on other images or with other settings: {}</summary>{}</details>").format(
                words, Markup("").join(elsewhere)
            )
        )
    return Markup("").join(parts)


def _findings(verdict):
    """A list of what was measured, with its interval, and what was expected."""
    (row,) = rows([verdict._replace(elsewhere=())])
    items = [
        Markup('<li>{}<span class="why">expected: {}; seeds: {}</span></li>').format(*parts)
        for parts in zip(row.measured, row.expected, row.seeds, strict=True)
    ]
    return Markup('<ul class="findings">{}</ul>').format(Markup("").join(items)) if items else ""


def index(material):
    """The values of the first page."""
    page = Page(material, "index.html")
    together = material.together
    agreement = summarise_agreement(together.experiments, together.agreements)
    claims = count(together.verdicts)
    experiments = [one for report in material.reports for one in report.experiments]
    figures = []
    for report in material.reports:
        found = [
            _agreement_row(page, one)
            for one in together.agreements
            if one.experiment.name.startswith(f"{report.name}/")
        ]
        if found:
            figures.append(charts.rows(found, page.link(report.name, page_of_report(report.name)), *ends(found)))
    table = []
    for report in material.reports:
        groups = material.of_report(report.name)
        judged = material.judged.get(report.name)
        counts = count(judged.verdicts) if judged else (0, 0, 0, 0)
        numbers = summarise_agreement(judged.experiments, judged.agreements) if judged else None
        runs = sum(len(group.records) for one in groups.values() for group in one)
        total = max(len(report.experiments), len(groups))
        table.append(
            [
                page.link(report.name, page_of_report(report.name)),
                report.question,
                Number(f"{len(groups)} of {total}", len(groups)),
                Number(f"{runs}", runs),
                Number(f"{numbers.within} of {numbers.judged}" if numbers and numbers.judged else "-", numbers and numbers.within),
                *(Number(str(number), number) for number in counts),
            ]
        )  # fmt: skip
    head = (
        "report",
        "its question",
        "experiments run",
        "runs",
        "reproduced",
        "confirmed",
        "refuted",
        "open",
        "not run",
    )
    return {
        "page": page,
        "agreement": agreement,
        "claims": claims,
        "fewest": FEWEST_SEEDS,
        "figures": figures,
        "verdicts": page.verdicts(together.verdicts, with_report=True),
        "reports": Table("Reports", head, table, "reports", True),
        "run": len(material.groups),
        "listed": max(len(experiments), len(material.groups)),
        "runs": len(material.records),
        "weights": weights_tested([record.experiment for record in material.records]),
    }


def _agreement_row(page, one):
    name = one.experiment.name
    published, tip = 100 * one.published, [f"published {percent(one.published)} %"]
    marks, text = [], "diverged"
    if one.mean is not None:
        mean = 100 * one.mean
        enough = one.seeds >= FEWEST_SEEDS
        low, high = (max(0, 100 * one.low), min(100, 100 * one.high)) if enough else (None, None)
        marks.append(charts.Mark("dot" if enough else "ring", mean, low, high))
        tip.append(f"measured {mean:.2f} % over {one.seeds} seed{'' if one.seeds == 1 else 's'}")
        text = f"{mean - published:+.2f}"
        if enough:
            tip.append(f"one more run is expected from {low:.2f} to {high:.2f} %")
            tip.append(
                {True: "the published number lies within", False: "the published number lies outside"}.get(
                    one.within, ""
                )
            )
    marks.append(charts.Mark("tick", published))
    return charts.Row(
        name.split("/", 1)[-1], tuple(marks), f"{name}: {'; '.join(filter(None, tip))}", text, page.href(page_of_experiment(name))
    )  # fmt: skip


def report(material, source):
    """The values of a report's page.

    Args:
        material: a Material.
        source: a ReportSource.
    """
    page = Page(material, page_of_report(source.name))
    groups = material.of_report(source.name)
    judged = material.judged.get(source.name)
    listed = {one.name: one for one in source.experiments}
    table = []
    for name, found in groups.items():
        for group in found:
            table.append(_experiment_row(page, name, listed.get(name), group))
    head = (
        "experiment", "what it is", "images and changed settings", "published %", "measured %", "difference", "seeds",
        "epochs", "parameters",
    )  # fmt: skip
    records = [record for found in groups.values() for group in found for record in group.records]
    order = {name: index for index, name in enumerate(listed)}
    records.sort(key=lambda record: (order.get(record.experiment.name, len(order)), record.status != "completed"))
    drawing = report_figures.Material([r for r in records if r.experiment.name in listed], listed, None)
    figures = [show(figure, drawing, material.out / source.name) for figure in source.figures]
    missing = [one for one in source.experiments if one.name not in groups]
    return {
        "page": page,
        "source": source,
        "fewest": FEWEST_SEEDS,
        "text": _paragraphs(source.text),
        "judged": judged,
        "agreement": summarise_agreement(judged.experiments, judged.agreements) if judged else None,
        "claims": count(judged.verdicts) if judged else None,
        "verdicts": page.verdicts(judged.verdicts) if judged else None,
        "experiments": Table("Experiments with records", head, table, "experiments", True),
        "run": len(groups),
        "listed": max(len(listed), len(groups)),
        "runs": len(records),
        "figures": [_with_picture(page, figure) for figure in figures],
        "missing": Table(
            "Not run yet",
            ("experiment", "what it is", "published %", "command"),
            [
                [
                    one.name.split("/", 1)[-1],
                    one.description,
                    _percent_cell(one.published and one.published.test_accuracy),
                    _code(run_command(one)),
                ]
                for one in missing
            ],
            "missing",
            True,
        ),
    }


def _with_picture(page, figure):
    if figure.picture is None:
        return figure._asdict() | {"image": None}
    return figure._asdict() | {"image": _image(page, figure.picture, figure.title)}


def _experiment_row(page, name, listed, group):
    published = listed.published if listed else group.experiment.published
    published = published and published.test_accuracy
    summary = group.summary
    difference = (
        None if published is None or summary.mean is None or not group.as_published else summary.mean - published
    )
    return [
        page.experiment(name),
        (listed or group.experiment).description,
        Markup('{}<span class="why">{}on {}</span>').format(
            group.images,
            "not the published images and settings; " if listed and not group.as_published else "",
            group.where,
        ),
        _percent_cell(published),
        Number(mean_and_spread(summary).split(" (")[0], summary.mean),
        Number("-" if difference is None else f"{100 * difference:+.2f}", difference),
        Number(str(len(group.completed)), len(group.completed)),
        Number(", ".join(dict.fromkeys(str(r.epochs_run) for r in group.records)), group.records[0].epochs_run),
        Number(f"{group.records[0].parameters:,}", group.records[0].parameters),
    ]


def _percent_cell(fraction):
    return Number(percent(fraction), fraction)


def _code(text):
    return Markup("<code>{}</code>").format(text)


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
        "groups": [_group(page, group, listed, index) for index, group in enumerate(groups)],
        "folder": FOLDER,
    }


def _group(page, group, listed, index):
    first = (group.completed or group.records)[0]
    published = (listed or group.experiment).published
    found = {
        "id": f"runs-{index + 1}",
        "group": group,
        "first": first,
        "mean": mean_and_spread(group.summary),
        "published": published,
        "recipe": recipe(group.experiment),
        "kept": weights_tested([group.experiment]),
        "runs": _runs_table(page, group, index),
        "curves": _curves(group),
        "command": repeat_command(group.records, listed),
        "warnings": list(dict.fromkeys(w for record in group.records for w in record.warnings)),
        "errors": [r for r in group.records if r.status != "completed"],
        "settings": _settings_table(group, listed, index),
        "environment": _environment(group),
        "pictures": _pictures(page, group),
    }
    if group.completed:
        found |= _classes(group, published, index)
    return found


def _runs_table(page, group, index):
    head = ("seed", "status", "test %", "validation %", "training %", "test loss", "calibration error %", "epochs", "kept",
            "seconds", "images/s", "record")  # fmt: skip
    found = []
    for record in group.records:
        results = [record.test, record.val, record.train]
        calibration = record.test and record.test.calibration
        found.append(
            [
                Number(str(record.seed), record.seed),
                record.status,
                *(_percent_cell(result and result.accuracy) for result in results),
                _number(record.test and record.test.loss, ".4f"),
                _percent_cell(calibration and calibration.error),
                Number(str(record.epochs_run), record.epochs_run),
                _number(record.best_epoch if kept_epoch(record) else None, "d"),
                _number(record.train_seconds, ",.1f"),
                _number(record.images_per_second, ",.0f"),
                Markup('<a href="{}">JSON</a>').format(page.file(page.material.paths[id(record)])),
            ]
        )
    return Table("Runs, one for each seed", head, found, f"seeds-{index + 1}")


def _number(value, form):
    return Number("-" if value is None else f"{value:{form}}", value)


def _curves(group):
    """(caption, chart, legend) of the losses, the accuracies and, if it changes, the learning rate."""
    history = group.records[0].history
    loss = ("cross_entropy", "val_cross_entropy") if "cross_entropy" in history else ("loss", "val_loss")
    found = []
    for title, columns, factor, digits in (
        ("cross entropy", loss, 1, 3),
        ("accuracy, %", ("accuracy", "val_accuracy"), 100, 1),
    ):
        series = []
        for colour, (name, column) in enumerate(zip(("training", "validation"), columns, strict=True)):
            numbers = over_runs([record.history.get(column, ()) for record in group.records], factor)
            dots = tuple({r.best_epoch for r in group.records if r.best_epoch}) if colour else ()
            series.append(charts.Line(name, *numbers, colour=colour, dots=dots))
        chart = charts.lines(series, title, digits=digits, percent=factor == 100)
        if chart:
            found.append((title, chart, charts.legend(series)))
    rates, _, _ = over_runs([record.history.get("learning_rate", ()) for record in group.records])
    known = [rate for rate in rates if rate]
    if len(set(known)) > 1 and min(known) > 0:
        line = charts.Line("learning rate", tuple(rate or None for rate in rates), colour=2)
        found.append(("learning rate", charts.lines([line], "learning rate", digits=6, logarithmic=True), ""))
    return found


def _classes(group, published, index):
    """The confusion matrix, accuracies of the classes and the calibration of completed runs."""
    names = group.completed[0].class_names
    matrix = group.confusion_matrix()
    theirs = published and published.per_class_accuracy
    theirs = theirs if theirs and len(theirs) == len(names) and group.completed[0].experiment.published else None
    found = []
    for i, accuracy in enumerate(group.class_accuracies()):
        marks, tip = (
            [],
            [f"{100 * accuracy:.1f} % of {sum(matrix[i]):,} test images" if accuracy is not None else "no test image"],
        )
        if accuracy is not None:
            marks.append(charts.Mark("bar", 100 * accuracy))
        if theirs:
            marks.append(charts.Mark("tick", 100 * theirs[i]))
            tip.append(f"published {100 * theirs[i]:.1f} %")
        found.append((accuracy or 0, charts.Row(names[i], tuple(marks), f"{names[i]}: {', '.join(tip)}", "-" if accuracy is None else f"{100 * accuracy:.1f}")))  # fmt: skip
    total = [sum(row) for row in matrix]
    confused = sorted(
        ((matrix[i][j], i, j) for i in range(len(names)) for j in range(len(names)) if i != j and matrix[i][j]),
        reverse=True,
    )[:CONFUSIONS]
    title = "Test accuracy by class, %"
    shown = [row for _, row in found]
    charts_of_classes = [charts.rows(shown, title)]
    if len(names) > CLASSES:
        ranked = [row for _, row in sorted(found, key=lambda item: -item[0])]
        charts_of_classes = [
            charts.rows(ranked[: CLASSES // 2], f"The {CLASSES // 2} best classes: test accuracy, %"),
            charts.rows(ranked[-CLASSES // 2 :], f"The {CLASSES // 2} worst classes: test accuracy, %"),
        ]
    calibrated = next((record for record in group.completed if record.test.calibration), None)
    return {
        "confusion": charts.confusion(matrix, names),
        "confused": Table(
            "The most frequent confusions",
            ("true class", "taken for", "images", "% of the class"),
            [
                [charts.text(names[i]), charts.text(names[j]), Number(f"{n:,}", n), _percent_cell(n / total[i])]
                for n, i, j in confused
            ],
            f"confused-{index + 1}",
        ),
        "classes": charts_of_classes,
        "has_published_classes": bool(theirs),
        "all_classes": Table(
            "Every class",
            ("class", "test images", "test accuracy %"),
            [
                [charts.text(name), Number(f"{n:,}", n), _percent_cell(accuracy)]
                for name, n, accuracy in zip(names, total, group.class_accuracies(), strict=True)
            ],
            f"classes-{index + 1}",
        )
        if len(names) > CLASSES
        else None,
        "reliability": calibrated and charts.reliability(calibrated.test.calibration),
        "calibrated": calibrated,
        "shots": shot_groups(group.completed[0]) if group.experiment.imbalance else {},
    }


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
    """Pictures beside the first record that has some."""
    for record in group.records:
        found = []
        for name, caption in PICTURES.items():
            path = picture_path(record, page.material.out, name)
            if name not in AS_CHARTS and path.is_file():
                found.append({**_image(page, path, caption), "seed": record.seed})
        if found:
            return found
    return []


def _image(page, path, caption):
    with Image.open(path) as picture:
        width, height = picture.size
    return {"src": page.file(path), "width": width, "height": height, "caption": caption}


def _paragraphs(text):
    """The docstring of a report as (kind, text): "p", or "pre" for what is indented."""
    found = []
    for block in text.strip().split("\n\n")[1:]:
        kind = "pre" if all(line.startswith("    ") for line in block.splitlines()) else "p"
        lines = [line[4:] for line in block.splitlines()] if kind == "pre" else block.splitlines()
        found.append((kind, "\n".join(lines)))
    return found
