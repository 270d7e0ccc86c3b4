"""Records to what people read.

tables.py: text for terminals and the README; pictures.py: PNG files beside a record; architecture.py: a network as a
table or a drawing; page.py: one self-contained HTML page a report.
"""

from pathlib import Path

from kmodels.errors import InputError
from kmodels.experiment import deciding_fields
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
    # In the order of the report; what is not asked for comes last.
    everything.sort(key=lambda r: names.index(r.experiment.name) if r.experiment.name in names else len(names))
    records = [record for record in everything if record.experiment.name in names]
    if not records:
        raise InputError(f"no record of {_few(names)} under {out}; run the experiments first")
    # Of each as it is given, if there are records of just these settings; else all that go by its name.
    listed = {experiment.name: experiment for experiment in experiments}
    as_listed = [r for r in records if r.experiment.fingerprint == listed[r.experiment.name].fingerprint]
    found = {record.experiment.name for record in as_listed}
    records = [record for record in records if record in as_listed or record.experiment.name not in found]
    paths = []
    for record in records:
        paths += write_pictures(record, out)
        try:
            paths += write_network_pictures(record, out, data_dir)
        except InputError as error:
            print(f"no pictures of the network of {record.stem}: {error}")
    folder = Path(out) / report
    drawn = {}
    for title, compared in _asked_for(comparisons, listed).items():
        chosen = _comparable([experiment.name for experiment in compared], records, listed)
        if len(chosen) > 1:
            drawn[title] = write_comparison(title, chosen, folder)
        else:
            _say_missing(title, compared)
    for title, (setting, swept) in _asked_for(sweeps, listed).items():
        summaries = _measured_alike([experiment.name for experiment in swept], records, listed)
        if len(summaries) > 1:
            drawn[title] = write_sweep(title, setting, swept, summaries, folder)
        else:
            _say_missing(title, swept)
    return [*paths, *drawn.values(), write_page(everything, out, folder / "index.html", drawn)]


def _asked_for(figures, listed):
    """Those figures whose experiments are all among the listed ones."""
    return {
        title: figure
        for title, figure in (figures or {}).items()
        if {experiment.name for experiment in _members(figure)} <= set(listed)
    }


def _members(figure):
    """The experiments of a comparison, a tuple of them, or of a sweep, a setting and a tuple of them."""
    return figure[1] if isinstance(figure[0], str) else figure


def _say_missing(title, experiments):
    names = _few([experiment.name for experiment in experiments])
    print(f"no figure '{title}': it needs records of at least two of {names}, on the same images and seed")


def _few(names):
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")


def _comparable(names, records, listed):
    """One record of each name, as many as were measured under one set of conditions and with one seed."""
    groups = {}
    for record in records:
        if record.epochs_run and record.experiment.name in names:
            key = (record.seed, _conditions(record, listed))
            groups.setdefault(key, {}).setdefault(record.experiment.name, record)
    # The lowest seed of those with the most.
    group = max((groups[key] for key in sorted(groups)), key=len, default={})
    return [group[name] for name in names if name in group]


def _measured_alike(names, records, listed):
    """{name: Summary} of the largest group of these experiments that was measured under one set of conditions."""
    groups = {}
    for summary in summarise([record for record in records if record.experiment.name in names]):
        if summary.records:
            key = _conditions(summary.records[0], listed)
            groups.setdefault(key, {}).setdefault(summary.experiment.name, summary)
    return max(groups.values(), key=len, default={})


def _conditions(record, listed):
    """What must be equal for two records to be compared: backend, images, and what was changed against the list.

    Images of one source are the same ones at any size, which experiments may choose; their checksum is not.
    """
    source, experiment = record.source, record.experiment
    changed = [
        f"{item.name}={getattr(experiment, item.name)}"
        for item in deciding_fields()
        if getattr(experiment, item.name) != getattr(listed[experiment.name], item.name)
    ]
    counts = source["counts"]["val"], source["counts"]["test"]
    return record.backend, source["kind"], source["name"], *counts, *changed
