"""The objects of kmodels in a notebook, as small tables.

The methods `__repr__` and `_repr_html_` of classes call what is here. Colours are the notebook's own, so that
the tables can be read on light and on dark pages.
"""

import base64
import functools
import io
from dataclasses import fields

from kmodels.text import clip, printable

# Rows of a table as text, and as HTML; columns of a text in it.
TEXT_ROWS, HTML_ROWS, WIDTH = 6, 30, 160
# Of a dataset, images of so many classes, of at most so many pixels a side.
PICTURES, SIDE = 12, 64
# The fields of an experiment that are shown whether they have their default or not.
MAIN = ("dataset", "image_size", "model", "model_options", "augmentation", "optimizer", "learning_rate", "epochs")

TEMPLATE = """\
<div>
<b>{{ title }}</b>
{%- for line in lines %}<br>{{ line }}{% endfor %}
{%- for table in tables %}
<table>
{%- if table.head %}
<thead><tr>{% for cell in table.head %}<th style="text-align: {{ table.side(loop.index0) }}">{{ cell }}</th>{% endfor %}
</tr></thead>
{%- endif %}
<tbody>
{%- for row in table.rows %}
<tr>{% for cell in row %}<td style="text-align: {{ table.side(loop.index0) }}">{{ cell }}</td>{% endfor %}</tr>
{%- endfor %}
</tbody>
</table>
{%- endfor %}
{%- if pictures %}
<div style="display: flex; flex-wrap: wrap; gap: 0.8em">
{%- for picture in pictures %}
<div style="width: 7em; overflow-wrap: anywhere">
{%- if picture.data %}<img alt="" src="data:image/webp;base64,{{ picture.data }}" style="width: {{ picture.width }}px;
image-rendering: {{ picture.rendering }}; margin: 0"><br>{% endif %}{{ picture.text }}</div>
{%- endfor %}
</div>
{%- endif %}
{%- for note in notes %}
<p>{{ note }}</p>
{%- endfor %}
</div>"""


def html(title, lines=(), tables=(), pictures=(), notes=()):
    """A piece of HTML; all text in it is escaped.

    Args:
        title: in bold.
        lines: below it.
        tables: Tables.
        pictures: dicts of data (base64 of WebP, or None), width (pixels), rendering (of CSS) and text.
        notes: below all.
    """
    lines, notes = (list(map(printable, texts)) for texts in (lines, notes))
    return _template().render(title=printable(title), lines=lines, tables=tables, pictures=pictures, notes=notes)


@functools.cache
def _template():
    # Here, since `import kmodels` is to cost nothing.
    import jinja2

    return jinja2.Environment(autoescape=True).from_string(TEMPLATE)


class Table:
    """Rows of text, as HTML or for a terminal.

    Args:
        rows: of strings.
        head: names of the columns; () for rows of a name and a value.
        right: indices of the columns that are aligned to the right.
    """

    def __init__(self, rows, head=(), right=()):
        self.head, self.right = head, right
        self.rows = [[clip(printable(cell), WIDTH) for cell in row] for row in rows]

    def side(self, column):
        """Where a column is aligned, for CSS."""
        return "right" if column in self.right else "left"


class Listing:
    """What containers of records or predictions inherit, before list or dict: they show themselves as a table.

    A subclass has `_listing`, which returns a title, the rows, their head and the columns to align to the right.
    """

    def __repr__(self):
        from kmodels.text import aligned

        title, rows, head, right = self._listing()
        shown = aligned([head, *rows[:TEXT_ROWS]], right) if rows else ""
        return "\n".join(filter(None, (title, shown, _more(rows, TEXT_ROWS))))

    def _repr_html_(self):
        title, rows, head, right = self._listing()
        table = Table(rows[:HTML_ROWS], head, right)
        return html(title, tables=[table] if rows else [], notes=filter(None, [_more(rows, HTML_ROWS)]))


def _more(rows, shown):
    return f"and {len(rows) - shown:,} more" if len(rows) > shown else ""


