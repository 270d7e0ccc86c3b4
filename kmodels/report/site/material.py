"""What the pages of the site are made of: records in groups, with what their report says of them."""

from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from kmodels.records import Record
from kmodels.records.descriptions import changed_settings
from kmodels.records.summaries import Summary, alike, by_network, summarise
from kmodels.report.claim_tables import judge_reports, together
from kmodels.report.verdicts import setting_of


class Group(NamedTuple):
    """Runs of one experiment with the same settings, images, backend and precision.

    Attributes:
        summary: a Summary of the completed ones.
        records: all of them, by seed.
        changed: {setting: value} of what is not as the report lists it; {} where no report does.
        images: in words, with the settings that are not as listed.
        as_published: whether images are the published ones and settings as listed, so that the published numbers can
            be compared with these.
    """

    summary: Summary
    records: tuple[Record, ...]
    changed: dict
    images: str
    as_published: bool

    @property
    def experiment(self):
        """As it was run."""
        return self.summary.experiment

    @property
    def completed(self):
        """The completed runs, by seed."""
        return self.summary.records

    @property
    def where(self):
        """Device, backend and precision in words."""
        first = self.records[0]
        devices = ", ".join(dict.fromkeys(record.device for record in self.records))
        return ", ".join([devices, first.backend, *([] if first.precision == "float32" else [first.precision])])

    def confusion_matrix(self):
        """Counts on test images, summed over the completed seeds."""
        matrices = [record.test.confusion_matrix for record in self.completed]
        return [[sum(cells) for cells in zip(*rows, strict=True)] for rows in zip(*matrices, strict=True)]


class ReportSource(NamedTuple):
    """A report as its file declares it.

    Attributes:
        name: of the report.
        text: the docstring of its file.
        experiments, figures, claims: in its order.
    """

    name: str
    text: str = ""
    experiments: tuple = ()
    figures: tuple = ()
    claims: tuple = ()

    @property
    def question(self):
        """The first line of its docstring."""
        return self.text.strip().split("\n")[0]


class Material:
    """All that the site shows.

    Args:
        records: {path: Record}.
        reports: ReportSources; of other reports the experiments with records are shown, and nothing is compared.
        out: the results folder.
        without: names of reports that are left out.
    """

    def __init__(self, records, reports, out, without=("quickstart",)):
        self.out = Path(out)
        self.paths = {id(record): path for path, record in records.items()}
        self.records = [r for r in records.values() if r.experiment.report not in without]
        listed = [report for report in reports if report.name not in without]
        others = dict.fromkeys(record.experiment.report for record in self.records)
        self.reports = [*listed, *(ReportSource(name) for name in others if name not in {one.name for one in listed})]

    @cached_property
    def listed(self):
        """{name: Experiment as its report lists it}."""
        return {one.name: one for report in self.reports for one in report.experiments}

    @cached_property
    def groups(self):
        """{experiment: [Group]}, comparable ones first, then those with most completed seeds; in the reports' order."""
        networks = by_network(self.records)
        runs, found = {}, {}
        for record in self.records:
            runs.setdefault(alike(record), []).append(record)
        for (name, *_), records in runs.items():
            listed = self.listed.get(name)
            (summary,) = summarise(records, networks)
            setting = setting_of((summary.records or records)[0], self.listed, networks)
            group = Group(
                summary,
                tuple(sorted(records, key=lambda record: (record.seed, record.status != "completed"))),
                changed_settings(records[0].experiment, listed) if listed else {},
                setting.words,
                setting.as_published and listed is not None,
            )
            found.setdefault(name, []).append(group)
        for groups in found.values():
            groups.sort(key=lambda group: (not group.as_published, -len(group.completed), len(group.changed)))
        order = {name: index for index, name in enumerate(self.listed)}
        return dict(sorted(found.items(), key=lambda item: order.get(item[0], len(order))))

    @cached_property
    def judged(self):
        """{report: Report of claim_tables.py} of those with claims."""
        claims = [claim for report in self.reports for claim in report.claims]
        return judge_reports(claims, list(self.listed.values()), self.records)

    @cached_property
    def together(self):
        """One Report of all of `judged`."""
        return together(self.judged.values())

    @cached_property
    def agreements(self):
        """{experiment: Agreement of published and measured}."""
        return {one.experiment.name: one for one in self.together.agreements}

    def of_report(self, name):
        """{experiment: [Group]} of one report."""
        return {one: groups for one, groups in self.groups.items() if one.startswith(f"{name}/")}
