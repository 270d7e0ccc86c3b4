"""The figures of a report (figures.py beside this package) as charts of the site, over all seeds."""

import statistics
from typing import NamedTuple

from kmodels.errors import InputError
from kmodels.records.descriptions import percent, seeds, settings, source_name
from kmodels.records.summaries import by_shots, class_accuracies
from kmodels.report.figures import ClassComparison, Curves, LongTail, Sweep, measured_alike
from kmodels.report.pictures import titled_path
from kmodels.report.site import charts
from kmodels.text import clip, printable

# Of a hundred classes these many are shown: those that differ most.
CLASSES_SHOWN = 20
PANELS = {
    "loss": "training loss",
    "val_loss": "validation loss",
    "accuracy": "training accuracy, %",
    "val_accuracy": "validation accuracy, %",
}


class Shown(NamedTuple):
    """A figure on a page.

    Attributes:
        title: of the figure.
        panels: (caption, Markup) of each chart.
        legend: Markup, "" where the charts need none.
        note: what was measured, in words.
        missing: why there is no chart, or "".
        picture: path of a picture, or None.
    """

    title: str
    panels: tuple = ()
    legend: str = ""
    note: str = ""
    missing: str = ""
    picture: object = None


def show(figure, material, folder):
    """A figure as charts.

    Args:
        figure: of figures.py.
        material: a Material of figures.py.
        folder: of the report, for pictures that are there already.

    Returns:
        A Shown; a figure of a kind that has no chart here is shown by its picture.
    """
    draw = DRAWN.get(type(figure))
    try:
        if draw:
            return draw(figure, material)
    except InputError as error:
        return Shown(figure.title, missing=str(error))
    picture = titled_path(figure.title, folder)
    if picture.is_file():
        return Shown(figure.title, picture=picture)
    return Shown(figure.title, missing="not drawn yet: it needs the images (--figures draws it where they are)")


def _short(name):
    return name.split("/", 1)[-1]


def _label(experiment):
    """The name of an experiment in a legend, with what it is."""
    return (
        f"{experiment.short_name}: {clip(experiment.description, 48)}"
        if experiment.description
        else experiment.short_name
    )


def _note(summaries, experiments=()):
    """On which images, over how many seeds, and which of the experiments were not run."""
    counts = [len(summary.records) for summary in summaries.values()]
    words = f"{min(counts)}" if min(counts) == max(counts) else f"{min(counts)} to {max(counts)}"
    first = next(iter(summaries.values()))
    missing = [one.short_name for one in experiments if one.name not in summaries]
    rest = f"; not run: {', '.join(missing)}" if missing else ""
    return f"{source_name(first.source)}; {words} seed{'' if max(counts) == 1 else 's'} each{rest}"


def _curves(figure, material):
    summaries = figure.summaries(material)
    panels = []
    for column, title in PANELS.items():
        series = []
        for index, (name, summary) in enumerate(summaries.items()):
            factor = 100 if "accuracy" in column else 1
            runs = [record.history.get(column, ()) for record in summary.records]
            mean, low, high = over_runs(runs, factor)
            series.append(charts.Line(_short(name), mean, low, high, **charts.style_of(index)))
        chart = charts.lines(series, title, digits=1 if "accuracy" in column else 3, percent="accuracy" in column)
        if chart:
            panels.append((title, chart))
    listed = {one.name: one for one in figure.experiments}
    lines = [charts.Line(_label(listed[name]), (), **charts.style_of(i)) for i, name in enumerate(summaries)]
    return Shown(figure.title, tuple(panels), charts.legend(lines), _note(summaries, figure.experiments))


def over_runs(runs, factor=1):
    """The mean of several runs and a band around it.

    Args:
        runs: a list of numbers, or None, for each run; they may differ in length.
        factor: all numbers are multiplied by it.

    Returns:
        (mean, low, high), tuples with an entry for each epoch: over the runs that have a number there, mean and mean
        minus and plus the standard deviation; None where there is none.
    """
    mean, low, high = [], [], []
    for epoch in range(max(map(len, runs), default=0)):
        numbers = [factor * run[epoch] for run in runs if epoch < len(run) and run[epoch] is not None]
        spread = statistics.stdev(numbers) if len(numbers) > 1 else None
        mean.append(statistics.fmean(numbers) if numbers else None)
        low.append(None if spread is None else mean[-1] - spread)
        high.append(None if spread is None else mean[-1] + spread)
    return tuple(mean), tuple(low), tuple(high)


