"""One self-contained HTML page per report: results and published numbers, and every run with pictures and settings."""

import base64
import tempfile
from pathlib import Path
from typing import NamedTuple

import jinja2

from kmodels.components import load_component, source_digest
from kmodels.errors import InputError, describe_error
from kmodels.files import write_atomically
from kmodels.models import build_model
from kmodels.models.transfer import freeze
from kmodels.records import summarise
from kmodels.report import claim_tables, tables
from kmodels.report.architecture import can_draw, draw, layer_table
from kmodels.report.mistakes import tables_path
from kmodels.report.pictures import PICTURES, picture_path

# The option of a network that names its initial weights, not its layers.
WEIGHTS = ("weights",)


def write_page(records, out, path, figures=None, report=None):
    """Writes the page of these records.

    Args:
        records: in the order of the page, at least one.
        out: the results folder; pictures found beside a record are shown.
        path: of the page.
        figures: {title: path of a picture} to show first.
        report: a Report of claim_tables.py; None: its claims are not shown.

    Returns:
        The path.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("kmodels.report"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    html = environment.get_template("page.html.j2").render(
        title=records[0].experiment.name.split("/")[0],
        percent=tables.percent,
        weights_tested=tables.weights_tested([record.experiment for record in records]),
        other_pixels=any(
            record.experiment.published and not tables.on_published_data(record.source) for record in records
        ),
        summaries=[(s, tables.source_name(s.source), tables.mean_and_spread(s)) for s in summarise(records)],
        figures={title: _embedded(picture) for title, picture in (figures or {}).items()},
        claims=report.rows if report else (),
        agreement=claim_tables.agreement_rows(report.agreements) if report else (),
        agreement_head=claim_tables.AGREEMENT_HEAD,
        compared=claim_tables.COMPARED,
        came_to=report.summary if report else "",
        runs=[_run(record, out) for record in records],
        networks=_networks(records),
    )
    return write_atomically(path, html)


def _run(record, out):
    pictures = {caption: picture_path(record, out, name) for name, caption in PICTURES.items()}
    return {
        "record": record,
        "source": tables.source_name(record.source),
        "listing": tables.class_listing(record) if record.test else None,
        "recipe": tables.recipe(record.experiment),
        "shots": tables.shot_groups(record) if record.test and record.experiment.imbalance else {},
        "origin": tables.origin(record),
        "kept": tables.kept_epoch(record),
        "settings": {n: value for n, value in tables.settings(record.experiment).items() if value is not None},
        "mistakes": _mistakes(record, out),
        "pictures": {caption: _embedded(path) for caption, path in pictures.items() if path.is_file()},
    }


def _mistakes(record, out):
    path = tables_path(record, out)
    return path.read_text(errors="replace") if path.is_file() else None


class _Network(NamedTuple):
    """What the page shows of a network: its layers and a drawing, or why there are none."""

    rows: tuple = ()
    drawing: str | None = None
    error: str | None = None


def _networks(records):
    """{title: _Network} of every network among the records."""
    networks = {}
    for record in records:
        size = "x".join(map(str, record.image_shape[:2]))
        title = f"{record.experiment.model}, {size} pixels, {len(record.class_names)} classes"
        title += "".join(f", {name} {value}" for name, value in record.experiment.model_options.items())
        if title not in networks:
            try:
                networks[title] = _described(_untrained(record))
            except Exception as error:
                # A name that is registered no longer, or a function of the user's, which may fail in any way.
                networks[title] = _Network(error=f"The network cannot be built here: {describe_error(error)}")
    return networks


def _described(network):
    if not can_draw():
        return _Network(tuple(layer_table(network)))
    with tempfile.TemporaryDirectory() as folder:
        # Drawings are lines, small as PNG, and too tall for WebP where a network is deep.
        drawing = _data_url("png", draw(network, Path(folder) / "network.png").read_bytes())
    return _Network(tuple(layer_table(network)), drawing)


def _untrained(record):
    """The network of a record without the weights it started from, which need not be at hand."""
    digest = (record.code_sha256 or {}).get("model")
    if digest and source_digest(load_component("model", record.experiment.model)) != digest:
        raise InputError(f"the source of {record.experiment.model} has changed since the run")
    options = {name: value for name, value in record.experiment.model_options.items() if name not in WEIGHTS}
    network = build_model(record.experiment.model, record.image_shape, len(record.class_names), **options)
    if record.experiment.frozen:
        initialised = record.started_from["drawn"] if record.started_from else ()
        freeze(network, (*initialised, "logits"))
    return network


def _embedded(path):
    return _data_url("webp", path.read_bytes())


def _data_url(kind, content):
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
