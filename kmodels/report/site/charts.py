"""Charts as inline SVG and HTML, from numbers: coloured by site.css, so that they follow the theme.

What a chart shows at a point or a mark is in its attributes `data-...`, which site.js puts into the tooltip. Every text
of users is escaped.
"""

import base64
import io
import json
import math
from typing import NamedTuple

import numpy as np
from markupsafe import Markup, escape
from PIL import Image

from kmodels.plots.style import label as shown

# How many colours site.css has (--c0, --c1, ...); more lines begin again, dashed.
COLOURS = 8
# Of a chart of lines, in units of its view box: about pixels on a telephone.
WIDTH, HEIGHT = 380, 236
LEFT, RIGHT, TOP, BOTTOM = 46, 10, 10, 40
# More epochs are not drawn one by one: two lines on a pixel say nothing.
MOST_POINTS = 160
# Confusion matrices of more classes are a picture.
MOST_CELLS = 20


class Line(NamedTuple):
    """A line of a chart.

    Attributes:
        name: of the legend.
        values: from x = 1 on; None: no value.
        low, high: the edges of a band around it, or ().
        colour: 0, 1, ...
        dashed: whether it is drawn with dashes.
        dots: x values that are marked by a dot.
    """

    name: str
    values: tuple
    low: tuple = ()
    high: tuple = ()
    colour: int = 0
    dashed: bool = False
    dots: tuple = ()


def lines(series, title, unit="", digits=3, percent=False, logarithmic=False):
    """Lines over the epochs.

    Args:
        series: Lines.
        title: what the numbers are; also read aloud.
        unit: after a number in the tooltip.
        digits: after the decimal point there.
        percent: whether the axis is at most 0 to 100.
        logarithmic: whether the vertical axis is; the numbers must be above 0.

    Returns:
        Markup of an <svg>; "" where there is no number.
    """
    series = [line for line in series if any(value is not None for value in line.values)]
    if not series:
        return ""
    length = max(len(line.values) for line in series)
    step = math.ceil(length / MOST_POINTS)
    epochs = sorted({*range(1, length + 1, step), length})
    values = [v for line in series for part in (line.values, line.low, line.high) for v in part if v is not None]
    ticks = _log_ticks(min(values), max(values)) if logarithmic else _ticks(min(values), max(values), percent)
    height = _scale(ticks[0], ticks[-1], HEIGHT - BOTTOM, TOP, logarithmic)
    across = _scale(1, max(length, 2), LEFT + 4, WIDTH - RIGHT)
    parts = [_grid(ticks, height, length, across)]
    for line in series:
        parts.append(_band(line, epochs, across, height))
        parts.append(_path(line, epochs, across, height))
        parts += [
            Markup('<circle class="dot s{}" cx="{:.1f}" cy="{:.1f}" r="3.5"/>').format(
                line.colour % COLOURS, across(x), height(line.values[x - 1])
            )
            for x in line.dots
            if x <= len(line.values) and line.values[x - 1] is not None
        ]
    data = {
        "x": epochs,
        "left": round(across(1), 1),
        "right": round(across(max(length, 2)), 1),
        "last": max(length, 2),
        "unit": unit,
        "series": [{"name": line.name, "values": _at(line.values, epochs, digits)} for line in series],
    }
    return Markup(
        '<svg class="chart lines" viewBox="0 0 {} {}" role="img" tabindex="0" aria-label="{}" data-lines="{}">{}'
        '<line class="cursor" y1="{}" y2="{}" x1="-9" x2="-9"/></svg>'
    ).format(
        WIDTH,
        HEIGHT,
        f"{title}. {_said(series, unit, digits)} Arrow keys move along the epochs.",
        json.dumps(data, separators=(",", ":")),
        Markup("").join(parts),
        TOP,
        HEIGHT - BOTTOM,
    )


def legend(series):
    """The names of Lines, with a sample of each."""
    items = [
        Markup('<li><svg class="key" width="24" height="10" aria-hidden="true">{}</svg>{}</li>').format(
            Markup('<line class="line s{}{}" x1="1" x2="23" y1="5" y2="5"/>').format(
                line.colour % COLOURS, " dashed" if line.dashed else ""
            ),
            shown(line.name, 40),
        )
        for line in series
    ]
    return Markup('<ul class="legend">{}</ul>').format(Markup("").join(items))


