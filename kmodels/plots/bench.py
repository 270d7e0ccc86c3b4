"""How fast networks train, by who trains them."""

from typing import NamedTuple

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from kmodels.errors import require
from kmodels.plots.style import COLOURS, SOFT, plain

PANELS_A_ROW = 2
# Ours; ours on another backend; the others.
KINDS = {"ours": COLOURS[0], "backend": "#9CC7E3", "other": "#C6CBD0"}


class Bar(NamedTuple):
    """One speed, in images/s, with its spread.

    Attributes:
        note: beside its number.
        kind: one of KINDS, for the colour.
    """

    name: str
    least: float
    median: float
    most: float
    note: str = ""
    kind: str = "other"


class Panel(NamedTuple):
    """Bars that were measured under equal conditions, with the label of their axis."""

    title: str
    label: str
    bars: list[Bar]


def bench_bars(panels, title=""):
    """Horizontal bars up to the medians, with whiskers from the least to the most; in a panel the fastest on top.

    Args:
        panels: a list of Panel.
        title: of the figure.

    Raises:
        InputError: if there is no panel, or one without a bar.
    """
    require(panels and all(panel.bars for panel in panels), "a chart needs panels with bars", panels)
    columns = min(PANELS_A_ROW, len(panels))
    rows = -(-len(panels) // columns)
    most = max(len(panel.bars) for panel in panels)
    figure = Figure(figsize=(1 + 5.6 * columns, 0.5 + rows * (1.0 + 0.3 * most)), layout="constrained")
    grid = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axes, panel in zip(grid, panels, strict=False):
        _draw(axes, panel)
    for axes in grid[len(panels) :]:
        axes.remove()
    figure.suptitle(title, fontsize=10)
    return figure


def _draw(axes, panel):
    bars = sorted(panel.bars, key=lambda bar: bar.median)
    for row, bar in enumerate(bars):
        whiskers = [[bar.median - bar.least], [bar.most - bar.median]]
        axes.barh(row, bar.median, 0.68, color=KINDS[bar.kind], xerr=whiskers, ecolor="#222222", capsize=2.5)
        text = f"{bar.median:,.0f}   {bar.note}".rstrip()
        axes.annotate(text, (bar.most, row), (5, 0), textcoords="offset points", va="center", fontsize=8)
    axes.set_yticks(range(len(bars)), [bar.name for bar in bars], fontsize=9)
    axes.set_title(panel.title, fontsize=10)
    axes.set_xlabel(panel.label, fontsize=9, color=SOFT)
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.tick_params(axis="x", labelsize=8, colors=SOFT)
    # Room for the numbers beside the longest bar.
    axes.set_xlim(0, 1.45 * max(bar.most for bar in bars))
    plain(axes)
    axes.grid(visible=False, axis="y")
