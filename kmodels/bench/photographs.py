"""What using a network on photographs costs: classifying files, the first one of a process, a head on its features."""

import io
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from kmodels.bench.blocks import SEED, build_network
from kmodels.experiment import Experiment
from kmodels.models.about import About
from kmodels.models.saving import save_network
from kmodels.training import run

# As cameras' pictures are once they are made smaller: JPEG of this size.
WIDTH, HEIGHT, QUALITY = 640, 480, 90
# Of this many different ones, all files are copies: decoding costs the same.
DIFFERENT = 20
# Turns of the command, each a process.
STARTS = 3


def measure(job):
    """What `kmodels bench --sections photographs` measures, on the backend of this process.

    Args:
        job: a bench Job; `job.images` is the number of photographs.

    Returns:
        {"predict": images/s by turns: of `Classifier.predict` on files and on pixels in memory, of Keras' `predict` of
        the saved network on pixels in memory, and of decoding alone; "first": seconds of `kmodels predict` with one
        photograph, each a new process; "head": how many images, seconds of a run from files to its record, and of one
        pass of the network over them}.
    """
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        files = _write_photographs(folder / "photographs", job.images, job.num_classes)
        names = tuple(f"class {i}" for i in range(job.num_classes))
        about = About(class_names=names, image_shape=(job.image_size, job.image_size, 3))
        network = save_network(build_network(job), folder / "network.keras", about)
        return {
            "predict": _predict(network, files, job.repeats),
            "first": [_seconds_of("predict", str(network), str(files[0])) for _ in range(STARTS)],
            "head": _head(job, network, folder),
        }


def _write_photographs(folder, number, classes):
    rng, files = np.random.default_rng(SEED), []
    noise = rng.integers(0, 256, (DIFFERENT, 24, 32, 3), np.uint8)
    contents = []
    for one in noise:
        picture, buffer = Image.fromarray(one).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC), io.BytesIO()
        picture.save(buffer, "JPEG", quality=QUALITY)
        contents.append(buffer.getvalue())
    for i in range(number):
        path = folder / f"class {i % classes}" / f"{i}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(contents[i % DIFFERENT])
        files.append(path)
    return files


def _predict(network, files, repeats):
    """Images/s of each way, in turns of a few batches."""
    from kmodels.analysis.predict import usual_batch
    from kmodels.classifier import Classifier

    classifier = Classifier(network)
    batch = usual_batch(classifier.image_shape)
    files = files[: 4 * batch]
    pixels = np.stack([classifier.pixels(path) for path in files])
    ways = {
        "files": lambda: classifier.predict(files),
        "memory": lambda: classifier.predict(pixels),
        "keras": lambda: classifier.network.predict(pixels, batch_size=batch, verbose=0),
        "decoding": lambda: list(pool.map(classifier.pixels, files)),
    }
    rates = {name: [] for name in ways}
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for way in ways.values():
            way()
        for _ in range(repeats):
            for name, way in ways.items():
                start = time.perf_counter()
                way()
                rates[name].append(len(files) / (time.perf_counter() - start))
    return rates


def _head(job, network, folder):
    """Seconds of a run from files to its record, and of one pass of the network over the same images."""
    from kmodels.analysis import embed
    from kmodels.data import load_dataset
    from kmodels.models.saving import load_network

    experiment = Experiment(
        name="bench/head",
        dataset="folder",
        image_size=job.image_size,
        model=job.model,
        init_from=str(network),
        head="logistic",
    )
    start = time.perf_counter()
    run(experiment, out=folder / "runs", data_dir=folder / "photographs", verbose=0)
    seconds = time.perf_counter() - start
    dataset, loaded = load_dataset("folder", job.image_size, folder / "photographs"), load_network(network)
    start = time.perf_counter()
    for split in (dataset.train, dataset.val, dataset.test):
        embed(loaded, split.images)
    return {"images": job.images, "seconds": seconds, "pass_seconds": time.perf_counter() - start}


def _seconds_of(*arguments):
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-m", "kmodels", *arguments], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"kmodels {arguments[0]} failed: {done.stderr.strip().splitlines()[-1]}")
    return time.perf_counter() - start
