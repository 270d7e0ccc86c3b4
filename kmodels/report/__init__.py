"""Records to what people read.

tables.py: text for terminals and the README; pictures.py: PNG files beside a record; architecture.py: a network as a
table or a drawing; page.py: one self-contained HTML page a report.
"""

from pathlib import Path

from kmodels.errors import InputError
from kmodels.records import read_records, summarise


def write_report(experiments, out, comparisons=None, sweeps=None, data_dir=None):
    """Draws everything that can be drawn of these experiments from the records under `out`.

    Args:
        experiments: Experiments of one report; their records are found by name.
        out: the results folder.
        comparisons: {title: experiments whose curves share a figure}.
        sweeps: {title: (field, experiments whose test accuracy is drawn against that field)}.
        data_dir: where the dataset's files are, for what needs the images; see `load_dataset`.

    Returns:
        The paths written: pictures beside each record, one picture a comparison and a sweep, and the page.

    Raises:
        InputError: if there is no record of any of them.
    """
    from kmodels.report.page import write_page
    from kmodels.report.pictures import write_comparison, write_network_pictures, write_pictures, write_sweep

    names = [experiment.name for experiment in experiments]
    report = names[0].split("/")[0]
    everything = [r for r in read_records(out).values() if r.experiment.name.startswith(f"{report}/")]
    records = [record for record in everything if record.experiment.name in names]
    if not records:
        raise InputError(f"no record of {', '.join(names)} under {out}; run the experiments first")
    # As they are given, if there are records of just these settings; else all that go by these names.
    exactly = {experiment.fingerprint for experiment in experiments}
    records = [record for record in records if record.experiment.fingerprint in exactly] or records
    paths = []
    for record in records:
        paths += write_pictures(record, out)
        try:
            paths += write_network_pictures(record, out, data_dir)
        except InputError as error:
            print(f"no pictures of the network of {record.stem}: {error}")
    folder = Path(out) / report
    drawn = {}
    for title, compared in _drawable(comparisons, names).items():
        wanted = [experiment.name for experiment in compared]
        chosen = _comparable(wanted, records)
        if chosen:
            drawn[title] = write_comparison(title, chosen, folder)
        else:
            print(f"no figure '{title}': it needs records of {', '.join(wanted)} on the same images, with one seed")
    for title, (setting, swept) in (sweeps or {}).items():
        summaries = _measured_alike(swept, records)
        if len(summaries) > 1 and {experiment.name for experiment in swept} <= set(names):
            drawn[title] = write_sweep(title, setting, swept, summaries, folder)
    return [*paths, *drawn.values(), write_page(everything, out, folder / "index.html", drawn)]


def _drawable(comparisons, names):
    """Those comparisons whose experiments were all asked for."""
    return {
        title: compared
        for title, compared in (comparisons or {}).items()
        if {experiment.name for experiment in compared} <= set(names)
    }


def _comparable(names, records):
    """One record of each name, all on the same images, backend and seed; None if there are not such."""
    groups = {}
    for record in records:
        if record.epochs_run:
            key = (*_conditions(record), record.seed)
            groups.setdefault(key, {}).setdefault(record.experiment.name, record)
    for _, group in sorted(groups.items(), key=lambda item: item[0][-1]):
        if set(names) <= set(group):
            return [group[name] for name in names]
    return None


def _measured_alike(experiments, records):
    """{name: Summary} of the largest group of these experiments that was measured under one set of conditions."""
    groups = {}
    names = [experiment.name for experiment in experiments]
    for summary in summarise([record for record in records if record.experiment.name in names]):
        if summary.records:
            groups.setdefault(_conditions(summary.records[0]), {}).setdefault(summary.experiment.name, summary)
    return max(groups.values(), key=len, default={})


def _conditions(record):
    """What must be equal for two records to be compared, their experiments apart."""
    return record.source["sha256"], record.experiment.subset or 0, record.backend
