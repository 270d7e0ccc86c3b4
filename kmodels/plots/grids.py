"""Images side by side."""

from kmodels.errors import require
from kmodels.plots.pixels import to_rgb
from kmodels.plots.style import SOFT, Figure, caption, label


def image_grid(images, *, row_titles=None, column_titles=None, captions=None, title=None):
    """Images in rows: those of one class, say, or one image and its augmented copies.

    Args:
        images: for each row its images, (height, width, channels), of integers 0..255, or floats, each stretched to
            its own range; rows may differ in length, images in size.
        row_titles: one for each row, left of it.
        column_titles: one for each column of the longest row, above it.
        captions: for each row a text, possibly empty, below each of its images.
        title: above all.
    """
    require(len(images) and all(len(row) for row in images), "a grid needs rows with images", [len(r) for r in images])
    columns = max(len(row) for row in images)
    for name, given, wanted in (("row", row_titles, len(images)), ("column", column_titles, columns)):
        rule = f"{name}_titles must be {wanted}, one for each {name}"
        require(given is None or len(given) == wanted, rule, given)
    if captions is not None:
        lengths, wanted = ([len(row) for row in rows] for rows in (captions, images))
        require(lengths == wanted, f"captions must be as many as the images, {wanted}", lengths)
    lines = max((text.count("\n") + 1 for row in captions or () for text in row if text), default=0)
    figure = Figure(figsize=(1.15 * columns + 0.6, (1.15 + 0.14 * lines) * len(images) + 0.5), layout="constrained")
    grid = figure.subplots(len(images), columns, squeeze=False)
    for i, row in enumerate(grid):
        for j, axes in enumerate(row):
            _bare(axes)
            if j < len(images[i]):
                axes.imshow(to_rgb(images[i][j]))
                axes.set_xlabel(caption(captions[i][j], 24) if captions else "", fontsize=6.5, color=SOFT, labelpad=2)
        if row_titles is not None:
            row[0].set_ylabel(label(row_titles[i], 18), fontsize=8)
    for axes, text in zip(grid[0], column_titles or (), strict=False):
        axes.set_title(label(text, 18), fontsize=8, color=SOFT)
    if title:
        figure.suptitle(caption(title, 120), fontsize=9)
    return figure


def _bare(axes):
    # Not set_axis_off, which hides the titles at the left and below too.
    axes.set(xticks=(), yticks=())
    axes.spines[:].set_visible(False)
