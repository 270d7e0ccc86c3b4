"""Losses and accuracies over the epochs, the loss over learning rates, and accuracy over the values of a setting."""

from collections.abc import Mapping

import matplotlib
import numpy as np
from matplotlib.ticker import LogFormatter

from kmodels.errors import require
from kmodels.plots.style import COLOURS, SOFT, Figure, entry, label, plain
from kmodels.records import Record

# More runs than this would be a tangle of lines in one panel: training and validation get panels of their own.
TOGETHER = 3


def training_curves(records, labels=None):
    """Loss and accuracy over the epochs, with the kept epoch and early stopping marked.

    Up to three runs share a panel for the loss and one for the accuracy, training dashed and validation solid; for
    more, training and validation have panels of their own.

    Args:
        records: Records, also as the values of a dict; or one Record. Those without a finished epoch, of a head for
            instance, are left out.
        labels: one for each record; None: the last part of the experiment's name.

    Raises:
        InputError: if no record has a finished epoch.
    """
    if isinstance(records, Record):
        records = [records]
    records = list(records.values() if isinstance(records, Mapping) else records)
    labels = [record.experiment.short_name for record in records] if labels is None else labels
    trained = [(record, text) for record, text in zip(records, labels, strict=True) if record.epochs_run]
    require(trained, "curves need a record with a finished epoch", len(records))
    records, labels = zip(*trained, strict=True)
    apart = len(records) > TOGETHER
    # Without label smoothing and class weights, where a run has them: or its loss could not be compared.
    plain_loss = any("cross_entropy" in record.history for record in records)
    figure = Figure(figsize=(11.5, 7) if apart else (10, 3.8), layout="constrained")
    grid = figure.subplots(1 + apart, 2, squeeze=False)
    for record, text, colour in zip(records, labels, _colours(len(records)), strict=True):
        for row, prefix, title in ((0, "", "training"), (int(apart), "val_", "validation")):
            style = "--" if not prefix and not apart else "-"
            name = entry(text) if apart else f"{entry(text)}, {title}"
            loss = "cross_entropy" if "cross_entropy" in record.history else "loss"
            _curve(grid[row, 0], record, f"{prefix}{loss}", style, colour, name)
            _curve(grid[row, 1], record, f"{prefix}accuracy", style, colour, name)
    for row, part in zip(grid, ("Training ", "Validation ") if apart else ("",), strict=True):
        row[0].set(
            title=f"{part}loss".capitalize(),
            xlabel="epoch",
            ylabel=f"cross entropy{', plain' if plain_loss else ''} (nats)",
        )
        row[1].set(title=f"{part}accuracy".capitalize(), xlabel="epoch", ylabel="accuracy (%)")
        for axes in row:
            axes.xaxis.get_major_locator().set_params(integer=True)
            plain(axes)
    stopped = "; cross: stopped early" if any(map(_stopped_early, records)) else ""
    legend = {"fontsize": 8, "frameon": False, "title": f"dot: weights kept{stopped}", "title_fontsize": 8}
    if apart:
        figure.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside right center", **legend)
    else:
        grid[0, 0].legend(**legend).set_in_layout(False)
    return figure


def _curve(axes, record, name, style, colour, label):
    values = np.array([np.nan if value is None else value for value in record.history[name]], dtype=float)
    values *= 100 if name.endswith("accuracy") else 1
    marker = "o" if len(values) == 1 else None
    axes.plot(np.arange(1, len(values) + 1), values, style, color=colour, label=label, linewidth=1.4, marker=marker)
    if name.startswith("val_") and record.best_epoch:
        axes.plot(record.best_epoch, values[record.best_epoch - 1], "o", color=colour, markersize=6)
    if name.startswith("val_") and _stopped_early(record):
        axes.plot(len(values), values[-1], "X", color=colour, markersize=7)


def _stopped_early(record):
    experiment = record.experiment
    return record.status == "completed" and experiment.patience is not None and record.epochs_run < experiment.epochs


