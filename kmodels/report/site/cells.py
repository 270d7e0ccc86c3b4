"""Cells and tables of the pages."""

from typing import NamedTuple

from markupsafe import Markup

from kmodels.records.descriptions import percent


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


def percent_cell(fraction):
    """A fraction of 1, or None, in percent."""
    return Number(percent(fraction), fraction)


def code(text):
    """Text as code, in which no line ends within an option such as --seeds."""
    words = (
        Markup('<span class="word">{}</span>' if word.startswith("-") else "{}").format(word)
        for word in text.split(" ")
    )
    return Markup("<code>{}</code>").format(Markup(" ").join(words))


def number_cell(value, form):
    """A number, or None, in a format such as ".4f"."""
    return Number("-" if value is None else f"{value:{form}}", value)
