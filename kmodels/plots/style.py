"""What all figures share: colours, and how they treat text of users."""

import functools
import io
import sys
import unicodedata
import warnings

import matplotlib
import matplotlib.figure
from matplotlib import font_manager
from matplotlib.text import Text

from kmodels.text import clip, printable

# Colours that differ in lightness too, for colour-blind readers and grey prints (after Okabe and Ito 2008).
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#4D4D4D", "#B8A000")
# Two more, for ten classes.
CLASS_COLOURS = (*COLOURS, "#6A3D9A", "#8C4A2F")
SOFT = "#666666"
NO_NAME = "(no name)"


class Figure(matplotlib.figure.Figure):
    """A figure in which text is only text: a dollar sign begins no formula, and other scripts find a font.

    >>> figure = Figure(figsize=(4, 3), layout="constrained")
    """

    def _repr_png_(self):
        """The picture that a notebook shows where a cell ends in the figure."""
        file = io.BytesIO()
        self.savefig(file, format="png", bbox_inches="tight")
        return file.getvalue()

    def draw(self, renderer):
        texts = self.findobj(Text)
        families = [*matplotlib.rcParams["font.family"], *_more_fonts("".join(text.get_text() for text in texts))]
        for text in texts:
            text.set_parse_math(False)
            text.set_fontfamily(families)
        # The settings are for the text of ticks that are made while the figure is drawn.
        with (
            matplotlib.rc_context({"text.parse_math": False, "font.family": families}),
            warnings.catch_warnings(),
        ):
            # One for each character, each time; `_more_fonts` says it once.
            warnings.filterwarnings("ignore", "Glyph .* missing from font")
            super().draw(renderer)


def label(name, limit=30):
    """A user's name for a figure: on one line, of at most `limit` columns, and visible also if it is empty."""
    return clip(printable(name), limit) if str(name).strip() else NO_NAME


def entry(name, limit=30):
    """`label` for a legend, where matplotlib leaves out what begins with an underscore."""
    text = label(name, limit)
    return f" {text}" if text.startswith("_") else text


def caption(text, limit):
    """A text of several lines, with names of users in it, each line of at most `limit` columns."""
    return "\n".join(clip(printable(line), limit) for line in text.split("\n"))


def plain(axes):
    """Removes the frame and adds a light grid behind the data."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#DDDDDD", linewidth=0.6)
    axes.set_axisbelow(True)


def _more_fonts(text):
    """Names of fonts of this machine for the characters that matplotlib's usual ones lack."""
    if text.isascii():
        return ()
    usual = _characters(font_manager.findfont(font_manager.FontProperties()))
    # Joiners and variation selectors need no glyph.
    lacking = {
        c for c in text if ord(c) not in usual and not c.isspace() and unicodedata.category(c) not in ("Cf", "Mn")
    }
    return _fonts_for("".join(sorted(lacking))) if lacking else ()


@functools.cache
def _fonts_for(lacking):
    fonts, lacking = [], set(lacking)
    # Upright ones of usual weight first.
    for font in sorted(font_manager.fontManager.ttflist, key=lambda f: (f.style != "normal", str(f.weight) != "400")):
        found = {c for c in lacking if ord(c) in _characters(font.fname)} if lacking else ()
        if found:
            fonts.append(font.name)
            lacking -= found
    if lacking:
        _say_lacking(min(lacking))
    return tuple(fonts)


@functools.cache
def _characters(path):
    """Code points that a font has; none if it cannot be read."""
    try:
        return frozenset(font_manager.get_font(path).get_charmap())
    except (OSError, RuntimeError):
        return frozenset()


_lacking_said = []


def _say_lacking(character):
    if not _lacking_said:
        _lacking_said.append(character)
        print(
            f"no font here has the character {character!r} and perhaps others: figures have boxes in their place. "
            "Install a font that has it, Noto Sans CJK for instance, and delete matplotlib's cache "
            f"({matplotlib.get_cachedir()})",
            file=sys.stderr,
        )