def style_of(index):
    """The colour and dashes of the index-th of several lines."""
    return {"colour": index % COLOURS, "dashed": index >= COLOURS}


def _said(series, unit, digits):
    found = []
    for line in series[:6]:
        numbers = [value for value in line.values if value is not None]
        found.append(f"{line.name}: from {numbers[0]:.{digits}f} to {numbers[-1]:.{digits}f}{unit}.")
    return " ".join(found)


def _at(values, epochs, digits):
    return [
        None
        if x > len(values) or values[x - 1] is None
        else float(f"{values[x - 1]:.{max(digits, 1) + 1}g}")
        if abs(values[x - 1]) < 1
        else round(values[x - 1], digits)
        for x in epochs
    ]


def _scale(low, high, start, end, logarithmic=False):
    if logarithmic:
        low, high = math.log10(low), math.log10(high)
    span = (high - low) or 1

    def scaled(value):
        value = math.log10(value) if logarithmic else value
        return start + (end - start) * (value - low) / span

    return scaled


def _ticks(low, high, percent=False):
    """Four to seven round numbers that enclose low and high."""
    if not high > low:
        low, high = low - abs(low) / 2 - 1e-9, high + abs(high) / 2 + 1e-9
    rough = (high - low) / 5
    power = 10 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    if percent:
        first, last = max(first, 0), min(last, round(100 / step))
    return [round(index * step, 10) for index in range(first, last + 1)]


def _log_ticks(low, high):
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high) + 1e-9)
    return [10.0**power for power in range(first, max(last, first + 1) + 1)]


