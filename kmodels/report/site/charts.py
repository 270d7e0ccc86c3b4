"""Charts as inline SVG and HTML, from numbers: coloured by site.css, so that they follow the theme.

What a chart shows at a point or a mark is in its attributes `data-...`, which site.js puts into the tooltip. Every text
of users is escaped.
"""

import base64
import io
import json
import math
import re
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


def tag(name, *content, **attributes):
    """An element of HTML or SVG.

    Args:
        name: of the element.
        *content: texts, which are escaped, and Markup.
        **attributes: "_" at the end of a name is left out, others become "-"; floats have one decimal.

    Returns:
        Markup.
    """
    parts = [f"<{name}"]
    for key, value in attributes.items():
        shown_value = f"{value:.1f}" if isinstance(value, float) else escape(value)
        parts.append(f' {key.rstrip("_").replace("_", "-")}="{shown_value}"')
    return Markup("".join([*parts, ">", *map(escape, content), f"</{name}>"]))


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


def lines(series, title, digits=3, percent=False, logarithmic=False):
    """Lines over the epochs.

    Args:
        series: Lines.
        title: what the numbers are; also read aloud.
        digits: after the decimal point, in the tooltip.
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
            tag("circle", class_=f"dot s{line.colour}", cx=across(x), cy=height(line.values[x - 1]), r=3.5)
            for x in line.dots
            if x <= len(line.values) and line.values[x - 1] is not None
        ]
    data = {
        "x": epochs,
        "left": round(across(1), 1),
        "right": round(across(max(length, 2)), 1),
        "last": max(length, 2),
        "series": [{"name": line.name, "values": _at(line.values, epochs, digits)} for line in series],
    }
    parts.append(tag("line", class_="cursor", x1=-9, x2=-9, y1=TOP, y2=HEIGHT - BOTTOM))
    label = f"{title}. {_in_words(series, digits)} Arrow keys move along the epochs."
    return _chart("lines", label, parts, data_lines=json.dumps(data, separators=(",", ":")))


def _chart(kind, label, parts, **data):
    box = f"0 0 {WIDTH} {HEIGHT}"
    return tag("svg", *parts, class_=f"chart {kind}", viewBox=box, role="img", tabindex=0, aria_label=label, **data)


def legend(series):
    """The names of Lines, with a sample of each."""
    items = []
    for line in series:
        kind = f"line s{line.colour}{' dashed' if line.dashed else ''}"
        items.append((tag("line", class_=kind, x1=1, x2=23, y1=7, y2=7), shown(line.name, 40)))
    return legend_of(items)


def legend_of(items):
    """A legend.

    Args:
        items: (sample, an element of SVG in 24x14 or None; text).
    """
    found = []
    for sample, words in items:
        key = tag("svg", sample, class_="key", width=24, height=14, aria_hidden="true") if sample else ""
        found.append(tag("li", key, words))
    return tag("ul", *found, class_="legend")


def style_of(index):
    """The colour and dashes of the index-th of several lines."""
    return {"colour": index % COLOURS, "dashed": index >= COLOURS}


def _in_words(series, digits):
    found = []
    for line in series[:6]:
        numbers = [value for value in line.values if value is not None]
        found.append(f"{line.name}: from {numbers[0]:.{digits}f} to {numbers[-1]:.{digits}f}.")
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
    # A rate of 0.1 ** 4 is a little below 0.0001.
    first, last = math.floor(math.log10(low) + 1e-6), math.ceil(math.log10(high) - 1e-6)
    return [10.0**power for power in range(first, max(last, first + 1) + 1)]


def _grid(ticks, height, length, across):
    """Horizontal lines with their numbers, and numbers of epochs."""
    parts = [_level(height(tick), f"{tick:g}") for tick in ticks]
    whole = [1] + [round(x) for x in _ticks(1, max(length, 2)) if 1 < x <= length and x == round(x)]
    if whole[-1] != length and across(length) - across(whole[-1]) > 30:
        whole.append(length)
    parts += [tag("text", x, x=across(x), y=HEIGHT - 22, class_="middle") for x in whole]
    return Markup("").join([*parts, _below("epoch")])


def _level(y, words):
    rule = tag("line", class_="rule", x1=LEFT, x2=WIDTH - RIGHT, y1=y, y2=y)
    return rule + tag("text", words, x=LEFT - 6, y=y + 4, class_="end")


def _below(words):
    return tag("text", words, x=(LEFT + WIDTH - RIGHT) / 2, y=HEIGHT - 5, class_="middle")


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
    # A point alone is drawn as a short line.
    end = "h.1" if len(commands) == 1 else ""
    return tag("path", class_=f"line s{line.colour}{' dashed' if line.dashed else ''}", d="".join(commands) + end)


def _band(line, epochs, across, height):
    edges = [
        (across(x), height(line.low[x - 1]), height(line.high[x - 1]))
        for x in epochs
        if x <= len(line.low) and line.low[x - 1] is not None
    ]
    if len(edges) < 2:
        return ""
    points = [f"{x:.1f} {high:.1f}" for x, _, high in edges] + [f"{x:.1f} {low:.1f}" for x, low, _ in reversed(edges)]
    return tag("path", class_=f"band s{line.colour}", d=f"M{'L'.join(points)}z")


class Mark(NamedTuple):
    """What a row of a `rows` chart shows on its scale.

    Attributes:
        kind: "bar" (from the left edge), "dot", "ring" or "tick".
        value: on the scale.
        low, high: the ends of a line through it, or of a band around a tick; or None.
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


