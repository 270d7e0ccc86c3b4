"""The Markdown that `kmodels report` writes: results/README.md with all numbers and pictures, parts of other pages."""

import os
from pathlib import Path

from kmodels.analysis.metrics import balanced_accuracy, macro_f1
from kmodels.errors import InputError
from kmodels.experiment import PLANNED_SEEDS
from kmodels.files import write_atomically
from kmodels.records.descriptions import (
    epochs,
    mean_and_spread,
    on_published_data,
    on_unnamed_images,
    percent,
    recipe,
    seeds,
    size_name,
    source_name,
    weights_tested,
)
from kmodels.records.summaries import by_shots, mean, summarise
from kmodels.report.agreement import setting_of_runs
from kmodels.report.claim_tables import claims_files, overview_markdown, report_markdown, together
from kmodels.report.headline import PICTURE, headline, picture
from kmodels.report.pictures import PICTURES, picture_path
from kmodels.report.verdicts import FEWEST_SEEDS
from kmodels.text import Markdown, literal, markdown_table

# The lines around the generated parts of the README and of the page of benchmarks.
MARKERS = {
    "results": ("<!-- results:begin, written by `kmodels report` -->", "<!-- results:end -->"),
    "speed": ("<!-- speed:begin, written by `kmodels report` -->", "<!-- speed:end -->"),
}
PAGE = "README.md"
OTHER_PIXELS = (
    "Numbers on other pixels than the published ones (copies of a set as JPEG files, which are lossy, or parts of it) "
    "show how the code behaves; they neither confirm nor refute a published number."
)
HEAD = "# Results\n\nWritten by `kmodels report` from the records in this folder."
# Items of a list.
CLAIMS_ARE_JUDGED = (
    "A claim is confirmed where the 95 % confidence interval over the seeds lies within its bounds, refuted where it "
    "lies outside, and open otherwise. The interval of a difference is Student's, of the differences seed by seed, "
    "where each seed has two runs that share a network (one starts from the network of the other, or both from the "
    "same), and Welch's elsewhere.",
    "A gain of about x percentage points is confirmed where the interval lies above 0 and the difference of one more "
    "run on each side could be x (95 % prediction interval); it is refuted where it is a loss, or x is not possible. "
    "Here x stands for all that is rounded to it, or for a claimed range.",
    "Of several comparisons in a claim all must hold. Their p-values for refutation are adjusted by Holm's method, but "
    "not for the number of claims.",
    f"With fewer than {FEWEST_SEEDS} seeds a claim is open, and until all {len(PLANNED_SEEDS)} planned seeds are there "
    "a verdict is provisional. Numbers of parameters are the same for every seed and need one. Where no number "
    "(of pairs, no difference) varies with the seed there is no interval and a claim is open, unless all runs guess "
    "and it counts runs that diverged as guessing.",
    "Only runs on the published images with the listed settings count; on other images a claim holds there or not. "
    "Where a report does not say which images it used, its claims are judged on images chosen here. Of a seed that was "
    "run on several backends, the first completed run counts.",
    "A network is known by the checksum of its weights. Runs that started from a network which a repeat has replaced "
    "neither confirm nor refute.",
)
HOW_MEASURED = (
    "Test accuracy in percent: mean ± standard deviation over n seeds; every test image is evaluated once, with the "
    "weights {weights}."
)


def results_page(records, out, judged=None):
    """All results: for each report tables by images and device, its claims, figures, and the pictures of its runs.

    Args:
        records: any; the quickstart's and those of interrupted and failed runs are left out.
        out: the results folder, which has the pictures and gets the page.
        judged: {report: Report of claim_tables.py}, of the reports that have claims; None: of none.

    Returns:
        Markdown.
    """
    records, judged = list(records), judged or {}
    reports = _by_report(records)
    experiments = [one for report in judged.values() for one in report.experiments]
    parts = [HEAD, _how_measured(reports), OTHER_PIXELS]
    if judged:
        parts += ["How claims are judged:", "\n".join(f"- {rule}" for rule in CLAIMS_ARE_JUDGED)]
    parts += ["Reports:", "\n".join(f"- [{report}](#{report})" for report in reports) or "No record yet."]
    if len(judged) > 1:
        parts += ["## Claims and published numbers", overview_markdown(judged)]
    for report, summaries in reports.items():
        parts.append(f"## {report}")
        for (images, where, published_images), group in _by_images(summaries).items():
            pixels = "the published data" if published_images else "other pixels"
            if published_images and any(on_unnamed_images(one.experiment) for one in group):
                pixels = "images chosen here: the report does not name its own"
            if missing := sum(group[0].source.get("missing", {}).values()):
                pixels += f"; missing images: {missing:,}"
            parts += [f"**{images}** ({pixels}), on {where}:"]
            parts += [_experiments_table(group, [setting_of_runs(one.runs, experiments, records) for one in group])]
        if thinned := [one for one in summaries if one.experiment.imbalance]:
            parts += [
                "Test accuracy in percent by class size, where classes have unequal numbers of training images:",
                _groups_table(thinned),
            ]
        if report in judged:
            parts += ["The claims of the report, the verdicts on them, and published beside measured numbers:"]
            parts += [report_markdown(judged[report])]
        figures = sorted((Path(out) / report).glob("*.webp"))
        parts += [f"![{path.stem.replace('_', ' ')}]({path.relative_to(out).as_posix()})" for path in figures]
        parts += [_pictures(record, out) for one in summaries for record in one.records]
    return "\n\n".join(part.strip() for part in parts if part) + "\n"


def _by_report(records):
    """{report: [Summary]} of what was completed or diverged, without the quickstart."""
    found = {}
    for one in summarise([record for record in records if record.status in ("completed", "diverged")]):
        report = one.experiment.report
        if report != "quickstart":
            found.setdefault(report, []).append(one)
    return found


