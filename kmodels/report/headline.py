"""How the README begins: published numbers beside measured ones, in a picture and in words."""

from html import escape

from kmodels.records.descriptions import percent
from kmodels.report.agreement import FEWEST_SEEDS, summarise_agreement
from kmodels.report.claim_tables import counts_text
from kmodels.report.claims import rounded_to

PICTURE = "published_and_measured.svg"
# In pixels: the names, the axis and the numbers beside it, from left to right; the rows.
NAMES, AXIS, NUMBERS, ROW, HEAD, EDGE = 290, 430, 200, 22, 34, 12
# Colours of the site, on white and on black.
STYLE = """
text { font: 13px system-ui, sans-serif; fill: #1b1e22; }
.soft { fill: #565d65; } .report { font-weight: 600; } .rule { stroke: #d9dee3; } .paper { fill: #ffffff; }
.measured { stroke: #0072b2; fill: #0072b2; } .published { stroke: #1b1e22; }
.around { fill: #1b1e22; opacity: .15; }
@media (prefers-color-scheme: dark) {
  text { fill: #e8eaed; } .soft { fill: #a9b0b8; } .rule { stroke: #3a4047; } .paper { fill: #14171a; }
  .measured { stroke: #4fabe3; fill: #4fabe3; } .published { stroke: #e8eaed; } .around { fill: #e8eaed; }
}"""


def headline(report, results, site):
    """What the reports come to, in Markdown, under the picture.

    Args:
        report: a Report of claim_tables.py, of all reports together.
        results: the address of the results folder, relative to the README.
        site: the address of the first page of the site, relative to the results folder.
    """
    judged = [one.within for one in report.agreements if one.within is not None]
    numbers = ""
    if judged:
        differences = [100 * one.difference for one in report.agreements if one.within is not None]
        published = summarise_agreement(report.experiments, report.agreements).published
        reproduced = "all" if all(judged) else sum(judged)
        numbers = (
            f"{len(judged)} of {published} published numbers measured with {FEWEST_SEEDS} seeds or more, "
            f"{reproduced} of them reproduced (measured minus published: {min(differences):+.1f} to "
            f"{max(differences):+.1f} percentage points). "
        )
    return (
        f"![Published test accuracies beside measured ones]({results}/{PICTURE})\n\n"
        f"**{numbers}{counts_text(report.verdicts)}** Only runs on the published images with the listed settings "
        "count. A number is reproduced where it lies, allowing for its rounding, in the 95 % prediction interval for "
        "one more run of ours. A claim is judged by the 95 % interval over the seeds. What stands behind each: "
        f"[{results}/README.md]({results}/README.md) or, in a browser and with pictures, "
        f"[{results}/{site}]({results}/{site})."
    )


def picture(agreements):
    """Published numbers beside measured ones, as the text of an SVG file that follows the reader's theme.

    Args:
        agreements: Agreements that were measured, in the order of the rows.
    """
    measured = [one for one in agreements if one.mean is not None]
    # With two seeds an interval has no meaning to the eye: it is as wide as the picture.
    spans = {one.experiment.name: (one.low, one.high) for one in measured if one.within is not None}
    ends = [100 * end for one in measured for end in (one.mean, one.published, *spans.get(one.experiment.name, ()))]
    low, high = 10 * max(0, min(9, min(ends) // 10)), 10 * min(10, max(ends) // 10 + 1)
    groups = {}
    for one in measured:
        groups.setdefault(one.experiment.report, []).append(one)
    height = 2 * EDGE + HEAD + sum(HEAD + ROW * len(group) for group in groups.values())

    def x(accuracy):
        return round(NAMES + AXIS * (min(max(100 * accuracy, low), high) - low) / (high - low), 1)

    parts, y = _axis(low, high, x, height), EDGE + HEAD
    for name, group in groups.items():
        parts.append(f'<text class="report" x="{EDGE}" y="{y + 18}">{escape(name)}</text>')
        y += HEAD
        for one in group:
            parts.append(_row(one, spans.get(one.experiment.name), x, y))
            y += ROW
    width = NAMES + AXIS + NUMBERS
    label = "; ".join(f"{one.experiment.name}: {_numbers(one)}" for one in measured)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'role="img" aria-label="{escape(label)}">\n<style>{STYLE}\n</style>\n'
        f'<rect class="paper" width="{width}" height="{height}"/>\n' + "\n".join(parts) + "\n</svg>\n"
    )


def _axis(low, high, x, height):
    top = EDGE + HEAD
    parts = [
        f'<text class="soft" x="{EDGE}" y="{EDGE + 14}">test accuracy in percent</text>',
        f'<line class="published" stroke-width="3" x1="{NAMES}" x2="{NAMES}" y1="{EDGE + 3}" y2="{EDGE + 17}"/>',
        f'<text class="soft" x="{NAMES + 8}" y="{EDGE + 14}">published, and what is rounded to it</text>',
        f'<circle class="measured" r="4" cx="{NAMES + 256}" cy="{EDGE + 10}"/>',
        f'<text class="soft" x="{NAMES + 266}" y="{EDGE + 14}">measured; line: one more run</text>',
    ]
    step = 5 if high - low <= 30 else 10
    for tick in range(int(low), int(high) + 1, step):
        at = x(tick / 100)
        parts.append(f'<line class="rule" x1="{at}" x2="{at}" y1="{top + 8}" y2="{height - EDGE}"/>')
        parts.append(f'<text class="soft" text-anchor="middle" x="{at}" y="{top + 2}">{tick}</text>')
    return parts


def _row(one, span, x, y):
    middle = y + ROW / 2 - 4
    parts = [f'<text x="{EDGE + 10}" y="{y + 11}">{escape(one.experiment.short_name)}</text>']
    if span:
        parts.append(
            f'<line class="measured" stroke-width="3" stroke-opacity=".5" x1="{x(span[0])}" x2="{x(span[1])}" '
            f'y1="{middle}" y2="{middle}"/>'
        )
    parts.append(f'<circle class="measured" r="4" cx="{x(one.mean)}" cy="{middle}"/>')
    at, (left, right) = x(one.published), (x(end / 100) for end in rounded_to(100 * one.published))
    parts.append(f'<rect class="around" x="{left}" width="{round(right - left, 1)}" y="{middle - 7}" height="14"/>')
    parts.append(f'<line class="published" stroke-width="3" x1="{at}" x2="{at}" y1="{middle - 7}" y2="{middle + 7}"/>')
    parts.append(f'<text class="soft" x="{NAMES + AXIS + 16}" y="{y + 11}">{escape(_numbers(one))}</text>')
    return "".join(parts)


def _numbers(one):
    return f"{percent(one.published)}, {percent(one.mean)} (n={one.seeds})"
