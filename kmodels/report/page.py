"""One self-contained HTML page per report, from the templates of the site: all results, and every run."""

import base64
import tempfile
from pathlib import Path
from typing import NamedTuple

from markupsafe import Markup

from kmodels.components import load_component, source_digest
from kmodels.errors import InputError, describe_error
from kmodels.files import write_atomically
from kmodels.models import build_model
from kmodels.models.transfer import freeze
from kmodels.records.descriptions import on_published_data, weights_tested
from kmodels.report import claim_tables
from kmodels.report.architecture import can_draw, draw, layer_table
from kmodels.report.mistakes import tables_path
from kmodels.report.pictures import picture_path
from kmodels.report.site import TEMPLATES, charts, environment
from kmodels.report.site.cells import Table
from kmodels.report.site.commands import FOLDER
from kmodels.report.site.experiment_page import group_values
from kmodels.report.site.material import Material, ReportSource
from kmodels.report.site.page import Page
from kmodels.report.site.pages import experiments_table

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
    name = records[0].experiment.report
    listed = {one.name: one for one in report.experiments} if report else {}
    source = ReportSource(name, experiments=tuple(listed.values()))
    material = Material({Path(out) / f"{r.stem}.json": r for r in records}, [source], out, without=())
    page = _OnePage(material, "")
    groups = [(of, listed.get(of), group) for of, found in material.groups.items() for group in found]
    html = (
        environment()
        .get_template("one_page.html.j2")
        .render(
            page=page,
            title=name,
            style=Markup((TEMPLATES / "site.css").read_text()),
            script=Markup((TEMPLATES / "site.js").read_text()),
            weights_tested=weights_tested([record.experiment for record in records]),
            other_pixels=any(
                record.experiment.published and not on_published_data(record.source) for record in records
            ),
            experiments=experiments_table(page, material.groups, listed),
            verdicts=page.verdicts(report.verdicts) if report and report.verdicts else None,
            came_to=report.summary if report else "",
            compared=claim_tables.COMPARED,
            agreement=Table(
                "Published beside measured",
                claim_tables.AGREEMENT_HEAD,
                claim_tables.agreement_rows(report.agreements) if report else [],
                "agreement",
            ),
            figures=[page.image(picture, title) for title, picture in (figures or {}).items()],
            groups=[(of, _group(page, group, one, index), one) for index, (of, one, group) in enumerate(groups)],
            folder=FOLDER,
            networks=_networks(records),
            some_undrawn=any(_is_undrawn(record, Path(out)) for record in records),
        )
    )
    return write_atomically(path, html)


def _is_undrawn(record, out):
    """Whether a network is beside a record, and no picture of it."""
    return (out / f"{record.stem}.keras").is_file() and not picture_path(record, out, "ten").is_file()


class _OnePage(Page):
    """A page that has all in it."""

    def experiment(self, name, text=None):
        """The name of an experiment, as a link to its first runs."""
        text = charts.text(text or name.split("/", 1)[-1])
        index = 0
        for known, groups in self.material.groups.items():
            if known == name:
                return Markup('<a href="#runs-{}">{}</a>').format(index + 1, text)
            index += len(groups)
        return text

    def record(self, record):
        """The path of a record in the results folder."""
        return Markup("<code>{}.json</code>").format(record.stem)

    def file(self, path):
        """A picture as an address that has it in itself."""
        return _data_url("webp", path.read_bytes())


def _group(page, group, listed, index):
    """Values of a group of runs, with which images are wrong."""
    found = group_values(page, group, listed, index)
    paths = {record.seed: tables_path(record, page.material.out) for record in group.completed}
    mistakes = {seed: path.read_text(errors="replace") for seed, path in paths.items() if path.is_file()}
    return {**found, "mistakes": mistakes}


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
    digest, name = (record.code_sha256 or {}).get("model"), record.experiment.model
    if digest and source_digest(load_component("model", name), name) != digest:
        raise InputError(f"the source of {name} has changed since the run")
    options = {name: value for name, value in record.experiment.model_options.items() if name not in WEIGHTS}
    network = build_model(record.experiment.model, record.image_shape, len(record.class_names), **options)
    if record.experiment.frozen:
        initialised = record.started_from["drawn"] if record.started_from else ()
        freeze(network, initialised)
    return network


def _data_url(kind, content):
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
