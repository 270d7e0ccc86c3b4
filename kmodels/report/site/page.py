"""What all pages share: addresses, links and the table of verdicts."""

import os

from markupsafe import Markup
from PIL import Image

from kmodels.report.claim_tables import reason, rows, word
from kmodels.report.site import charts
from kmodels.report.site.cells import Number, Table
from kmodels.report.verdicts import CONFIRMED, OPEN, REFUTED


def page_of_report(name):
    """The path of a report's page in the site."""
    return f"reports/{name}.html"


def page_of_experiment(name):
    """The path of an experiment's page in the site."""
    return f"experiments/{name}.html"


class Page:
    """What all pages have.

    Args:
        material: a Material.
        path: of the page in the site.
    """

    def __init__(self, material, path):
        self.material, self.path = material, path

    def href(self, path):
        """The address of another file of the site, from this page."""
        return os.path.relpath(path, os.path.dirname(self.path) or ".").replace(os.sep, "/")

    def file(self, path):
        """The address of a file in the results folder, from this page."""
        return self.href(os.path.join("..", os.path.relpath(path, self.material.out)))

    def link(self, text, path):
        """A link to another page, if that is written."""
        return Markup('<a href="{}">{}</a>').format(self.href(path), charts.text(text))

    def experiment(self, name, text=None):
        """The name of an experiment, as a link where it has a page."""
        text = text or name.split("/", 1)[-1]
        if name in self.material.groups:
            return self.link(text, page_of_experiment(name))
        return charts.text(text)

    def record(self, record):
        """A link to the file of a record."""
        return Markup('<a href="{}">JSON</a>').format(self.file(self.material.paths[id(record)]))

    def image(self, path, caption):
        """A picture of the results folder, as {"src", "size", "caption"}; size is None if it cannot be read."""
        try:
            with Image.open(path) as picture:
                size = picture.size
        except OSError:
            size = None
        return {"src": self.file(path), "size": size, "caption": caption}

    def verdicts(self, verdicts, with_report=False):
        """The verdicts on claims as a Table: those with a verdict first, then those that were run elsewhere."""
        order = {CONFIRMED: 0, REFUTED: 1, OPEN: 2}
        ranked = sorted(verdicts, key=lambda one: (order.get(one.outcome, 3), not one.elsewhere))
        found = []
        for verdict in ranked:
            links = [self.experiment(name) for name in _names(verdict.claim)]
            if with_report:
                links.insert(0, self.link(verdict.claim.report, page_of_report(verdict.claim.report)))
            found.append(
                [
                    badge(verdict, reason(verdict)),
                    Markup('{}<span class="why">{}</span>').format(verdict.claim.says, Markup(", ").join(links)),
                    _evidence(verdict),
                    Number(str(verdict.seeds or "-"), verdict.seeds or None),
                ]
            )
        return Table(
            "Claims and verdicts", ("verdict", "claim", "what stands behind it", "seeds"), found, "claims", True
        )


def _names(claim):
    return dict.fromkeys(name for bound in claim.bounds for name in bound.names)


def badge(verdict, why):
    """The word of a Verdict, coloured, and what it leaves out."""
    kind = verdict.outcome.replace(" ", "-") if verdict.as_published else "elsewhere"
    note = Markup('<span class="why">{}</span>').format(why) if why else ""
    return Markup('<span class="badge {}">{}</span>{}').format(kind, word(verdict), note)


def _evidence(verdict):
    """The findings of a Verdict, and folded those on other images or with other settings."""
    elsewhere = [
        Markup("<p>{} {}</p>{}").format(badge(one, ""), one.images, _findings(one)) for one in verdict.elsewhere
    ]
    parts = [_findings(verdict)]
    if verdict.findings:
        parts.append(Markup('<span class="why">{}</span>').format(verdict.images))
    if elsewhere:
        words = ", ".join(dict.fromkeys(word(one) for one in verdict.elsewhere))
        parts.append(
            Markup("<details><summary>on other images or with other settings: {}</summary>{}</details>").format(
                words, Markup("").join(elsewhere)
            )
        )
    return Markup("").join(parts)


def _findings(verdict):
    """A list of what was measured, with its interval, and what was expected."""
    (row,) = rows([verdict._replace(elsewhere=())])
    items = [
        Markup('<li>{}<span class="why">expected: {}; seeds: {}</span></li>').format(*parts)
        for parts in zip(row.measured, row.expected, row.seeds, strict=True)
    ]
    return Markup('<ul class="findings">{}</ul>').format(Markup("").join(items)) if items else ""
