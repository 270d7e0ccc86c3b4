"""Pictures with the predictions of a network."""

import matplotlib
import numpy as np

from kmodels.errors import require
from kmodels.plots.pixels import to_rgb, to_unit_rgb
from kmodels.plots.style import COLOURS, SOFT, Figure, caption, label


def predictions(images, probabilities, labels, class_names):
    """Images with the predicted class and its probability; in red with the truth where it is wrong.

    Args:
        images: (n, height, width, channels), of integers 0..255, or floats, each stretched to its own range.
        probabilities: (n, classes), each row together 1.
        labels: ints (n,), the true classes.
        class_names: one for each class.
    """
    require(
        len(images) == len(probabilities) == len(labels) > 0,
        "images, probabilities and labels must be equally many, at least one",
        (len(images), len(probabilities), len(labels)),
    )
    columns = min(5, len(images))
    rows = -(-len(images) // columns)
    figure = Figure(figsize=(1.9 * columns, 2.3 * rows), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for axes, image, row, truth in zip(grid.flat, images, probabilities, labels, strict=False):
        guess = int(np.argmax(row))
        text = f"{label(class_names[guess], 18)} {100 * row[guess]:.1f} %"
        if guess != truth:
            text += f"\ntruth: {label(class_names[truth], 18)}"
        axes.imshow(to_rgb(image))
        axes.set_title(text, fontsize=9, color=COLOURS[2] if guess == truth else "#B00020")
    return figure


def grad_cam_layers(images, maps, titles):
    """A row for each image: the image, and its heat map at each layer laid over it.

    Args:
        images: (n, height, width, channels), of integers 0..255, or floats, each stretched to its own range.
        maps: {layer name: (n, height, width) in [0, 1]}, in the order of the network.
        titles: one for each image.
    """
    require(
        len(images) == len(titles) > 0 and maps and all(len(heat) == len(images) for heat in maps.values()),
        "images, titles and the maps of each layer must be equally many, at least one",
        (len(images), len(titles), {name: len(heat) for name, heat in maps.items()}),
    )
    images = to_unit_rgb(images)
    figure = Figure(figsize=(1.7 * (1 + len(maps)), 1.95 * len(images)), layout="constrained")
    grid = figure.subplots(len(images), 1 + len(maps), squeeze=False)
    colours = matplotlib.colormaps["jet"]
    for row, image, title, *heats in zip(grid, images, titles, *maps.values(), strict=True):
        for axes in row:
            axes.set_axis_off()
        row[0].imshow(image, vmin=0, vmax=1)
        row[0].set_title(caption(title, 30), fontsize=7.5, loc="left")
        for axes, name, heat in zip(row[1:], maps, heats, strict=True):
            axes.imshow(0.5 * image + 0.5 * colours(heat)[..., :3], vmin=0, vmax=1)
            axes.set_title(name if heat.max() > 0 else f"{name}: all 0", fontsize=7.5, color=SOFT)
    return figure


def grad_cam_panels(images, maps, titles):
    """Three panels per image: the image, the heat map with its 0..1 colour bar, the image masked by the map.

    Args:
        images: (n, height, width, channels), of integers 0..255, or floats, each stretched to its own range.
        maps: (n, height, width) in [0, 1], from `grad_cam`.
        titles: one for each image.
    """
    require(
        len(images) == len(maps) == len(titles) and len(images) > 0,
        "images, maps and titles must be equally many, at least one",
        (len(images), len(maps), len(titles)),
    )
    images = to_unit_rgb(images)
    columns = 2 if len(images) > 3 else 1
    rows = -(-len(images) // columns)
    figure = Figure(figsize=(5.6 * columns, 1.85 * rows), layout="constrained")
    grid = figure.subplots(rows, 3 * columns, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for i, (image, heat, title) in enumerate(zip(images, maps, titles, strict=True)):
        left, middle, right = grid[i % rows, 3 * (i // rows) : 3 * (i // rows) + 3]
        left.imshow(image, vmin=0, vmax=1)
        left.set_title(caption(title, 66), fontsize=9, loc="left")
        picture = middle.imshow(heat, cmap="jet", vmin=0, vmax=1)
        middle.set_title("heat map" if heat.max() > 0 else "no evidence: all 0", fontsize=8, color=SOFT)
        bar = figure.colorbar(picture, ax=middle, fraction=0.046, pad=0.03, ticks=(0, 0.5, 1))
        bar.ax.tick_params(labelsize=7)
        right.imshow(image * heat[..., None], vmin=0, vmax=1)
        right.set_title("image x map", fontsize=8, color=SOFT)
    return figure


def mistakes(images, maps, titles):
    """Images, four in a row, each with its heat map laid over it beside it.

    Args:
        images: (n, height, width, channels), of integers 0..255, or floats, each stretched to its own range.
        maps: (n, height, width) in [0, 1], from `grad_cam`; None: the images alone.
        titles: one for each image, of two lines.
    """
    require(
        len(images) == len(titles) > 0 and (maps is None or len(maps) == len(images)),
        "images, maps and titles must be equally many, at least one",
        (len(images), None if maps is None else len(maps), len(titles)),
    )
    images = to_unit_rgb(images)
    panels = 1 if maps is None else 2
    columns = min(4, len(images))
    rows = -(-len(images) // columns)
    figure = Figure(figsize=(max(1.6 * panels, 2.2) * columns, 2.0 * rows), layout="constrained")
    grid = figure.subplots(rows, panels * columns, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    colours = matplotlib.colormaps["jet"]
    for i, (image, title) in enumerate(zip(images, titles, strict=True)):
        cell = grid[i // columns, panels * (i % columns) : panels * (i % columns + 1)]
        cell[0].imshow(image, vmin=0, vmax=1)
        cell[0].set_title("\n".join(caption(line, 44) for line in title.split("\n")), fontsize=7.5, loc="left")
        if maps is not None:
            cell[1].imshow(0.5 * image + 0.5 * colours(maps[i])[..., :3], vmin=0, vmax=1)
    return figure