def _sweep(figure, material):
    summaries = measured_alike(figure.experiments, material)
    found = []
    for experiment in figure.experiments:
        value, summary = settings(experiment).get(figure.setting), summaries.get(experiment.name)
        published = experiment.published and experiment.published.test_accuracy
        found.append(accuracy_row(f"{figure.setting.replace('_', ' ')} {value}", summary, published))
    low, high = ends(found)
    chart = charts.rows(found, "Test accuracy, %", low, high)
    return Shown(figure.title, (("", chart),), MEASURED_AND_PUBLISHED, _note(summaries))


def accuracy_row(name, summary, published):
    """A row with the mean test accuracy of a Summary (or None), its standard deviation, and the published number."""
    marks, tip, text = [], [], "not run"
    if summary and summary.mean is not None:
        spread = None if summary.spread is None else 100 * summary.spread
        mean = 100 * summary.mean
        edges = (None, None) if spread is None else (mean - spread, mean + spread)
        marks.append(charts.Mark("dot", mean, *edges))
        text = percent(summary.mean)
        tip.append(f"measured {text} %{'' if spread is None else f' ± {spread:.2f}'} ({seeds(summary)})")
    if published is not None:
        marks.append(charts.Mark("tick", 100 * published))
        tip.append(f"published {percent(published)} %")
    return charts.Row(name, tuple(marks), f"{name}: {', '.join(tip) or 'no number'}", text)


def ends(rows):
    """The ends of a scale that has all marks of these rows, with some room."""
    numbers = [n for row in rows for mark in row.marks for n in (mark.value, mark.low, mark.high) if n is not None]
    if not numbers:
        return 0.0, 100.0
    room = max(1.0, 0.06 * (max(numbers) - min(numbers)))
    return max(0.0, min(numbers) - room), min(100.0, max(numbers) + room)


MEASURED_AND_PUBLISHED = charts.legend_of(
    [
        (
            charts.tag("line", class_="whisker s0", x1=1, x2=23, y1=7, y2=7)
            + charts.tag("circle", class_="dot s0", cx=12, cy=7, r=5),
            "measured, mean ± standard deviation over seeds",
        ),
        (charts.tag("line", class_="tick", x1=12, x2=12, y1=0, y2=14), "published"),
    ]
)


def _class_comparison(figure, material):
    summaries = measured_alike(figure.experiments, material)
    (one, first), (other, second) = summaries.items()
    names = first.records[0].class_names
    pairs = zip(names, class_accuracies(first), class_accuracies(second), strict=True)
    found = [(100 * a, 100 * b, name) for name, a, b in pairs if a is not None and b is not None]
    found.sort(key=lambda row: -abs(row[1] - row[0]))
    rows = [
        charts.Row(
            name,
            (charts.Mark("ring", a, min(a, b), max(a, b), 1), charts.Mark("dot", b)),
            f"{printable(name)}: {_short(one)} {a:.1f} %, {_short(other)} {b:.1f} %",
            f"{b - a:+.1f}",
        )
        for a, b, name in found[:CLASSES_SHOWN]
    ]
    legend = charts.legend_of(
        [
            (charts.tag("circle", class_="ring s1", cx=12, cy=7, r=4.5), _short(one)),
            (charts.tag("circle", class_="dot s0", cx=12, cy=7, r=5), _short(other)),
            (None, "right: the difference"),
        ]
    )
    which = f", the {len(rows)} classes of {len(names)} that differ most" if len(rows) < len(names) else ""
    chart = charts.rows(rows, f"Test accuracy by class, %{which}", *ends(rows))
    return Shown(figure.title, (("", chart),), legend, _note(summaries))


def _long_tail(figure, material):
    summaries = figure.summaries(material)
    tag, parts, body = charts.tag, ("all", "many", "medium", "few"), []
    head = tag("tr", tag("th", "experiment"), *(tag("th", part, class_="number") for part in parts))
    for name, summary in summaries.items():
        means = [None if number is None else 100 * number for number in by_shots(summary.records).values()]
        body.append(tag("tr", tag("th", _short(name), scope="row"), *charts.bars_in_cells(means)))
    table = tag("table", tag("thead", head), tag("tbody", *body), class_="data")
    many, few = figure.experiments[0].shots
    note = (
        f"{_note(summaries)}. Test accuracy, %, of all classes, of those with more than {many:,} training images, with "
        f"{few:,} to {many:,}, and with fewer"
    )
    return Shown(figure.title, (("", charts.region(figure.title, table)),), "", note)


DRAWN = {Curves: _curves, Sweep: _sweep, ClassComparison: _class_comparison, LongTail: _long_tail}