def _grid(ticks, height, length, across):
    """Horizontal lines with their numbers, and numbers of epochs."""
    parts = [
        Markup('<line class="rule" x1="{}" x2="{}" y1="{y:.1f}" y2="{y:.1f}"/><text x="{}" y="{:.1f}" class="end">{}</text>')
        .format(LEFT, WIDTH - RIGHT, LEFT - 6, height(tick) + 4, f"{tick:g}", y=height(tick))
        for tick in ticks
    ]  # fmt: skip
    whole = [1] + [round(x) for x in _ticks(1, max(length, 2)) if 1 < x <= length and x == round(x)]
    if whole[-1] != length and across(length) - across(whole[-1]) > 30:
        whole.append(length)
    parts += [
        Markup('<text x="{:.1f}" y="{}" class="middle">{}</text>').format(across(x), HEIGHT - 22, x) for x in whole
    ]
    parts.append(
        Markup('<text x="{}" y="{}" class="middle">epoch</text>').format((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 5)
    )
    return Markup("").join(parts)


def _path(line, epochs, across, height):
    """The line, interrupted where there is no value."""
    commands, pen = [], "M"
    for x in epochs:
        value = line.values[x - 1] if x <= len(line.values) else None
        if value is None:
            pen = "M"
            continue
        commands.append(f"{pen}{across(x):.1f} {height(value):.1f}")
        pen = "L"
    dashed = " dashed" if line.dashed else ""
    only = len(commands) == 1
    end = "h.1" if only else ""
    return Markup('<path class="line s{}{}" d="{}{}"/>').format(line.colour % COLOURS, dashed, "".join(commands), end)


def _band(line, epochs, across, height):
    edges = [
        (across(x), height(line.low[x - 1]), height(line.high[x - 1]))
        for x in epochs
        if x <= len(line.low) and line.low[x - 1] is not None
    ]
    if len(edges) < 2:
        return ""
    points = [f"{x:.1f} {high:.1f}" for x, _, high in edges] + [f"{x:.1f} {low:.1f}" for x, low, _ in reversed(edges)]
    return Markup('<path class="band s{}" d="M{}z"/>').format(line.colour % COLOURS, "L".join(points))


class Mark(NamedTuple):
    """What a row of a `rows` chart shows on its scale.

    Attributes:
        kind: "bar" (from the left edge), "dot", "ring" or "tick".
        value: on the scale.
        low, high: the ends of a line through it, or None.
        colour: 0, 1, ...
    """

    kind: str
    value: float | None
    low: float | None = None
    high: float | None = None
    colour: int = 0


class Row(NamedTuple):
    """A row of a chart.

    Attributes:
        name: what it is about.
        marks: Marks.
        tip: all its numbers, in words.
        text: short, to the right of the marks.
        href: an address behind the name, or None.
    """

    name: str
    marks: tuple
    tip: str
    text: str = ""
    href: str | None = None


def rows(found, title, low=0.0, high=100.0, axis=True):
    """Rows with marks on a common scale, as a table: names left, numbers right.

    Args:
        found: Rows.
        title: the caption.
        low, high: the ends of the scale.
        axis: whether numbers stand above it.

    Returns:
        Markup of a <table>.
    """
    ticks = [tick for tick in _ticks(low, high) if low <= tick <= high]
    place = _scale(low, high, 0, 100)
    head = Markup("").join(Markup('<span style="left:{:.2f}%">{:g}</span>').format(place(tick), tick) for tick in ticks)
    rules = Markup("").join(
        Markup('<line class="rule" x1="{x:.2f}%" x2="{x:.2f}%" y1="0" y2="100%"/>').format(x=place(tick))
        for tick in ticks
    )
    body = []
    for row in found:
        drawn = Markup("").join(_mark(mark, place, low, high) for mark in row.marks if mark.value is not None)
        name = breakable(shown(row.name, 44))
        body.append(
            Markup(
                '<tr><th scope="row">{}</th><td class="scale"><svg class="row" width="100%" height="22" role="img" tabindex="0"'
                ' aria-label="{tip}" data-tip="{tip}">{}{}</svg></td><td class="number">{}</td></tr>'
            ).format(
                Markup('<a href="{}">{}</a>').format(row.href, name) if row.href else name,
                rules,
                drawn,
                row.text,
                tip=row.tip,
            )
        )
    scale = Markup('<thead aria-hidden="true"><tr><td></td><td class="scale"><div class="axis">{}</div></td><td></td></tr></thead>').format(head)  # fmt: skip
    return Markup('<table class="rows"><caption>{}</caption>{}<tbody>{}</tbody></table>').format(
        title, scale if axis else "", Markup("").join(body)
    )


def _mark(mark, place, low, high):
    at = place(min(max(mark.value, low), high))
    line = ""
    if mark.low is not None:
        ends = [place(min(max(end, low), high)) for end in (mark.low, mark.high)]
        line = Markup('<line class="whisker s{}" x1="{:.2f}%" x2="{:.2f}%" y1="11" y2="11"/>').format(
            mark.colour, *ends
        )
    shape = {
        "bar": '<rect class="bar s{c}" x="0" width="{x:.2f}%" y="4" height="14"/>',
        "dot": '<circle class="dot s{c}" cx="{x:.2f}%" cy="11" r="5"/>',
        "ring": '<circle class="ring s{c}" cx="{x:.2f}%" cy="11" r="4.5"/>',
        "tick": '<line class="tick" x1="{x:.2f}%" x2="{x:.2f}%" y1="1" y2="21"/>',
    }[mark.kind]
    return Markup(line) + Markup(shape).format(c=mark.colour, x=at)


def reliability(calibration):
    """A reliability diagram: accuracy against confidence, in bins.

    Args:
        calibration: a Calibration.

    Returns:
        Markup of an <svg>.
    """
    bins, bottom, top = len(calibration.counts), HEIGHT - BOTTOM, TOP
    across, height = _scale(0, 1, LEFT + 4, WIDTH - RIGHT), _scale(0, 1, bottom, top)
    parts = []
    for tick in (0, 0.25, 0.5, 0.75, 1):
        parts.append(
            Markup('<line class="rule" x1="{}" x2="{}" y1="{y:.1f}" y2="{y:.1f}"/><text x="{}" y="{:.1f}" class="end">{:.0f}</text>')
            .format(LEFT, WIDTH - RIGHT, LEFT - 6, height(tick) + 4, 100 * tick, y=height(tick))
        )  # fmt: skip
        parts.append(
            Markup('<text x="{:.1f}" y="{}" class="middle">{:.0f}</text>').format(across(tick), HEIGHT - 22, 100 * tick)
        )
    for index, (count, confidence, right) in enumerate(
        zip(calibration.counts, calibration.confidences, calibration.accuracies, strict=True)
    ):
        if not count:
            continue
        left, end = across(index / bins) + 1, across((index + 1) / bins) - 1
        tip = f"confidence {100 * confidence:.1f} %: {100 * right:.1f} % right, {count:,} images"
        parts.append(
            Markup(
                '<g data-tip="{}"><rect class="hit" x="{l:.1f}" y="{}" width="{w:.1f}" height="{}"/>'
                '<rect class="bar s0" x="{l:.1f}" y="{:.1f}" width="{w:.1f}" height="{:.1f}"/>'
                '<line class="tick" x1="{l:.1f}" x2="{:.1f}" y1="{c:.1f}" y2="{c:.1f}"/></g>'
            ).format(tip, top, bottom - top, height(right), bottom - height(right), end, l=left, w=end - left, c=height(confidence))
        )  # fmt: skip
    parts.append(
        Markup('<text x="{}" y="{}" class="middle">confidence, %</text>').format((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 5)
    )
    label = f"Accuracy by confidence. Expected calibration error {100 * calibration.error:.2f} %. Arrow keys move along the bins."
    return Markup('<svg class="chart marks" viewBox="0 0 {} {}" role="img" tabindex="0" aria-label="{}">{}</svg>').format(
        WIDTH, HEIGHT, label, Markup("").join(parts)
    )  # fmt: skip


def confusion(matrix, names):
    """A confusion matrix: up to twenty classes as a table of counts, more as a picture.

    Args:
        matrix: counts, rows are true classes.
        names: of the classes.

    Returns:
        Markup.
    """
    counts = np.asarray(matrix)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    if len(names) > MOST_CELLS:
        return _confusion_picture(counts, shares, names)
    head = Markup("").join(Markup('<th scope="col"><span>{}</span></th>').format(shown(name, 24)) for name in names)
    body = []
    for i, name in enumerate(names):
        cells = [
            Markup('<td style="--v:{:.2f}" data-tip="{}">{}</td>').format(
                shares[i, j],
                f"{shown(name)} taken for {shown(other)}: {counts[i, j]:,}, {100 * shares[i, j]:.1f} % of {shown(name)}"
                if i != j
                else f"{shown(name)}: {counts[i, j]:,} right, {100 * shares[i, j]:.1f} %",
                f"{counts[i, j]:,}" if counts[i, j] else Markup('<span class="zero">0</span>'),
            )
            for j, other in enumerate(names)
        ]
        body.append(Markup('<tr><th scope="row">{}</th>{}</tr>').format(shown(name, 18), Markup("").join(cells)))
    return Markup(
        '<div class="wide" tabindex="0" role="region" aria-label="Confusion matrix"><table class="confusion">'
        '<thead><tr><td class="corner">true ↓ predicted →</td>{}</tr></thead><tbody>{}</tbody></table></div>'
    ).format(head, Markup("").join(body))


def _confusion_picture(counts, shares, names):
    # Opaque where a share is large, so that it is legible on light and dark pages.
    pixels = np.zeros((*shares.shape, 4), np.uint8)
    pixels[..., :3] = (0x2F, 0x8F, 0xD0)
    pixels[..., 3] = np.round(255 * np.sqrt(shares))
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "WEBP", lossless=True, exact=True)
    rows_of_counts = ";".join(",".join(str(n) if n else "" for n in row) for row in counts.tolist())
    data = json.dumps({"names": [shown(name) for name in names], "counts": rows_of_counts}, ensure_ascii=False)
    return Markup(
        '<div class="matrix" tabindex="0" role="img" aria-label="{}" data-matrix="{}">'
        '<img alt="" src="data:image/webp;base64,{}" width="{n}" height="{n}"></div>'
    ).format(
        f"Confusion matrix of {len(names)} classes: rows are true classes, columns predicted ones. The most frequent "
        "confusions are in the table. Arrow keys move over the cells.",
        data,
        base64.b64encode(buffer.getvalue()).decode(),
        n=len(names),
    )


def bars_in_cells(values, colour=0):
    """Cells of a table with numbers from 0 to 100 and a bar below each; None is a dash."""
    return [
        Markup("<td class=number>–</td>")
        if value is None
        else Markup('<td class="number barred" style="--v:{:.1f}%" data-value="{v:.4f}">{v:.2f}</td>').format(value, v=value)
        for value in values
    ]  # fmt: skip


def text(value):
    """Text of users, escaped and on one line, that may be broken after an underscore."""
    return breakable(shown(value, 200))


def breakable(words):
    """Text, escaped, that may be broken after an underscore."""
    return Markup("_<wbr>").join(escape(part) for part in words.split("_"))