def _colours(number):
    """The named colours; for more runs than there are, as in a sweep, shades from dark to light."""
    if number <= len(COLOURS):
        return COLOURS[:number]
    return [matplotlib.colormaps["viridis"](shade) for shade in np.linspace(0, 0.92, number)]


def learning_rate_test(rates, losses, smoothed, suggestion=None):
    """The loss over the learning rate, on a logarithmic axis, with the suggested rate marked.

    Args:
        rates: learning rates, above 0, in ascending order.
        losses: of a training step at each rate, in nats; they may end in values that are not finite.
        smoothed: the same, smoothed.
        suggestion: one of the rates; None: none is marked.

    Raises:
        InputError: if the three differ in length.
    """
    require(
        len(rates) == len(losses) == len(smoothed) > 0,
        "rates, losses and smoothed must be equally many, at least one",
        (len(rates), len(losses), len(smoothed)),
    )
    figure = Figure(figsize=(7, 3.8), layout="constrained")
    axes = figure.subplots()
    axes.plot(rates, losses, ".", color=SOFT, markersize=4, label="of a step")
    axes.plot(rates, smoothed, color=COLOURS[0], linewidth=1.4, label="smoothed")
    if suggestion is not None:
        text = f"suggested: {suggestion:.2g}"
        axes.axvline(suggestion, linestyle="--", color=COLOURS[1], linewidth=1, label=text)
        axes.plot(suggestion, smoothed[list(rates).index(suggestion)], "o", color=COLOURS[1], markersize=6)
    axes.set(xscale="log", xlabel="learning rate", ylabel="training loss (nats)")
    # The usual labels are formulas.
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(LogFormatter(minor_thresholds=(1, 0.4)))
    low, high = np.min(smoothed), np.max(smoothed)
    if np.isfinite(low + high):
        # Losses that diverge are many times as high: they would flatten the fall that is to be seen.
        room = max(0.35 * (high - low), 0.02 * high, 1e-3)
        axes.set_ylim(max(low - room, 0), high + room)
    axes.legend(fontsize=8, frameon=False).set_in_layout(False)
    plain(axes)
    return figure


def sweep(values, measured, published, *, setting, measured_on=""):
    """Test accuracy against the values of a setting, with the published points.

    Args:
        values: of the setting, numbers in ascending order.
        measured: for each value (mean, standard deviation) of the test accuracy, fractions of 1; the deviation None for
            one run, the pair None where nothing was measured.
        published: for each value the report's test accuracy, fraction of 1, or None.
        setting: its name, for the axis.
        measured_on: what the measured points were measured on, for the legend.

    Raises:
        InputError: if the three differ in length.
    """
    require(
        len(values) == len(measured) == len(published) > 0,
        "values, measured and published must be equally many, at least one",
        (len(values), len(measured), len(published)),
    )
    figure = Figure(figsize=(7, 3.8), layout="constrained")
    axes = figure.subplots()
    seen = [(value, *pair) for value, pair in zip(values, measured, strict=True) if pair]
    printed = [(value, number) for value, number in zip(values, published, strict=True) if number is not None]
    if printed:
        axes.plot(*_percent_columns(printed), "D--", color=COLOURS[1], linewidth=1, markersize=5, label="published")
    if seen:
        settings, means, deviations = zip(*seen, strict=True)
        axes.errorbar(
            settings,
            100 * np.array(means),
            100 * np.array([deviation or 0 for deviation in deviations]),
            fmt="o-",
            color=COLOURS[0],
            linewidth=1.4,
            capsize=3,
            label="measured"
            + (f" on {label(measured_on, 120)}" if measured_on else "")
            + (", mean and standard deviation over seeds" if any(deviations) else ""),
        )
    axes.set(xlabel=label(setting, 60), ylabel="test accuracy (%)", xticks=values)
    # A long text may reach beyond the axes, and must not take their room.
    axes.legend(fontsize=8, frameon=False).set_in_layout(False)
    plain(axes)
    return figure


def _percent_columns(pairs):
    settings, fractions = zip(*pairs, strict=True)
    return settings, 100 * np.array(fractions)
