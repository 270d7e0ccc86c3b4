"""The commands for a record: `kmodels show`, `compare`, `mistakes`, `gradcam`, `tsne` and `features`."""

import contextlib
import json
import shlex
from pathlib import Path
from typing import Annotated, Literal

from kmodels.backend import check_backend
from kmodels.command_line import shown_as, tyro
from kmodels.errors import InputError

Record = Annotated[Path, tyro.conf.Positional, shown_as("RECORD")]
DataDir = Annotated[Path | None, shown_as("PATH")]
Layers = Annotated[tuple[str, ...] | None, shown_as("NAME ...")]


def show(record: Record, /) -> int:
    """Print a record: the settings of the run, its accuracies, and the accuracy of each class.

    Args:
        record: the .json file of a run; or a folder of runs such as runs/photos, for the one with the best validation
            accuracy.
    """
    from kmodels.best_run import best_run
    from kmodels.catalogue import reports
    from kmodels.records import read_record, with_published
    from kmodels.report.tables import record_text

    shown = read_record(best_run(record) if record.is_dir() else record)
    # kmodels may have been copied without the reports.
    with contextlib.suppress(InputError):
        (shown,) = with_published([shown], [one for report in reports() for one in report.EXPERIMENTS])
    print(record_text(shown))
    return 0


def compare(
    a: Annotated[Path, tyro.conf.Positional, shown_as("A")],
    b: Annotated[Path, tyro.conf.Positional, shown_as("B")],
    /,
    format: Annotated[Literal["text", "json"], tyro.conf.arg(name="format")] = "text",
) -> int:
    """Test whether experiment B is better than experiment A on the test images, and say what this does not show.

    With two or more seeds of each, it prints the difference of their mean test accuracies with its interval. With one
    seed, or where every seed gives the same difference, it counts the images on which only one of the two networks is
    right.

    Args:
        a: the .json file of a run, the folder of an experiment's runs, or a quoted pattern of such files.
        b: likewise, of the other experiment.
        format: text, to read; or json, one object: a and b (experiment, seeds and mean test_accuracy), the difference
            of b minus a, low and high of its 95 % interval (fractions of 1), method, whether it is shown, pairs and
            p_value of McNemar's test (null where it is over seeds), needed (seeds or images; null where it is unknown,
            or more than a million) and notes.
    """
    from kmodels.comparison import compare as compare_records

    comparison = compare_records(a, b)
    print(json.dumps(comparison.as_dict()) if format == "json" else comparison)
    return 0


def mistakes(
    record: Record,
    /,
    split: Literal["test", "val"] = "test",
    number: int = 20,
    data_dir: DataDir = None,
) -> int:
    """List the images that a network gets wrong, the most confident mistakes first, and draw them with Grad-CAM.

    It also lists images of all splits whose labels may be wrong, and near duplicates in different splits. Look at them
    yourself: nothing is changed.

    Args:
        record: the .json file of a run, with its network (.keras) beside it; or a folder of runs such as runs/photos,
            for the one with the best validation accuracy.
        split: list mistakes on the test images or on the validation images (val).
        number: largest number of rows in each table.
        data_dir: the folder or archive of the images; left out: where they were during the run.
    """
    check_backend()
    from kmodels.report.mistakes import write_mistakes

    found = write_mistakes(*_read(record), data_dir, split, number)
    print(found.text, "", *found.paths, sep="\n")
    return 0


