"""Text that users chose, class names above all, so that it stays on its line in terminals, tables and figures."""

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
