"""Class names of any kind, which are names of folders, in every figure, page and table."""

import html
import io
import json
import re
from dataclasses import replace

import numpy as np
import pytest
from conftest import make_record
from matplotlib.text import Text
from PIL import Image

from kmodels import plots, read_record
from kmodels.analysis import calibration
from kmodels.exit_status import run_command
from kmodels.plots import style
from kmodels.records import Evaluation, write_record
from kmodels.report import markdown, pictures, tables
from kmodels.report.network_pictures import _titles
from kmodels.report.page import write_page
from kmodels.text import Markdown, aligned, clip, columns, markdown_table, printable

# A name -> what stands for it on one line.
NAMES = {
    "$1": "$1",
    "a$b_$c": "a$b_$c",
    "100 % <b> & co": "100 % <b> & co",
    "a/b\\c": "a/b\\c",
    "two\nlines\ttab": r"two\nlines\ttab",
    ".hidden": ".hidden",
    "_private": "_private",
    "`tick|pipe`": "`tick|pipe`",
    "caf\udce9": r"caf\udce9",
    "\u732b\u3068\u72ac": "\u732b\u3068\u72ac",
    "\u062d\u064a\u0648\u0627\u0646": "\u062d\u064a\u0648\u0627\u0646",
    "\u202egnp.cat": r"\u202egnp.cat",
    "long " * 40 + "end": "long " * 40 + "end",
    "": "",
}
CLASSES = tuple(NAMES)
N = len(CLASSES)
IMAGES = np.zeros((N, 8, 8, 3), np.uint8)
MAPS = np.ones((N, 8, 8), np.float32)
SHARES = np.linspace(0, 1, N).tolist()
MATRIX = np.eye(N, dtype=int) * 3
# Titles have several lines, of which a name is one part.
TITLES = [three for _, three in _titles(np.eye(N), range(N), CLASSES)]
DRAW = {
    "class_comparison": lambda: plots.class_comparison(SHARES, SHARES[::-1], CLASSES, ("$a", "_b")),
    "confusion_matrix": lambda: plots.confusion_matrix(MATRIX, CLASSES, MATRIX),
    "embedding": lambda: plots.embedding(np.random.default_rng(0).random((N, 2)), range(N), CLASSES),
    "feature_maps": lambda: [plots.feature_maps(IMAGES[0], {"a$b$": MAPS[0][..., None]}, title) for title in TITLES],
    "grad_cam_layers": lambda: plots.grad_cam_layers(IMAGES, {"a$b$": MAPS, "$": MAPS}, TITLES),
    "grad_cam_panels": lambda: plots.grad_cam_panels(IMAGES, MAPS, TITLES),
    "image_grid": lambda: plots.image_grid(
        IMAGES[:, None], row_titles=CLASSES, captions=[[title] for title in TITLES], column_titles=["$"], title="$x$"
    ),
    "learning_rate_test": lambda: plots.learning_rate_test((0.1, 0.2, 0.4), (2.0, 1.0, np.nan), (2.0, 1.5, 1.8), 0.2),
    "mistakes": lambda: plots.mistakes(IMAGES, MAPS, [f"{title}\n{title}" for title in TITLES]),
    "long_tail": lambda: plots.long_tail([10 * i for i in range(N)], CLASSES),
    "long_tail_accuracy": lambda: plots.long_tail_accuracy(
        {name: dict.fromkeys(("all", "many", "medium", "few"), 0.5) for name in CLASSES}
    ),
    "per_class_accuracy": lambda: plots.per_class_accuracy(SHARES, CLASSES),
    "predictions": lambda: plots.predictions(IMAGES, np.eye(N), np.roll(range(N), 1), CLASSES),
    "reliability_diagram": lambda: plots.reliability_diagram(calibration(np.array([0.9]), np.array([True]))),
    "sweep": lambda: [
        plots.sweep((0, 1), [(0.5, None)] * 2, [0.5, None], setting="$x_$", measured_on=f"'{name}'") for name in CLASSES
    ],
    "training_curves": lambda: plots.training_curves([curves()] * N, CLASSES),
}
WITHOUT_NAMES = ("learning_rate_test", "reliability_diagram")


def curves():
    return make_record(
        history=dict.fromkeys(("loss", "val_loss", "accuracy", "val_accuracy"), (0.5, 0.4)), best_epoch=2
    )


def record():
    rows = tuple(map(tuple, MATRIX.tolist()))
    evaluation = Evaluation(
        examples=3 * N,
        loss=0.5,
        accuracy=1.0,
        per_class_accuracy=(1.0,) * N,
        confusion_matrix=rows,
        calibration=calibration(np.array([0.9]), np.array([True])),
    )
    source = {**make_record().source, "kind": "folder", "name": "$x|y\udce9", "split": "all", "formats": ["PNG"]}
    source["counts"] = dict.fromkeys(("train", "val", "test"), 3 * N)
    return replace(
        curves(), class_names=CLASSES, train=evaluation, val=evaluation, test=evaluation, source=source, train_seconds=1
    )


def test_every_figure_is_tested():
    assert set(DRAW) == set(plots.__all__)