def gradcam(
    file: Annotated[Path, tyro.conf.Positional, shown_as("NETWORK")],
    images: Annotated[tuple[Path, ...], tyro.conf.Positional, shown_as("[IMAGES ...]")] = (),
    /,
    layers: Layers = None,
    data_dir: DataDir = None,
    out: Annotated[Path, shown_as("FOLDER")] = Path(),
    scale: float = 1.0,
) -> int:
    """Draw Grad-CAM heat maps: which parts of an image raise the score of the class that the network predicts.

    Without IMAGES, it draws one test image of each class beside the record, and the first ten test images with their
    predictions. With IMAGES, it draws those.

    Args:
        file: the .json file of a run, with its network (.keras) beside it; or a folder of runs such as runs/photos, for
            the one with the best validation accuracy; or, with IMAGES, any .keras file.
        images: image files, or folders (with their subfolders), of which the first 20 images are drawn.
        layers: draw the maps of these layers side by side; `kmodels models NAME` lists them. Left out: up to five.
        data_dir: without IMAGES: the folder or archive of the test images; left out: where they were during the run.
        out: with IMAGES: the folder to write into; left out: the current one.
        scale: with IMAGES: multiply pixels 0..255 by this first; 0.0039216 (1/255) for a network that was trained on
            pixels from 0 to 1 and does not scale them itself.
    """
    if images and file.is_dir():
        from kmodels.best_run import network_file

        file = network_file(file)
    if file.suffix == ".keras":
        if not images:
            command = f"kmodels gradcam {shlex.quote(str(file))} IMAGES..."
            raise InputError(f"give images for the network, image files or folders: {command}")
        check_backend()
        from kmodels.report.grad_cam_files import write_grad_cam_of_files

        for picture in write_grad_cam_of_files(file, images, out, layers, scale):
            print(picture)
        return 0
    if images:
        raise InputError(f"images go with a .keras file; a record has its own. Received: {str(file)!r}")
    from kmodels.report.network_pictures import write_grad_cam, write_ten

    return _drawn(file, lambda *of: [*write_ten(*of), *write_grad_cam(*of, layers)], data_dir)


def tsne(
    record: Record,
    /,
    samples: int = 480,
    seed: int = 0,
    perplexity: Annotated[float | None, shown_as("FLOAT")] = None,
    data_dir: DataDir = None,
) -> int:
    """Draw a map of the test images by t-SNE of their embeddings, the input of the classifier, coloured by class.

    Args:
        record: the .json file of a run, with its network (.keras) beside it; or a folder of runs such as runs/photos,
            for the one with the best validation accuracy.
        samples: how many test images to draw, chosen at random.
        seed: random seed for the choice of images and for t-SNE.
        perplexity: about how many neighbours each image has; must be less than the number of samples. Left out: 30, or
            a third of the samples if they are fewer than 91.
        data_dir: the folder or archive of the images; left out: where they were during the run.
    """
    from kmodels.report.network_pictures import write_tsne

    return _drawn(record, write_tsne, data_dir, samples=samples, seed=seed, perplexity=perplexity)


def features(
    record: Record,
    /,
    layers: Layers = None,
    images: Annotated[tuple[int, ...], tyro.conf.arg(metavar="INDEX ...")] = (0,),
    data_dir: DataDir = None,
) -> int:
    """Draw the outputs of several layers of a network for test images: feature maps, or a line for a vector.

    Args:
        record: the .json file of a run, with its network (.keras) beside it; or a folder of runs such as runs/photos,
            for the one with the best validation accuracy.
        layers: names of the layers; `kmodels models NAME` lists them. Left out: up to four and the embedding.
        images: indices of test images, from 0; each gets a picture.
        data_dir: the folder or archive of the images; left out: where they were during the run.
    """
    from kmodels.report.network_pictures import write_features

    return _drawn(record, write_features, data_dir, layers=layers, images=images)


def _drawn(record, write, data_dir, **options):
    """Prints the paths of pictures of a record's network."""
    check_backend()
    from kmodels.records.predictions import images_folder
    from kmodels.report.network_pictures import load_trained

    record, out = _read(record)
    data_dir = data_dir or images_folder(out / f"{record.stem}.json")
    for picture in write(record, out, load_trained(record, out, data_dir), **options):
        print(picture)
    return 0


def _read(path):
    """The Record of a .json file, or of the best run in a folder, and the results folder that it is in."""
    from kmodels.best_run import best_run
    from kmodels.records import read_record

    path = best_run(path) if path.is_dir() else path
    record, path = read_record(path), path.resolve()
    if not path.as_posix().endswith(f"/{record.stem}.json"):
        raise InputError(f"{path} was moved or renamed; it belongs at <results>/{record.stem}.json")
    return record, path.parents[len(Path(record.stem).parts) - 1]