def experiment_html(experiment):
    """An Experiment as HTML: its main settings, and those that are not at their defaults."""
    hidden = ("name", "description")
    shown = {name: getattr(experiment, name) for name in MAIN} | changed_fields(experiment)
    rows = [(name, _value(value)) for name, value in shown.items() if name not in hidden and value != {}]
    published = experiment.published and experiment.published.test_accuracy
    if published is not None:
        rows.append(("published test accuracy", f"{100 * published:.2f} %"))
    lines = filter(None, [experiment.description])
    return html(experiment.name, lines, [Table(rows)], notes=["all other settings have their defaults"])


def changed_fields(experiment):
    """{field: value} of what is not at its default; published numbers are a report's, not the experiment's."""
    items = {item.name: (getattr(experiment, item.name), item.default) for item in fields(experiment)}
    return {name: value for name, (value, default) in items.items() if name != "published" and value != default}


def _value(value):
    if isinstance(value, dict):
        return ", ".join(f"{name}={option}" for name, option in value.items())
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)


SPLITS = ("train", "val", "test")


def images_text(images):
    """The shape and type of images: "8x8x3 uint8"."""
    return f"{'x'.join(map(str, images.shape[1:]))} {images.dtype.name}"


def dataset_html(dataset):
    """A Dataset as HTML: images of each split, and a training image of some classes with its number of images."""
    import numpy as np

    names = dataset.class_names
    rows = []
    for split in SPLITS:
        counts = np.bincount(getattr(dataset, split).labels, minlength=len(names))
        between = f"{counts.min():,}" if counts.min() == counts.max() else f"{counts.min():,} to {counts.max():,}"
        rows.append((split, f"{counts.sum():,}", between))
    labels, firsts, counts = np.unique(dataset.train.labels, return_index=True, return_counts=True)
    found = {label: (first, count) for label, first, count in zip(labels, firsts, counts, strict=True)}
    pictures = []
    for label in range(min(len(names), PICTURES)):
        first, count = found.get(label, (None, 0))
        picture = {} if first is None else _picture(dataset.train.images[first])
        pictures.append({**picture, "text": f"{clip(printable(names[label]), 30)} ({count:,})"})
    others = len(names) - len(pictures)
    notes = ["a training image of each class; in brackets, how many it has"]
    if others:
        notes = [f"a training image of {len(pictures)} of the {len(names)} classes; in brackets, how many it has"]
    title = f"{dataset.name}: {len(names)} classes, {images_text(dataset.train.images)}"
    tables = [Table(rows, ("", "images", "of each class"), (1, 2))]
    return html(title, (), tables, pictures, notes)


def _picture(image):
    """A small picture for `html`."""
    from PIL import Image

    from kmodels.plots.pixels import to_rgb

    pixels = to_rgb(image)
    small = max(pixels.shape[:2]) < SIDE
    picture, file = Image.fromarray(pixels), io.BytesIO()
    picture.thumbnail((SIDE, SIDE))
    picture.save(file, "WEBP", lossless=small, quality=80)
    width = round(SIDE * picture.width / max(picture.size))
    rendering = "pixelated" if small else "auto"
    return {"data": base64.b64encode(file.getvalue()).decode(), "width": width, "rendering": rendering}


def fitted_html(fitted):
    """A Fitted as HTML: the first, the best and the last epoch."""
    epochs = _epochs(fitted)
    # The loss before what else was measured.
    names = sorted((name for name in fitted.history if name != "learning_rate"), key=lambda name: "loss" not in name)
    shown = sorted({1, epochs, fitted.best_epoch or epochs}) if epochs else []
    rows = [(str(epoch), *(f"{fitted.history[name][epoch - 1]:.4f}" for name in names)) for epoch in shown]
    tables = [Table(rows, ("epoch", *names), range(len(names) + 1))] if rows else []
    speed = "" if fitted.images_per_second is None else f"{fitted.images_per_second:,.0f} training images/s"
    return html(f"{fitted.network.name}: {course(fitted)}", filter(None, [speed]), tables)


def _epochs(fitted):
    return min(map(len, fitted.history.values()), default=0)


def course(fitted):
    """How a training went, in words."""
    kept = f", weights of epoch {fitted.best_epoch}" if fitted.best_epoch else ""
    losses = fitted.history.get("val_loss", ())
    loss = f", val_loss {losses[fitted.best_epoch - 1]:.4f}" if kept and losses else ""
    return f"{_epochs(fitted)} epochs{kept}{loss}{', diverged' if fitted.diverged else ''}"
