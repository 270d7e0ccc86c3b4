"""The static site of a results folder: `<out>/site/`, written by `kmodels report`.

material.py: records in groups, with what their reports say of them; pages.py and experiment_page.py: the values of
each page, page.py and cells.py: what they share; figures.py: the figures of a report; charts.py: numbers as SVG;
commands.py: the command that repeats runs. Templates, style sheet and script: kmodels/report/templates/site/.
"""

import hashlib
import inspect
import json
from pathlib import Path

import jinja2

from kmodels.descriptions import percent
from kmodels.errors import InputError
from kmodels.files import write_atomically
from kmodels.report.site import charts, experiment_page, pages
from kmodels.report.site.cells import Number
from kmodels.report.site.material import Material, ReportSource
from kmodels.report.site.page import page_of_experiment, page_of_report

FOLDER = "site"
# What was written and from what, so that only pages that changed are rendered again. It may be deleted.
DIGESTS = ".digests.json"
STATIC = ("site.css", "site.js")
TEMPLATES = Path(__file__).parents[1] / "templates" / "site"


def write_site(records, reports, out, check=False):
    """Writes the site, or says what of it is not up to date.

    A page is rendered again if a record, a template, the code or a report's file that it depends on has changed, and
    written if it is different then. Pages of experiments whose records are gone are deleted.

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
    folder = Path(out) / FOLDER
    there = _pages_there(folder)
    material = Material(records, [_source(report) for report in reports], out)
    known = _read_digests(folder)
    found, stale = {}, []
    templates = environment()
    for name, (template, inputs, values) in _pages(material).items():
        path = folder / name
        written = _digest(path.read_bytes()) if path.is_file() else None
        if written is not None and known.get(name) == [inputs, written]:
            found[name] = known[name]
            continue
        text = templates.get_template(template).render(**values()).encode(errors="backslashreplace")
        found[name] = [inputs, _digest(text)]
        if found[name][1] != written:
            stale.append((path, text))
    for name in STATIC:
        path, text = folder / name, (TEMPLATES / name).read_bytes()
        if not path.is_file() or path.read_bytes() != text:
            stale.append((path, text))
    gone = sorted(there - {folder / name for name in found})
    if not check:
        for path, text in stale:
            write_atomically(path, text)
        for path in gone:
            path.unlink()
        if found != known:
            write_atomically(folder / DIGESTS, json.dumps(found, indent=0))
    return [*(path for path, _ in stale), *gone]


def _source(report):
    if isinstance(report, ReportSource):
        return report
    file = Path(inspect.getfile(report))
    return ReportSource(
        name=report.__name__.rpartition(".")[2],
        text=report.__doc__ or "",
        experiments=tuple(report.EXPERIMENTS),
        figures=tuple(report.FIGURES),
        claims=tuple(report.CLAIMS),
        digest=_digest(file.read_bytes()),
    )


def _pages(material):
    """{path in the site: (template, digest of all that it depends on, function that returns its values)}."""
    code = _code_digest()
    contents = {id(record): _digest(material.paths[id(record)].read_bytes()) for record in material.records}
    # Of pictures the page has the address and the size.
    pictures = sorted(
        (str(path.relative_to(material.out)), path.stat().st_size) for path in material.out.rglob("*.webp")
    )

    def digest(*parts):
        return _digest(json.dumps([code, *parts]).encode())

    reports = [(source.name, source.digest) for source in material.reports]
    found = {"index.html": ("index.html.j2", digest(reports, list(contents.values())), lambda: pages.index(material))}
    for source in material.reports:
        # Verdicts on a report, and neighbours of an experiment, depend on all records of the report and on those of the
        # networks that its runs started from.
        records = [record for record in material.records if record.experiment.name.startswith(f"{source.name}/")]
        parents = {record.started_from["network"] for record in records if record.started_from}
        records += [record for record in material.records if f"{Path(record.stem).name}.keras" in parents]
        inputs = digest(
            [source.name, source.digest],
            sorted({contents[id(record)] for record in records}),
            [picture for picture in pictures if picture[0].startswith(f"{source.name}/")],
        )
        found[page_of_report(source.name)] = (
            "report.html.j2",
            inputs,
            lambda source=source: pages.report(material, source),
        )
        for name in material.of_report(source.name):
            found[page_of_experiment(name)] = (
                "experiment.html.j2",
                inputs,
                lambda name=name: experiment_page.experiment(material, name),
            )
    return found


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


def _code_digest():
    """Of all code and templates: any of it may decide what a page shows."""
    package = Path(__file__).parents[2]
    files = sorted(path for path in package.rglob("*") if path.suffix in (".py", ".j2"))
    return _digest(b"".join(_digest(path.read_bytes()).encode() for path in files))


def _digest(content):
    return hashlib.sha256(content).hexdigest()[:32]


def _read_digests(folder):
    try:
        found = json.loads((folder / DIGESTS).read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _pages_there(folder):
    """The pages that the folder of the site has now."""
    there = set(folder.rglob("*.html"))
    if there and not (folder / STATIC[0]).is_file():
        raise InputError(
            f"{folder} has pages that were not written by `kmodels report`, and would be lost; choose another results "
            "folder"
        )
    return there
