"""Verdicts on claims, and published beside measured numbers, in words: for a terminal, Markdown and pages."""

import math
from pathlib import Path
from typing import NamedTuple

from kmodels.experiment import PLANNED_SEEDS
from kmodels.files import write_atomically
from kmodels.records.descriptions import percent
from kmodels.report.agreement import FEWEST_SEEDS, agreements, summarise_agreement
from kmodels.report.claims import TEST_ACCURACY
from kmodels.report.verdicts import (
    CONFIRMED,
    MOST_SEEDS,
    NOT_RUN,
    OPEN,
    REFUTED,
    count,
    count_provisional,
    judge,
)
from kmodels.text import Markdown, aligned, counted, literal, markdown_table

# Where verdicts are written: of a report in its folder of results, of all in the results folder.
CLAIMS = "claims.md"

OUTCOMES = (CONFIRMED, REFUTED, OPEN, NOT_RUN)
ELSEWHERE = {CONFIRMED: "holds there", REFUTED: "does not hold there", OPEN: "undecided there"}
AGREEMENT_HEAD = ("experiment", "published %", "measured %", "difference", "one more run", "within", "images")
OTHER_IMAGES = "On other images or with other settings, which neither confirm nor refute:"
COMPARED = (
    "Measured minus published test accuracy, on the published images with the listed settings. Where a report trained "
    "on all training images, a fifth of them is held out here for validation, so that measured numbers may be somewhat "
    "lower. Where a seed was run on several backends, the first completed run counts. A report prints one "
    'run: "one more run" is the 95 % prediction interval for a single further run. With fewer than '
    f"{FEWEST_SEEDS} seeds, or where all give the same number, it is unknown whether the published number, or one that "
    "is rounded to it, lies within."
)


class Row(NamedTuple):
    """A verdict in words; `measured`, `expected` and `seeds` have an entry for each finding.

    Attributes:
        claim: the sentence.
        verdict: as `word` returns.
        why: as `reason` returns.
        measured: numbers with their 95 % intervals.
        expected: what was claimed, and the published number.
        seeds: how many there were.
        images: in words.
        as_published: whether images and settings are the report's.
    """

    claim: str
    verdict: str
    why: str = ""
    measured: tuple[str, ...] = ()
    expected: tuple[str, ...] = ()
    seeds: tuple[str, ...] = ()
    images: str = ""
    as_published: bool = True


class Report(NamedTuple):
    """What the records say of one report, or of several.

    Attributes:
        verdicts: Verdicts, one for each claim.
        experiments: Experiments, all of the report.
        agreements: Agreements of those that were run.
    """

    verdicts: tuple
    experiments: tuple
    agreements: tuple

    @property
    def rows(self):
        """Rows of its verdicts."""
        return rows(self.verdicts)

    def about(self, names, claims):
        """The part of it about some experiments.

        Args:
            names: of experiments.
            claims: sentences.
        """
        return Report(
            tuple(verdict for verdict in self.verdicts if verdict.claim.says in claims),
            tuple(one for one in self.experiments if one.name in names),
            tuple(one for one in self.agreements if one.experiment.name in names),
        )

    @property
    def summary(self):
        """What it comes to, in two sentences."""
        return f"{counts_text(self.verdicts)} {agreement_text(summarise_agreement(*self[1:]))}"


def word(verdict):
    """A Verdict in a few words: "confirmed", "refuted so far (3 of 5 seeds)", "open at 3 seeds", "not run".

    Elsewhere "holds there", "does not hold there", "undecided there".
    """
    if verdict.as_published and verdict.outcome == OPEN:
        return f"open at {counted(verdict.seeds, 'seed')}"
    found = verdict.outcome if verdict.as_published else ELSEWHERE[verdict.outcome]
    seeds = verdict.provisional_seeds
    return f"{found} so far ({seeds} of {len(PLANNED_SEEDS)} seeds)" if seeds else found


def reason(verdict):
    """What a Verdict's word leaves out, in words: how many seeds would decide, what refutes it; "" where nothing."""
    if verdict.outcome == OPEN:
        return _why_open(verdict)
    if verdict.outcome != REFUTED:
        return ""
    refuted = [finding for finding in verdict.findings if finding.outcome == REFUTED]
    bounds = len(verdict.claim.bounds)
    parts = [f"{len(refuted)} of {bounds} comparisons refuted"] if bounds > 1 else []
    return "; ".join([*parts, *dict.fromkeys(_missed_size(finding) for finding in refuted if finding.bound.gain)])


def _missed_size(finding):
    """Of a gain that does not have the claimed size: whether there is one at all."""
    if finding.high < 0:
        return "a loss, no gain"
    size = "larger" if finding.value > finding.bound.most else "smaller"
    shown = "a gain is confirmed" if finding.low > 0 else "a gain is open"
    return f"{shown}, its size is {size} than claimed"


