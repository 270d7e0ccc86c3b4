"""The first page and the pages of reports: for each the values in its template."""

from markupsafe import Markup

from kmodels.best_run import best_of, on_the_same_images
from kmodels.records.descriptions import epochs, mean_and_spread, percent, seeds, weights_tested
from kmodels.report import figures as report_figures
from kmodels.report.agreement import FEWEST_SEEDS, summarise_agreement
from kmodels.report.claims import rounded_to
from kmodels.report.markdown import CLAIMS_ARE_JUDGED
from kmodels.report.site import charts
from kmodels.report.site.cells import Number, Table, code, percent_cell
from kmodels.report.site.commands import run_command
from kmodels.report.site.figures import ends, show
from kmodels.report.site.page import Page, page_of_experiment, page_of_report
from kmodels.report.verdicts import count, count_provisional
from kmodels.text import counted

# What stands beside the name of the best of own experiments.
BEST = Markup('<span class="why">best on the validation images</span>')


def index(material):
    """The values of the first page."""
    page = Page(material, "index.html")
    together = material.together
    experiments = [one for report in material.reports for one in report.experiments]
    return {
        "page": page,
        "of_reports": bool(experiments) or not material.records,
        "agreement": summarise_agreement(together.experiments, together.agreements),
        "claims": count(together.verdicts),
        "provisional": count_provisional(together.verdicts),
        "fewest": FEWEST_SEEDS,
        "claims_are_judged": CLAIMS_ARE_JUDGED,
        "figures": _agreement_figures(page),
        "verdicts": page.verdicts(together.verdicts, with_report=True),
        "reports": _reports_table(page),
        "run": len(material.groups),
        "listed": max(len(experiments), len(material.groups)),
        "runs": len(material.records),
        "weights": weights_tested([record.experiment for record in material.records]),
    }


def _agreement_figures(page):
    """A chart for each report with published numbers that were measured."""
    charted = []
    for report in page.material.reports:
        prefix = f"{report.name}/"
        agreements = [one for one in page.material.together.agreements if one.experiment.name.startswith(prefix)]
        if rows := [_agreement_row(page, one) for one in agreements]:
            charted.append(charts.rows(rows, page.link(report.name, page_of_report(report.name)), *ends(rows)))
    return charted


def _reports_table(page):
    """The Table with a row for each report."""
    material, table = page.material, []
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
                _share(numbers),
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
    if not material.listed:
        # Of own images, nothing is published or claimed.
        head, *table = ([row[0], *row[2:4]] for row in (head, *table))
    return Table("Reports", tuple(head), table, "reports", True)


def _share(numbers):
    """How many of the judged published numbers were reproduced, for an AgreementSummary or None."""
    if not numbers or not numbers.judged:
        return Number("-", None)
    return Number(f"{numbers.within} of {numbers.judged}", numbers.within)


def _agreement_row(page, one):
    """The row of an Agreement in the figure of the first page."""
    name, href = one.experiment.name, page.href(page_of_experiment(one.experiment.name))
    published, tip = 100 * one.published, [f"published {percent(one.published)} %"]
    marks, text = [], "diverged"
    if one.mean is not None:
        mean = 100 * one.mean
        enough = one.seeds >= FEWEST_SEEDS and one.low is not None
        low, high = (max(0, 100 * one.low), min(100, 100 * one.high)) if enough else (None, None)
        marks.append(charts.Mark("dot" if enough else "ring", mean, low, high))
        tip.append(f"measured {mean:.2f} % over {counted(one.seeds, 'seed')}")
        text = f"{mean - published:+.2f}"
        if enough:
            tip.append(f"one more run is expected from {low:.2f} to {high:.2f} %")
            tip.append(
                {True: "the published number lies within", False: "the published number lies outside"}.get(
                    one.within, ""
                )
            )
    marks.append(charts.Mark("tick", published, *rounded_to(published)))
    tip = f"{name}: {'; '.join(filter(None, tip))}"
    return charts.Row(name.split("/", 1)[-1], tuple(marks), tip, text, href)


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
        "provisional": count_provisional(judged.verdicts) if judged else None,
        "verdicts": page.verdicts(judged.verdicts) if judged else None,
        "experiments": experiments_table(page, groups, listed),
        "run": len(groups),
        "listed": max(len(listed), len(groups)),
        "runs": len(records),
        "figures": [_with_picture(page, figure) for figure in figures],
        "missing": Table(
            "Not run yet",
            ("experiment", "what it is", "published %", "command"),
            [
                [
                    one.short_name,
                    one.description,
                    percent_cell(one.published and one.published.test_accuracy),
                    code(run_command(one)),
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
    return figure._asdict() | {"image": page.image(figure.picture, figure.title)}


def experiments_table(page, groups, listed):
    """Experiments with what was published and measured, a row for each group of runs.

    Args:
        page: a Page.
        groups: {experiment: [Group]}.
        listed: {experiment: Experiment as its report lists it}.
    """
    head = (
        "experiment", "what it is", "images and changed settings", "published %", "measured %", "difference", "seeds",
        "epochs", "parameters",
    )  # fmt: skip
    best = _best(groups, listed)
    found = [_experiment_row(page, name, listed.get(name), group, best) for name, of in groups.items() for group in of]
    # Of own images, nothing is published.
    empty = [i for i in (3, 5) if all(row[i].value is None for row in found)]
    head, *found = ([cell for i, cell in enumerate(row) if i not in empty] for row in (head, *found))
    return Table("Experiments with records", tuple(head), found, "experiments", True)


def _best(groups, listed):
    """Of several groups of runs that no report lists the record with the best validation accuracy; else None."""
    own = [group for name, of in groups.items() if name not in listed for group in of if group.completed]
    if len(own) < 2:
        return None
    return best_of(on_the_same_images([record for group in own for record in group.completed]))


def _experiment_row(page, name, listed, group, best):
    published = listed.published if listed else group.experiment.published
    comparable = published and published.comparable_accuracy
    summary = group.summary
    difference = (
        None if comparable is None or summary.mean is None or not group.as_published else summary.mean - comparable
    )
    return [
        Markup("{}{}").format(page.experiment(name), BEST if any(one is best for one in group.completed) else ""),
        (listed or group.experiment).description,
        Markup('{}<span class="why">{}on {}</span>').format(
            group.images,
            "not the published images and settings; " if listed and not group.as_published else "",
            group.where,
        ),
        percent_cell(published and published.test_accuracy),
        Number(mean_and_spread(summary).split(" (")[0], summary.mean),
        Number("-" if difference is None else f"{100 * difference:+.2f}", difference),
        Number(seeds(summary).removeprefix("n="), len(group.completed)),
        Number(epochs(group.records), group.records[0].epochs_run),
        Number(f"{group.records[0].parameters:,}", group.records[0].parameters),
    ]


def _paragraphs(text):
    """The docstring of a report as (kind, text): "p", where `this` is code, or "pre" for what is indented."""
    found = []
    for block in text.strip().split("\n\n")[1:]:
        kind = "pre" if all(line.startswith("    ") for line in block.splitlines()) else "p"
        lines = [line[4:] for line in block.splitlines()] if kind == "pre" else block.splitlines()
        text = "\n".join(lines)
        found.append((kind, text if kind == "pre" else _with_code(text)))
    return found


def _with_code(text):
    parts = text.split("`")
    return Markup().join(code(part) if index % 2 else part for index, part in enumerate(parts))
