"""The static site of a results folder: `<out>/site/`, written by `kmodels report`.

material.py: records in groups, with what their reports say of them; pages.py and experiment_page.py: the values of
each page, page.py and cells.py: what they share; figures.py: the figures of a report; charts.py: numbers as SVG;
commands.py: the command that repeats runs. Templates, style sheet and script: kmodels/report/templates/site/.
"""

from pathlib import Path

import jinja2

from kmodels.errors import InputError
from kmodels.files import write_atomically
from kmodels.records.descriptions import percent
from kmodels.report.site import charts, experiment_page, pages
from kmodels.report.site.cells import Number
from kmodels.report.site.material import Material, ReportSource
from kmodels.report.site.page import page_of_experiment, page_of_report

FOLDER = "site"
STATIC = ("site.css", "site.js")
TEMPLATES = Path(__file__).parents[1] / "templates" / "site"


def write_site(records, reports, out, check=False):
    """Writes the site, or says what of it is not up to date.

    Pages that are as they should be are left alone; those of experiments whose records are gone are deleted.

    Args:
        records: {path: Record}, from `read_records(out)`.
        reports: modules of reports, or ReportSources.
        out: the results folder.
        check: write nothing.

    Returns:
        Paths of what was not up to date.

    Raises:
        InputError: if `<out>/site` has files that are not of a site.
    """
    folder, templates = Path(out) / FOLDER, environment()
    there = _pages_there(folder)
    material = Material(records, [_source(report) for report in reports], out)
    wanted = {
        folder / name: templates.get_template(template).render(**values).encode(errors="backslashreplace")
        for name, template, values in _pages(material)
    }
    wanted |= {folder / name: (TEMPLATES / name).read_bytes() for name in STATIC}
    stale = [path for path, content in wanted.items() if not path.is_file() or path.read_bytes() != content]
    gone = sorted(there - wanted.keys())
    if not check:
        for path in stale:
            write_atomically(path, wanted[path])
        for path in gone:
            path.unlink(missing_ok=True)
    return [*stale, *gone]


def _source(report):
    if isinstance(report, ReportSource):
        return report
    return ReportSource(
        name=report.__name__.rpartition(".")[2],
        text=report.__doc__ or "",
        experiments=tuple(report.EXPERIMENTS),
        figures=tuple(report.FIGURES),
        claims=tuple(report.CLAIMS),
    )


def _pages(material):
    """(path in the site, template, its values) of each page."""
    yield "index.html", "index.html.j2", pages.index(material)
    for source in material.reports:
        yield page_of_report(source.name), "report.html.j2", pages.report(material, source)
        for name in material.of_report(source.name):
            yield page_of_experiment(name), "experiment.html.j2", experiment_page.experiment(material, name)


def environment():
    """What renders the templates of the site."""
    found = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    found.globals |= {"percent": percent, "reliability": charts.reliability}
    found.filters["is_number"] = lambda cell: isinstance(cell, Number)
    return found


def _pages_there(folder):
    """The pages that the folder of the site has now."""
    there = set(folder.rglob("*.html"))
    if there and not (folder / STATIC[0]).is_file():
        raise InputError(
            f"{folder} has pages that were not written by `kmodels report`, and would be lost; choose another results "
            "folder"
        )
    return there
