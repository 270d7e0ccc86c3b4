"""Verdicts on claims, in words: for a terminal, for results/README.md and for the page of a report."""

from pathlib import Path
from typing import NamedTuple

from kmodels.files import write_atomically
from kmodels.report.claims import TEST_ACCURACY
from kmodels.report.markdown import CLAIMS, table
from kmodels.report.verdicts import BROKEN, KEPT, OPEN, judge

VERDICTS = {
    (KEPT, True): "confirmed",
    (BROKEN, True): "refuted",
    (OPEN, True): "open",
    (KEPT, False): "holds there",
    (BROKEN, False): "does not hold there",
    (OPEN, False): "open there",
}


class Row(NamedTuple):
    """A verdict in words; `measured`, `expected` and `seeds` have an entry for each finding."""

    claim: str
    verdict: str
    measured: tuple[str, ...] = ()
    expected: tuple[str, ...] = ()
    seeds: tuple[str, ...] = ()
    images: str = ""


def rows(claims, verdicts):
    """Verdicts in words.

    Args:
        claims: Claims, in the order of the rows.
        verdicts: Verdicts on them, from `judge`.

    Returns:
        A Row for each verdict, and one for each claim that was not measured.
    """
    found = []
    for claim in claims:
        judged = [verdict for verdict in verdicts if verdict.claim is claim]
        for verdict in judged:
            columns = [(_measured(one), _expected(one.bound), _seeds(one)) for one in verdict.findings]
            word = VERDICTS[verdict.outcome, verdict.as_published]
            found.append(Row(claim.says, word, *zip(*columns, strict=True), verdict.images))
        if not judged:
            found.append(Row(claim.says, "not measured"))
    return found


def text(judged):
    """Rows for a terminal."""
    lines, previous = [], None
    for row in judged:
        if row.claim != previous:
            lines.append(row.claim)
            previous = row.claim
        lines.append(f"  {row.verdict}{f': {row.images}' if row.images else ''}")
        for measured, expected, seeds in zip(row.measured, row.expected, row.seeds, strict=True):
            lines.append(f"    {measured}; expected: {expected}; seeds: {seeds}")
    return "\n".join(lines)


def markdown(judged):
    """Rows as a table."""
    head = ("claim", "verdict", "measured, with 95 % interval", "expected", "seeds", "images")
    return table(
        [head, *(tuple(part if isinstance(part, str) else "<br>".join(part) for part in row) for row in judged)]
    )


def write_claims(claims, records, out):
    """Judges the claims of one or several reports, and writes a table for each, `<out>/<report>/claims.md`.

    Args:
        claims: Claims.
        records: Records; those of other reports are ignored.
        out: the results folder.

    Returns:
        {report: [Row]}.
    """
    by_report = {}
    for claim in claims:
        by_report.setdefault(claim.report, []).append(claim)
    judged = {report: rows(of_report, judge(of_report, records)) for report, of_report in by_report.items()}
    for report, found in judged.items():
        write_atomically(Path(out) / report / CLAIMS, markdown(found) + "\n")
    return judged


def _measured(finding):
    bound = finding.bound
    if finding.value is None:
        return f"{_what(bound)}: diverged"
    form = f"{'+' if bound.over else ''}.{bound.measure.digits}f"
    spread = "" if finding.low is None or bound.measure.exact else f" [{finding.low:{form}}, {finding.high:{form}}]"
    return f"{_what(bound)}: {finding.value:{form}}{spread}"


def _seeds(finding):
    return f"{finding.seeds}{f', {finding.diverged} diverged' if finding.diverged else ''}"


def _what(bound):
    names = [one.name.split("/", 1)[-1] for one in bound.sides]
    measured = "" if bound.measure is TEST_ACCURACY else f", {bound.measure.says}"
    return " minus ".join(names) + measured


def _expected(bound):
    """What was expected, and the published number."""
    sign = "+" if bound.over else ""
    least, most = (
        None if number is None else f"{number:{sign if number else ''}g}" for number in (bound.least, bound.most)
    )
    expected = f"below {most}" if least is None else f"above {least}" if most is None else f"{least} to {most}"
    published = [bound.measure.published(one.published) if one.published else None for one in bound.sides]
    if None in published:
        return expected
    return f"{expected} (published {published[0] - sum(published[1:]):{sign}.{bound.measure.digits}f})"