def rows(found, title, low=0.0, high=100.0):
    """Rows with marks on a common scale, as a table: names left, numbers right.

    Args:
        found: Rows.
        title: the caption.
        low, high: the ends of the scale.

    Returns:
        Markup of a <table>.
    """
    ticks = [tick for tick in _ticks(low, high) if low <= tick <= high]
    place = _scale(low, high, 0, 100)
    axis = [tag("span", f"{tick:g}", style=f"left:{place(tick):.2f}%") for tick in ticks]
    scale = tag("td", tag("div", *axis, class_="axis"), class_="scale")
    head = tag("thead", tag("tr", tag("td"), scale, tag("td")), aria_hidden="true")
    rules = [_across("line", "rule", x1=place(tick), x2=place(tick), y1=0, y2="100%") for tick in ticks]
    body = []
    for row in found:
        marks = [_mark(mark, place, low, high) for mark in row.marks if mark.value is not None]
        name = breakable(shown(row.name, 44))
        attributes = {"role": "img", "tabindex": 0, "aria_label": row.tip, "data_tip": row.tip}
        drawn = tag("svg", *rules, *marks, class_="row", width="100%", height=22, **attributes)
        cells = [
            tag("th", tag("a", name, href=row.href) if row.href else name, scope="row"),
            tag("td", drawn, class_="scale"),
            tag("td", row.text, class_="number"),
        ]
        body.append(tag("tr", *cells))
    return tag("table", tag("caption", title), head, tag("tbody", *body), class_="rows")


def _across(name, kind, **positions):
    """An element in a row, whose x positions and width are percent of it."""
    shares = {key: f"{value:.2f}%" if "x" in key or key == "width" else value for key, value in positions.items()}
    return tag(name, class_=kind, **shares)


def _mark(mark, place, low, high):
    at, colour = place(min(max(mark.value, low), high)), f"s{mark.colour}"
    shape = {
        "bar": lambda: _across("rect", f"bar {colour}", x=0, width=at, y=4, height=14),
        "dot": lambda: _across("circle", f"dot {colour}", cx=at, cy=11, r=5),
        "ring": lambda: _across("circle", f"ring {colour}", cx=at, cy=11, r=4.5),
        "tick": lambda: _across("line", "tick", x1=at, x2=at, y1=1, y2=21),
    }[mark.kind]()
    if mark.low is None:
        return shape
    left, right = (place(min(max(end, low), high)) for end in (mark.low, mark.high))
    if mark.kind == "tick":
        return _across("rect", "around", x=left, width=right - left, y=1, height=20) + shape
    return _across("line", f"whisker {colour}", x1=left, x2=right, y1=11, y2=11) + shape


