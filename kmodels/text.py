"""Text that users chose, class names above all, kept on its line in terminals and figures; tables; durations."""

import re
import unicodedata

# They turn what follows them around, also what is not of the user.
BIDIRECTIONAL = frozenset("\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def printable(text):
    r"""The text on one line that can be encoded.

    Control characters, line ends and bytes that are no UTF-8 (which file names may have) become escapes: "a\nb" has
    four characters then.
    """
    return "".join(
        character.encode("unicode_escape").decode()
        if unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") or character in BIDIRECTIONAL
        else character
        for character in str(text)
    )


def columns(text):
    """How many columns of a terminal the text takes: two for a Chinese character, none for a combining one."""
    return sum(_columns(character) for character in text)


def _columns(character):
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def counted(number, noun):
    """A number with its noun: "1 epoch", "1,500 epochs"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def clip(text, limit):
    """The text with an ellipsis in its middle if it takes more than `limit` columns; its beginning and end stay."""
    if columns(text) <= limit:
        return text
    # The end tells names apart that begin alike.
    end = (limit - 1) // 3
    return f"{_fitting(text, limit - 1 - end)}…{_fitting(text[::-1], end)[::-1]}"


def _fitting(text, limit):
    """As much of the beginning as fits."""
    while columns(text) > limit:
        text = text[: -max(1, (columns(text) - limit) // 2)]
    return text


def aligned(rows, right=()):
    """Rows of strings as columns, two spaces apart.

    Args:
        rows: the first one is the head.
        right: indices of the columns that are aligned to the right.
    """
    rows = [[printable(cell) for cell in row] for row in rows]
    widths = [max(columns(row[i]) for row in rows) for i in range(len(rows[0]))]

    def line(row):
        spaces = [" " * (width - columns(cell)) for cell, width in zip(row, widths, strict=True)]
        cells = [f"{spaces[i]}{cell}" if i in right else f"{cell}{spaces[i]}" for i, cell in enumerate(row)]
        return "  ".join(cells).rstrip()

    return "\n".join([line(rows[0]), line(["-" * width for width in widths]), *map(line, rows[1:])])


class Markdown(str):
    """A cell of `markdown_table` that is Markdown already: `Markdown("**bold**")`."""


def literal(text):
    """Text as Markdown that shows it as it is, without formatting, links or HTML.

    Args:
        text: on one line. Underscores within a word and brackets that make no link stay, for they change nothing.
    """
    return re.sub(r"[\\`*<>&~$]|\](?=[(\[])|(?<![^\W_])_|_(?![^\W_])", r"\\\g<0>", text)


def markdown_table(rows, right=()):
    """Rows of strings as a Markdown table.

    Args:
        rows: the first one is the head. A cell is shown as it is, unless it is Markdown.
        right: indices of the columns that are aligned to the right.
    """
    rule = ["---:" if i in right else "---" for i in range(len(rows[0]))]
    escaped = [[_cell(cell).replace("|", "\\|") for cell in row] for row in rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in [escaped[0], rule, *escaped[1:]])


def _cell(text):
    return printable(text) if isinstance(text, Markdown) else literal(printable(text))


def duration(seconds):
    """Seconds in a unit that people read: "44 s", "2 min", "1 h 5 min"."""
    if seconds < 60:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