@pytest.mark.parametrize("name", DRAW)
def test_names_arrive_whole_in_every_figure_without_a_warning(name, capsys):
    style._lacking_said.clear()
    style._fonts_for.cache_clear()
    figures = DRAW[name]()
    figures = figures if isinstance(figures, list) else [figures]
    for figure in figures:
        # As a notebook saves it.
        figure.savefig(io.BytesIO(), format="png", dpi=40, bbox_inches="tight")
    texts = [text for figure in figures for text in figure.findobj(Text)]
    assert not any(text.get_parse_math() for text in texts)
    drawn = "\n".join(text.get_text() for text in texts)
    assert "\t" not in drawn
    if name not in WITHOUT_NAMES:
        for shown in NAMES.values():
            # One is shortened, in its middle.
            assert shown in drawn or (shown.startswith("long") and "long long" in drawn and "…" in drawn), shown
    # In whatever figure a character lacks, it is said once.
    assert capsys.readouterr().err.count("no font") <= 1


@pytest.mark.parametrize("draw", [plots.confusion_matrix, plots.sweep, plots.long_tail, plots.per_class_accuracy])
def test_two_classes_with_the_longest_names_have_room(draw):
    wide = ("W" * 200, "\u732b" * 200)
    arguments = {
        plots.confusion_matrix: (MATRIX[:2, :2], wide),
        plots.sweep: ((0, 1), [(0.5, None)] * 2, [0.5, None]),
        plots.long_tail: ((5, 6), wide),
        plots.per_class_accuracy: ((0.5, 0.6), wide),
    }
    options = {"setting": wide[0], "measured_on": wide[0]} if draw is plots.sweep else {}
    figure = draw(*arguments[draw], **options)
    # Warnings are errors: a layout without room for the axes would be one.
    figure.savefig(io.BytesIO(), format="png", dpi=40)
    assert min(side for axes in figure.axes[:1] for side in axes.get_window_extent().bounds[2:]) > 0


def test_a_figure_shows_dollar_signs_as_they_are():
    def ink(name):
        file = io.BytesIO()
        plots.per_class_accuracy((0.5, 0.5), (name, "other")).savefig(file, format="png")
        return np.asarray(Image.open(file).convert("L"))[:, :120]

    # As a formula, the second would be slanted and without its signs.
    assert (ink("$a$") < 128).sum() > (ink("a") < 128).sum()


def test_figures_are_made_by_the_class_that_takes_text_as_text():
    for name in DRAW:
        drawn = DRAW[name]()
        assert isinstance(drawn[0] if isinstance(drawn, list) else drawn, style.Figure)


def test_a_record_its_pictures_tables_and_page_have_every_name_whole(tmp_path):
    original = record()
    path = write_record(original, tmp_path)
    json.loads(path.read_text())
    assert read_record(path).class_names == CLASSES
    assert len(pictures.write_pictures(original, tmp_path)) == 4
    page = write_page([original], tmp_path, tmp_path / "page.html").read_text()
    assert "<b> & co" not in page
    markdown.write([original], "", tmp_path, None)
    assert not markdown.write([original], "", tmp_path, None, check=True)
    # In Markdown, the backslash and the dollar sign are escaped.
    assert r"\$x|y\\udce9" in (tmp_path / "README.md").read_text()
    for shown in NAMES.values():
        assert re.search(rf"^{re.escape(shown)} +3 +100\.00$", tables.record_text(original), re.MULTILINE)
        assert f"{shown}: 100.0 % of 3 test images" in html.unescape(page)


def test_columns_of_a_table_are_aligned_whatever_is_in_them():
    table = aligned([("class", "n"), *((name, "1") for name in CLASSES)]).splitlines()
    assert len(table) == N + 2
    assert len({columns(line) for line in table}) == 1
    assert markdown_table([("a|b", "c\nd")]).splitlines()[0] == r"| a\|b | c\\nd |"


@pytest.mark.parametrize(
    "text",
    [
        "__main__:tiny",
        "_a_ and model_options",
        "*a* **b** ~~c~~ $d$ `e` &amp;",
        "<img src=x onerror=alert(1)>",
        "[a](http://b) ![c](d) [45.1, 46.2]",
        r"a\|b \_c\_ |d",
        *CLASSES,
    ],
)
def test_a_markdown_table_shows_text_as_it_is(text):
    parser = pytest.importorskip("markdown_it").MarkdownIt().enable(["table", "strikethrough"])
    page = parser.render(markdown_table([("head",), (text,)]))
    cells = page.split("<td>")[1:]
    assert [html.unescape(cell.split("</td>")[0]) for cell in cells] == [printable(text)]


def test_markdown_of_ours_stays_and_identifiers_stay_as_they_are():
    row = markdown_table([("head",), (Markdown("**a** `b|c`"),), ("rotate_flip [1, 2]",)]).splitlines()[2:]
    assert row == [r"| **a** `b\|c` |", "| rotate_flip [1, 2] |"]


def test_a_terminal_shows_what_it_cannot_encode_as_escapes(monkeypatch):
    stdout = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr("sys.stdout", stdout)
    run_command(print, "caf\udce9", "\u732b")
    stdout.flush()
    assert stdout.buffer.getvalue() == b"caf\\udce9 \\u732b\n"


def test_a_figure_s_file_has_a_name_whatever_its_title(tmp_path):
    for title in ("", "$/..", "\u732b" * 300, "a" * 300):
        path = pictures.save_titled(style.Figure(), title, tmp_path)
        assert path.parent == tmp_path
        assert len(path.name.encode()) < 130
        assert len(path.stem) > 0


def test_long_names_keep_their_beginning_and_end():
    assert clip("short", 5) == "short"
    assert clip("a long name of class 17", 12) == "a long n… 17"
    assert columns(clip("\u732b" * 50, 12)) <= 12
    assert printable("\x1b[31m\n\u2028") == r"\x1b[31m\n\u2028"