def reliability(calibration):
    """A reliability diagram: accuracy against confidence, in bins.

    Args:
        calibration: a Calibration.

    Returns:
        Markup of an <svg>.
    """
    bins, bottom = len(calibration.counts), HEIGHT - BOTTOM
    across, height = _scale(0, 1, LEFT + 4, WIDTH - RIGHT), _scale(0, 1, bottom, TOP)
    parts = [_below("confidence, %")]
    for tick in (0, 0.25, 0.5, 0.75, 1):
        parts.append(_level(height(tick), f"{100 * tick:.0f}"))
        parts.append(tag("text", f"{100 * tick:.0f}", x=across(tick), y=HEIGHT - 22, class_="middle"))
    columns = zip(calibration.counts, calibration.confidences, calibration.accuracies, strict=True)
    for index, (count, confidence, right) in enumerate(columns):
        if not count:
            continue
        left, end = across(index / bins) + 1, across((index + 1) / bins) - 1
        y, dash = height(right), height(confidence)
        shapes = [
            tag("rect", class_="hit", x=left, width=end - left, y=TOP, height=bottom - TOP),
            tag("rect", class_="bar s0", x=left, width=end - left, y=y, height=bottom - y),
            tag("line", class_="tick", x1=left, x2=end, y1=dash, y2=dash),
        ]
        tip = f"confidence {100 * confidence:.1f} %: {100 * right:.1f} % right, {count:,} images"
        parts.append(tag("g", *shapes, data_tip=tip))
    error = f"expected calibration error {100 * calibration.error:.2f} %"
    return _chart("marks", f"Accuracy by confidence, {error}. Arrow keys move along the bins.", parts)


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
    corner = tag("td", "true\N{NO-BREAK SPACE}↓ predicted\N{NO-BREAK SPACE}→", class_="corner")
    head = tag("tr", corner, *(tag("th", tag("span", shown(name, 24)), scope="col") for name in names))
    body = []
    for i, name in enumerate(names):
        cells = [tag("th", breakable(shown(name, 24)), scope="row")]
        for j, other in enumerate(names):
            share = f"{100 * shares[i, j]:.1f} %"
            tip = f"{shown(name)} taken for {shown(other)}: {counts[i, j]:,}, {share} of {shown(name)}"
            if i == j:
                tip = f"{shown(name)}: {counts[i, j]:,} right, {share}"
            number = f"{counts[i, j]:,}" if counts[i, j] else tag("span", 0, class_="zero")
            cells.append(tag("td", number, style=f"--v:{shares[i, j]:.2f}", data_tip=tip))
        body.append(tag("tr", *cells))
    table = tag("table", tag("thead", head), tag("tbody", *body), class_="confusion")
    return region("Confusion matrix. Arrow keys move over the cells.", table)


def region(label, table):
    """A table that is scrolled sideways where it is wider than the page."""
    return tag("div", table, class_="wide", tabindex=0, role="region", aria_label=label)


def _confusion_picture(counts, shares, names):
    # Opaque where a share is large, so that it is legible on light and dark pages.
    pixels = np.zeros((*shares.shape, 4), np.uint8)
    pixels[..., :3] = (0x2F, 0x8F, 0xD0)
    pixels[..., 3] = np.round(255 * np.sqrt(shares))
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "WEBP", lossless=True, exact=True)
    rows_of_counts = ";".join(",".join(str(n) if n else "" for n in row) for row in counts.tolist())
    data = json.dumps({"names": [shown(name) for name in names], "counts": rows_of_counts}, ensure_ascii=False)
    label = (
        f"Confusion matrix of {len(names)} classes: rows are true classes, columns predicted ones. The most frequent "
        "confusions are in the table. Arrow keys move over the cells."
    )
    source = f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}"
    image = Markup('<img alt="" src="{0}" width="{1}" height="{1}">').format(source, len(names))
    matrix = tag("div", image, class_="matrix", tabindex=0, role="img", aria_label=label, data_matrix=data)
    axes = (
        "Rows: true classes; columns: predicted ones. The stronger the colour, the larger the share of the true class."
    )
    return matrix + tag("p", axes, class_="soft")


def bars_in_cells(values):
    """Cells of a table with numbers from 0 to 100 and a bar below each; None is a dash."""
    return [
        tag("td", "-", class_="number", data_value="")
        if value is None
        else tag("td", f"{value:.2f}", class_="number barred", style=f"--v:{value:.1f}%", data_value=f"{value:.4f}")
        for value in values
    ]


def text(value):
    """Text of users, escaped and on one line, that may be broken between its words."""
    return breakable(shown(value, 200))


def breakable(words):
    """Text, escaped, that may be broken between the words of snake_case and CamelCase."""
    return Markup("<wbr>").join(escape(part) for part in re.split("(?<=_)|(?<=[a-z])(?=[A-Z])", words))
