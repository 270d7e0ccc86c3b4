"""The commands for a record: `kmodels show`, `compare`, `mistakes`, `gradcam`, `tsne` and `features`."""

from pathlib import Path
from typing import Literal

import tyro

from kmodels.backend import check_backend
from kmodels.errors import InputError

Name = tyro.conf.Positional


def show(record: Name[Path], /) -> int:
    """Show what a record says: the run, its accuracies, and every class.

    Args:
        record: a record's .json file.
    """
    from kmodels.records import read_record
    from kmodels.report.tables import record_text

    print(record_text(read_record(record)))
    return 0


def compare(a: Name[Path], b: Name[Path], /) -> int:
    """Say whether experiment B is better than A on the test images, and what may not be concluded.

    With two or more seeds of each: the difference of their mean test accuracies and its interval. With one: how often
    only one of the two networks is right, image by image.

    Args:
        a: a record's .json file, a folder with the records of one experiment, or a pattern of such files, in quotes.
        b: likewise a file, a folder or a pattern.
    """
    from kmodels.comparison import compare as compare_records

    print(compare_records(a, b))
    return 0


def mistakes(
    record: Name[Path],
    /,
    split: Literal["test", "val"] = "test",
    number: int = 20,
    data_dir: Path | None = None,
) -> int:
    """Show what a network gets wrong: the surest mistakes with their files, and a picture of them with Grad-CAM.

    Apart from them: images of all splits whose labels may be wrong, and near duplicates across splits. These are for
    you to look at; nothing is changed.

    Args:
        record: a record's .json file, with its .keras beside it; or a folder of runs, as runs/photos, for the
            one with the best validation accuracy.
        split: whose mistakes: test, or val.
        number: rows of each table.
        data_dir: where the images are; left out: where they were during the run.
    """
    check_backend()
    from kmodels.report.mistakes import write_mistakes

    found = write_mistakes(*_read(record), data_dir, split, number)
    print(found.text, "", *found.paths, sep="\n")
    return 0


def gradcam(
    file: Name[Path],
    images: Name[tuple[Path, ...]] = (),
    /,
    layers: tuple[str, ...] | None = None,
    data_dir: Path | None = None,
    out: Path = Path(),
    scale: float = 1.0,
) -> int:
    """Draw what a network sees: Grad-CAM for the class that it predicts.

    Of a record: the first ten test images, and Grad-CAM for one image of each class, beside the record. Of any other
    network that Keras loads: Grad-CAM for the images given.

    Args:
        file: a record's .json file, with its .keras beside it; or a .keras file; or a folder of runs, as runs/photos,
            for the one with the best validation accuracy.
        images: for a .keras file or a folder of runs: image files, or folders of them.
        layers: layers to draw side by side, as `kmodels models NAME` shows them; left out: up to five.
        data_dir: for a record: where the images are; left out: where they were during the run.
        out: for a .keras file: the folder to write into; left out: here.
        scale: for a .keras file: what pixels 0..255 are multiplied by; 0.0039216 for a network that was trained on
            0..1 and does not scale its input.
    """
    if images and file.is_dir():
        from kmodels.records import network_file

        file = network_file(file)
    if file.suffix == ".keras":
        if not images:
            raise InputError(f"give images for the network, image files or folders: kmodels gradcam {file} IMAGES...")
        check_backend()
        from kmodels.report.grad_cam_files import write_grad_cam_of_files

        for picture in write_grad_cam_of_files(file, images, out, layers, scale):
            print(picture)
        return 0
    if images:
        raise InputError(f"images go with a .keras file; a record has its own. Received: {str(file)!r}")
    from kmodels.report.network_pictures import write_grad_cam

    return _drawn(file, write_grad_cam, data_dir, layers=layers)


def tsne(
    record: Name[Path],
    /,
    samples: int = 480,
    seed: int = 0,
    perplexity: float | None = None,
    data_dir: Path | None = None,
) -> int:
    """Draw the test images as the classifier of a record sees them: t-SNE of their embeddings, coloured by class.

    Args:
        record: a record's .json file, with its .keras beside it; or a folder of runs, as runs/photos, for the
            one with the best validation accuracy.
        samples: how many test images, sampled by the seed.
        seed: of that draw and of t-SNE.
        perplexity: about how many neighbours an image has, smaller than the number of samples; left out: 30, or a third
            of few samples.
        data_dir: where the images are; left out: where they were during the run.
    """
    from kmodels.report.network_pictures import write_tsne

    return _drawn(record, write_tsne, data_dir, samples=samples, seed=seed, perplexity=perplexity)


def features(
    record: Name[Path],
    /,
    layers: tuple[str, ...] | None = None,
    images: tuple[int, ...] = (0,),
    data_dir: Path | None = None,
) -> int:
    """Draw what layers of the network of a record make of test images; a pooled layer as a line.

    Args:
        record: a record's .json file, with its .keras beside it; or a folder of runs, as runs/photos, for the
            one with the best validation accuracy.
        layers: as `kmodels models NAME` shows them; left out: up to four and the embedding.
        images: indices in the test split, from 0; a picture for each.
        data_dir: where the images are; left out: where they were during the run.
    """
    from kmodels.report.network_pictures import write_features

    return _drawn(record, write_features, data_dir, layers=layers, images=images)


def _drawn(record, write, data_dir, **options):
    """Prints the paths of pictures of a record's network."""
    check_backend()
    from kmodels.predictions import images_folder

    record, out = _read(record)
    data_dir = data_dir or images_folder(out / f"{record.stem}.json")
    for picture in write(record, out, data_dir, **options):
        print(picture)
    return 0


def _read(path):
    """The Record of a .json file, or of the best run in a folder, and the results folder that it is in."""
    from kmodels.records import best_run, read_record

    path = best_run(path) if path.is_dir() else path
    record, path = read_record(path), path.resolve()
    if not path.as_posix().endswith(f"/{record.stem}.json"):
        raise InputError(f"{path} was moved or renamed; it belongs at <results>/{record.stem}.json")
    return record, path.parents[len(Path(record.stem).parts) - 1]
