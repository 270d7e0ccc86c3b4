"""Tables, pictures and pages of records.

tables.py: text for terminals; markdown.py: results/README.md and the README's tables; claims.py: the claims of a
report, verdicts.py: whether they hold, agreement.py: published beside measured numbers, claim_tables.py: both in words;
pictures.py: pictures beside a record, network_pictures.py: those that need its network too; mistakes.py: which images
are wrong; figures.py: figures of several runs; augmentation.py: examples of an augmentation policy; architecture.py: a
network as a table or a drawing; site/: a static site of all results; page.py: one self-contained page per report.
"""

from pathlib import Path

from kmodels.errors import InputError, describe_error, shorten
from kmodels.interrupts import Interrupts
from kmodels.records import read_records
from kmodels.records.predictions import predictions_path

# Pictures that need the network, and that all networks have.
OF_NETWORKS = ("ten", "tsne", "features")


def write_report(experiments, out, figures=(), data_dir=None, claims=(), pictured=None, redraw=True):
    """Writes pictures, figures, verdicts on claims and a page from the records under `out`.

    A line names each picture that cannot be drawn, and why.

    Args:
        experiments: Experiments of one report; their records are found by name.
        out: the results folder.
        figures: of figures.py; those about other experiments than these are left out.
        data_dir: where the dataset's files are, for pictures that need the images; see `load_dataset`.
        claims: of claims.py; those of other reports are left out.
        pictured: the Records whose networks are drawn, which takes most of the time; None: all.
        redraw: whether those are drawn again whose pictures are newer than the record.

    Returns:
        The paths written: pictures beside each record, one picture per figure, and the page, last.

    Raises:
        InputError: if there is no record of any of them.
    """
    from kmodels.report.claim_tables import write_claims
    from kmodels.report.figures import Material
    from kmodels.report.page import write_page
    from kmodels.report.pictures import save_titled, write_pictures

    names = [experiment.name for experiment in experiments]
    report = names[0].split("/")[0]
    everything = [r for r in read_records(out).values() if r.experiment.name.startswith(f"{report}/")]
    # In the order of the report, other experiments last. Completed runs first: figures take the first of each seed.
    order = {name: index for index, name in enumerate(names)}
    everything.sort(key=lambda r: (order.get(r.experiment.name, len(names)), r.status != "completed"))
    records = [record for record in everything if record.experiment.name in names]
    if not records:
        raise InputError(f"no record of {shorten(names)} under {out}; run the experiments first")
    # Of each experiment those with the settings given; where there are none, all with its name.
    listed = {experiment.name: experiment for experiment in experiments}
    as_listed = [r for r in records if r.experiment.fingerprint == listed[r.experiment.name].fingerprint]
    found = {record.experiment.name for record in as_listed}
    records = [record for record in records if record in as_listed or record.experiment.name not in found]
    stems = [record.stem for record in (records if pictured is None else pictured)]
    paths = [path for record in records for path in write_pictures(record, out)]
    drawn = [record for record in records if record.stem in stems and (redraw or not _is_drawn(record, out))]
    paths += _write_pictures_of_networks(drawn, out, data_dir)
    folder, material, pictures = Path(out) / report, Material(records, listed, data_dir), {}
    for figure in figures:
        if {experiment.name for experiment in figure.experiments} <= set(listed):
            try:
                pictures[figure.title] = save_titled(figure.draw(material), figure.title, folder)
            except InputError as error:
                print(f"no figure '{figure.title}': {error}")
    of_report = [claim for claim in claims if claim.report == report]
    judged = write_claims(of_report, experiments, everything, out).get(report)
    return [*paths, *pictures.values(), write_page(everything, out, folder / "index.html", pictures, judged)]


def _is_drawn(record, out):
    """Whether the pictures of a network, and which images are wrong, were written since its record was."""
    from kmodels.report.mistakes import tables_path
    from kmodels.report.pictures import picture_path

    wanted = [tables_path(record, out), *(picture_path(record, out, name) for name in OF_NETWORKS)]
    written = (Path(out) / f"{record.stem}.json").stat().st_mtime_ns
    return all(path.is_file() and path.stat().st_mtime_ns >= written for path in wanted)


def _write_pictures_of_networks(records, out, data_dir):
    """Writes the pictures that need the network of each record, and which images are wrong; returns the paths."""
    from kmodels.report.mistakes import write_mistakes
    from kmodels.report.network_pictures import write_network_pictures

    paths, checked = [], set()
    for record in records:
        try:
            paths += write_network_pictures(record, out, data_dir)
        except InputError as error:
            Interrupts.check()
            print(f"no pictures of the network of {record.stem}: {error}")
            continue
        if not predictions_path(Path(out) / f"{record.stem}.json").is_file():
            continue
        # Labels and duplicates are of the images: once for all runs on them, and only for images of the user's.
        check_data = record.experiment.dataset == "folder" and record.source["sha256"] not in checked
        checked.add(record.source["sha256"])
        try:
            paths += write_mistakes(record, out, data_dir, check_data=check_data).paths
        except Exception as error:
            # A network of the user's own may fail in any way.
            Interrupts.check()
            print(f"no mistakes of {record.stem}: {describe_error(error)}")
    return paths