def _why_open(verdict):
    missing = len(verdict.claim.bounds) - len(verdict.findings)
    if missing:
        return f"{missing} of {len(verdict.claim.bounds)} comparisons not run"
    findings = [finding for finding in verdict.findings if finding.outcome == OPEN]
    if any(finding.diverged for finding in findings):
        return "a run diverged"
    if verdict.seeds < 2:
        return "one seed: the number of seeds needed is unknown"
    if any(finding.low is None for finding in findings):
        return "every seed gives the same number: the number of seeds needed is unknown"
    needed = verdict.seeds_needed
    if needed is None:
        return "a number is at the edge of what was claimed: the number of seeds needed is unknown"
    return f"{f'more than {MOST_SEEDS}' if needed == math.inf else f'about {needed}'} seeds would decide"


def rows(verdicts):
    """Verdicts in words.

    Args:
        verdicts: Verdicts, from `judge`.

    Returns:
        A Row for each verdict, followed by those elsewhere.
    """
    return [_row(one) for verdict in verdicts for one in (verdict, *verdict.elsewhere)]


def _row(verdict):
    columns = [(_measured(one), _expected(one.bound), _seeds(one)) for one in verdict.findings]
    numbers = zip(*columns, strict=True) if columns else ((), (), ())
    return Row(verdict.claim.says, word(verdict), reason(verdict), *numbers, verdict.images, verdict.as_published)


def text(judged):
    """Rows for a terminal: the verdicts, and below them what was found elsewhere."""
    proper, elsewhere = _apart(judged)
    lines = [line for row in proper for line in _lines(row)]
    if elsewhere:
        lines += ["", OTHER_IMAGES, *(f"  {line}" for row in elsewhere for line in _lines(row))]
    return "\n".join(lines)


def _lines(row):
    verdict = "; ".join(filter(None, (row.verdict, row.why)))
    lines = [row.claim, f"  {verdict}{f': {row.images}' if row.images else ''}"]
    for measured, expected, seeds in zip(row.measured, row.expected, row.seeds, strict=True):
        lines.append(f"    {measured}; expected: {expected}; seeds: {seeds}")
    return lines


def _apart(judged):
    """The rows that are verdicts, and those of elsewhere."""
    return [[row for row in judged if row.as_published is wanted] for wanted in (True, False)]


def markdown(judged):
    """Rows as tables: the verdicts, and below them what was found elsewhere."""
    head = ("claim", "verdict", "", "measured, with 95 % interval", "expected", "seeds", "images")
    proper, elsewhere = _apart(judged)
    parts = [_rows_table(head, proper)]
    if elsewhere:
        parts += [OTHER_IMAGES, _rows_table(head, elsewhere)]
    return "\n\n".join(parts)


def _rows_table(head, judged):
    return markdown_table([head, *(tuple(map(_cell, row[:-1])) for row in judged)])


def _cell(part):
    return part if isinstance(part, str) else Markdown("<br>".join(map(literal, part)))


def agreement_rows(found):
    """Agreements in words, a tuple for each in the order of AGREEMENT_HEAD."""
    return [
        (
            one.experiment.short_name,
            percent(one.published),
            _mean(one),
            "-" if one.difference is None else f"{100 * one.difference:+.2f}",
            "-" if one.low is None else f"{percent(max(0, one.low))} to {percent(min(1, one.high))}",
            {None: "unknown", True: "yes", False: "no"}[one.within],
            one.images,
        )
        for one in found
    ]


def _mean(one):
    spread = "" if one.spread is None else f" ± {percent(one.spread)}"
    diverged = f", {one.diverged} diverged" if one.diverged else ""
    several = f": {one.backends}" if " " in one.backends else ""
    return f"{percent(one.mean)}{spread} (n={one.seeds}{diverged}{several})"


def counts_text(verdicts):
    """How many Verdicts have each outcome, as a sentence."""
    counts = zip(OUTCOMES, count(verdicts), count_provisional(verdicts), strict=True)
    words = [f"{number} {outcome}{f' ({few} provisional)' if few else ''}" for outcome, number, few in counts]
    return f"Claims: {', '.join(words)}."


def agreement_text(summary):
    """An AgreementSummary as a sentence or two."""
    if not summary.published:
        return "It does not say which images it used, so its numbers cannot be compared."
    if not summary.measured:
        return f"None of {summary.published} published numbers was measured again."
    sides = f"{summary.above} lower than measured, {summary.below} higher (sign test: p = {summary.p:.2g})"
    reproduced = (
        f"Reproduced {summary.within} of {summary.judged} published numbers with {FEWEST_SEEDS} seeds or more."
        if summary.judged
        else f"No published number has {FEWEST_SEEDS} seeds yet."
    )
    return f"{summary.measured} of {summary.published} published numbers were measured again: {sides}. {reproduced}"