def _how_measured(reports):
    experiments = [one.experiment for summaries in reports.values() for one in summaries]
    return HOW_MEASURED.format(weights=weights_tested(experiments))


def _by_images(summaries):
    """{(images in words, where in words, whether they are the published data): [Summary]}."""
    found = {}
    for one in summaries:
        first = one.runs[0]
        images = f"{literal(source_name(one.source))}, {size_name(first.image_shape)}"
        devices = ", ".join(dict.fromkeys(record.device for record in one.runs))
        precision = "" if first.precision == "float32" else f", {first.precision}"
        where = f"{devices}, {first.backend}{precision}"
        found.setdefault((images, where, on_published_data(one.source)), []).append(one)
    return found


def _experiments_table(summaries, settings):
    rows = [("experiment", "settings", "test %", "published %", "epochs", "parameters")]
    for one, setting in zip(summaries, settings, strict=True):
        published, note = one.experiment.published, ""
        # On other pixels it is shown for orientation, as the heading of the table says.
        if on_published_data(one.source) and not setting.as_published:
            changes = setting.words.partition(size_name(one.runs[0].image_shape))[2]
            published, note = None, f"; not the listed settings{changes.replace(', ', ': ', 1)}"
        elif on_unnamed_images(one.experiment):
            note = "; the published number is of images that the report does not name"
        rows.append(
            (
                Markdown(f"`{one.experiment.short_name}`"),
                f"{recipe(one.experiment)}{note}",
                mean_and_spread(one),
                percent(published and published.test_accuracy),
                epochs(one.runs),
                f"{one.runs[0].parameters:,}",
            )
        )
    return markdown_table(rows, right=(2, 3, 4, 5))


def _groups_table(summaries):
    """Accuracies over all classes and over groups of them, means over the seeds."""
    rows = [("experiment", "all", "many", "medium", "few", "balanced", "macro F1", "many means", "few means")]
    for one in summaries:
        matrices = [record.test.confusion_matrix for record in one.records]
        means = [*by_shots(one.records).values()]
        means += [mean(list(map(measure, matrices))) for measure in (balanced_accuracy, macro_f1)]
        many, few = one.experiment.shots
        name = Markdown(f"`{one.experiment.short_name}` ({seeds(one)})")
        rows.append((name, *map(percent, means), f"over {many:,} images", f"under {few:,}"))
    return markdown_table(rows, right=(1, 2, 3, 4, 5, 6))


def _pictures(record, out):
    """The pictures beside a record, folded; nothing where there are none."""
    paths = {name: picture_path(record, out, name) for name in PICTURES}
    found = {name: path.relative_to(out).as_posix() for name, path in paths.items() if path.is_file()}
    if not found:
        return ""
    shown = "\n\n".join(f"{PICTURES[name]}\n\n![{name.replace('_', ' ')}]({path})" for name, path in found.items())
    name = record.experiment.short_name
    return f"<details><summary>Pictures of <code>{name}</code>, seed {record.seed}</summary>\n\n{shown}\n\n</details>"


def write(records, speed, out, readme, judged=None, check=False):
    """Writes the page of the results and the files of claims, and what other pages show of them between their markers.

    Args:
        records: all Records.
        speed: the table of benchmarks.
        out: the results folder, which gets the page; a page `bench/README.md` there may have markers of "speed".
        readme: path of the README, which must have the markers of "results"; None: no README is written.
        judged: as in `results_page`. Where published numbers were measured, the README begins with them; else it has a
            link to the page of the results.
        check: write nothing.

    Returns:
        The paths that were not up to date.

    Raises:
        InputError: if there is no README, if markers are missing or repeated, or if the page would replace a file that
            was not written by this function.
    """
    records, out = list(records), Path(out)
    page, bench = out / PAGE, out / "bench" / PAGE
    if page.is_file() and not page.read_text().startswith(HEAD):
        raise InputError(f"{page} was not written by `kmodels report` and would be lost; choose another results folder")
    # A folder without any run of a report with claims has nothing to say of them.
    judged = judged if judged and _by_report(records).keys() & judged.keys() else {}
    wanted = {} if readme is None else _readme(out, Path(readme), together(judged.values()))
    wanted |= {page: results_page(records, out, judged)} | claims_files(judged, out)
    if bench.is_file():
        wanted[bench] = _between_markers(bench, "speed", speed)
    stale = [path for path, text in wanted.items() if not path.is_file() or path.read_text() != text]
    for path in () if check else stale:
        write_atomically(path, wanted[path])
    return stale


def _readme(out, path, report):
    """{path: content} of the README, and of the picture in it where there is one."""
    if not path.is_file():
        raise InputError(f"no README at {path}")
    address = Path(os.path.relpath(out, path.parent)).as_posix()
    if any(one.mean is not None for one in report.agreements):
        shown, pictures = headline(report, address, "site/index.html"), {out / PICTURE: picture(report.agreements)}
    else:
        shown, pictures = f"All results are in [{address}/{PAGE}]({address}/{PAGE}).", {}
    return {path: _between_markers(path, "results", shown), **pictures}


def shows_results(path):
    """Whether there is a file that has a marker of "results".

    Args:
        path: of a README.
    """
    return path.is_file() and any(marker in path.read_text(errors="replace") for marker in MARKERS["results"])


def _between_markers(path, name, section):
    """The text of a file with a section between its markers."""
    text = path.read_text()
    begin, end = MARKERS[name]
    if (text.count(begin), text.count(end)) != (1, 1):
        raise InputError(f"{path} must have the lines {begin!r} and {end!r} once each")
    head, rest = text.split(begin)
    return f"{head}{begin}\n{section}\n{end}{rest.split(end)[1]}"
