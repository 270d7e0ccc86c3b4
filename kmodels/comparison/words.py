"""A comparison as a table and sentences."""

from kmodels.comparison.notes import settings_that_differ
from kmodels.errors import shorten
from kmodels.records.descriptions import changed_settings, mean_and_spread
from kmodels.text import aligned, printable


def as_text(comparison):
    rows, lines = as_table_and_lines(comparison)
    notes = [f"- {note}" for note in comparison.notes]
    return "\n".join([aligned(rows, right=(3,)), "", *map(printable, [*lines, "", *notes])])


def as_table_and_lines(comparison):
    """The rows of a table and the sentences below it, without the notes."""
    a, b = comparison.a, comparison.b
    rows = [("", "experiment", "seeds", "test %")]
    rows += [(letter, one.experiment.name, _seeds(one), mean_and_spread(one)) for letter, one in (("a", a), ("b", b))]
    difference = f"b - a: {100 * comparison.difference:+.2f} percentage points"
    interval = f"{100 * comparison.low:+.2f} to {100 * comparison.high:+.2f}"
    difference += f", 95 % interval {interval} ({comparison.method})"
    changes = _changes(a.experiment, b.experiment)
    settings = f"settings that differ, a -> b: {changes}" if changes else "all settings are the same"
    return rows, [difference, *_pairs_text(comparison), _verdict(comparison), settings]


def _pairs_text(comparison):
    if comparison.pairs is None:
        return []
    both, only_a, only_b, neither = comparison.pairs
    p_value = f"p = {comparison.p_value:.2g}" if comparison.p_value >= 1e-6 else "p < 0.000001"
    return [
        f"of {sum(comparison.pairs):,} test images both have {both:,} right, only a {only_a:,}, only b {only_b:,}, "
        f"neither {neither:,}; McNemar's exact test: {p_value}"
    ]


def _verdict(comparison):
    if comparison.shown:
        better, other = ("b", "a") if comparison.difference > 0 else ("a", "b")
        what = f"{better} is better than {other}"
        return what if comparison.over_seeds else f"{what}, of these two networks"
    words = "no difference shown, which does not mean that they are equal"
    if comparison.needed is None:
        return words
    # Rounded up: a smaller number may be one that has shown nothing.
    step = 10 ** max(0, len(str(comparison.needed)) - 2)
    number = "more than a million" if comparison.needed > 1e6 else f"about {-(-comparison.needed // step) * step:,}"
    what, unit = ("difference and spread are", "seeds of each") if comparison.over_seeds else ("it is", "test images")
    return f"{words}; if {what} as large as measured, {number} {unit} would show it four times out of five"


def _changes(a, b):
    before, after = changed_settings(a, b), settings_that_differ(a, b)
    return shorten([f"{name} {before[name]} -> {value}" for name, value in after.items()], 8)


def _seeds(summary):
    return shorten([str(record.seed) for record in summary.records], 10)