def report_text(report):
    """A Report for a terminal: verdicts, published beside measured numbers, and what they come to."""
    parts = [text(report.rows)]
    if report.agreements:
        parts.append(aligned([AGREEMENT_HEAD, *agreement_rows(report.agreements)], right=(1, 2, 3, 4)))
    return "\n\n".join([*parts, report.summary])


def report_markdown(report):
    """The same as Markdown."""
    parts = [report.summary, markdown(report.rows)]
    if report.agreements:
        parts += [COMPARED, markdown_table([AGREEMENT_HEAD, *agreement_rows(report.agreements)], right=(1, 2, 3, 4))]
    return "\n\n".join(parts)


def judge_reports(claims, experiments, records):
    """Judges the claims of one or several reports and compares their published numbers.

    Args:
        claims: Claims.
        experiments: Experiments as the reports list them; those of other reports than the claims' are left out.
        records: Records, of any experiments.

    Returns:
        {report: Report}.
    """
    records, found = list(records), {}
    for name in dict.fromkeys(claim.report for claim in claims):
        listed = tuple(one for one in experiments if one.name.startswith(f"{name}/"))
        verdicts = judge([claim for claim in claims if claim.report == name], records)
        found[name] = Report(tuple(verdicts), listed, tuple(agreements(listed, records)))
    return found


def together(reports):
    """One Report of several."""
    reports = list(reports)
    return Report(*(tuple(item for report in reports for item in report[index]) for index in range(3)))


def overview_markdown(reports):
    """What several reports come to, with a table of each and a total, as Markdown.

    Args:
        reports: {report: Report}.
    """
    everything = together(reports.values())
    rows = [("report", "claims", *OUTCOMES, "published numbers", "measured", "judged", "reproduced")]
    for name, report in {**reports, "all": everything}.items():
        summary = summarise_agreement(report.experiments, report.agreements)
        numbers = (*count(report.verdicts), summary.published, summary.measured, summary.judged, summary.within)
        rows.append((name, str(len(report.verdicts)), *map(str, numbers)))
    return f"{everything.summary}\n\n{markdown_table(rows, right=range(1, len(rows[0])))}"


def claims_files(judged, out):
    """The texts of `<out>/<report>/claims.md` for each report and, where there are several, of `<out>/claims.md`.

    Args:
        judged: {report: Report}, from `judge_reports`.
        out: the results folder.

    Returns:
        {path: text}.
    """
    files = {Path(out) / name / CLAIMS: report_markdown(report) + "\n" for name, report in judged.items()}
    if len(judged) > 1:
        files[Path(out) / CLAIMS] = overview_markdown(judged) + "\n"
    return files


def write_claims(claims, experiments, records, out, only=None):
    """Judges claims, and writes the files of `claims_files`.

    Args:
        claims, experiments, records: as in `judge_reports`.
        out: the results folder.
        only: names of the reports whose files are written, besides that of all reports; None: all.

    Returns:
        {report: Report}.
    """
    judged = judge_reports(claims, experiments, records)
    for path, text in claims_files(judged, out).items():
        if only is None or path.parent == Path(out) or path.parent.name in only:
            write_atomically(path, text)
    return judged


def _measured(finding):
    bound = finding.bound
    if finding.value is None:
        return f"{_what(bound)}: diverged"
    form = f"{'+' if bound.over else ''}.{bound.measure.digits}f"
    spread = "" if finding.low is None or bound.measure.exact else f" [{finding.low:{form}}, {finding.high:{form}}]"
    # Numbers that are certain have an interval without width, and no method.
    estimated = spread and bound.over and finding.low < finding.high
    method = f" ({'paired' if finding.paired else 'Welch'})" if estimated else ""
    return f"{_what(bound)}: {finding.value:{form}}{spread}{method}"


def _seeds(finding):
    """How many seeds, and on which backends where these differ."""
    words = f"{finding.seeds}{f', {finding.diverged} diverged' if finding.diverged else ''}"
    several = len(set(finding.backends)) > 1 or " " in "".join(finding.backends)
    return f"{words} ({' against '.join(dict.fromkeys(finding.backends))})" if several else words


def _what(bound):
    names = [one.short_name for one in bound.sides]
    measured = "" if bound.measure is TEST_ACCURACY else f", {bound.measure.says}"
    return " minus ".join(names) + measured


def _expected(bound):
    """What was expected, and the published number."""
    sign = "+" if bound.over else ""
    least, most = (
        None if number is None else f"{number:{sign if number else ''}g}" for number in (bound.least, bound.most)
    )
    expected = f"below {most}" if least is None else f"above {least}" if most is None else f"{least} to {most}"
    expected = f"a gain, of {expected}" if bound.gain else expected
    if bound.published is None:
        return expected
    return f"{expected} (published {bound.published:{sign}.{bound.measure.digits}f})"
