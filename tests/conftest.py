"""What every test shares: a cache of its own, so that no test reads or leaves anything in the user's."""

import contextlib
import gc
import io
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

import kmodels

ROOT = Path(__file__).parents[1]
# Experiment files and the tests that start them are run from the checkout, not from an installed package.
sys.path.insert(0, str(ROOT))
# Tested on JAX alone, for nothing in them depends on the backend: contenders of the benchmark choose theirs themselves,
# and commands are made of what the other tests try on each (.ci/run tries every experiment on JAX, some on the others).
ONE_BACKEND = (
    "analysis/test_data_problems.py",
    "bench",
    "commands/test_doctor.py",
    "commands/test_kaggle_kernels.py",
    "commands/test_run_command.py",
    "data/test_[!at]*.py",  # All but arrays of each framework and the streams of tfds.
    "data/test_archives.py",
    "faults/test_forged_records.py",
    "planning",
    "records",
    "report",
    "test_cli.py",
    "test_compare.py",
    "test_experiment.py",
    "test_files.py",
    "test_names.py",
    "test_notebook.py",
    "test_plots*.py",
    "test_remedies.py",
    "test_script.py",
    "test_tracking.py",
)
collect_ignore_glob = [] if os.environ["KERAS_BACKEND"] == "jax" else list(ONE_BACKEND)
if shutil.which("nvidia-smi") is None:
    # Every test compiles programs of its own, and runs them once: on a CPU, compiling takes half the time so.
    os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "true")
    os.environ.setdefault(
        "XLA_FLAGS",
        "--xla_backend_optimization_level=1 --xla_cpu_use_fusion_emitters=false "
        "--xla_cpu_parallel_codegen_split_count=1",
    )
# On a GPU, tests start processes that need some of its memory too.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
# What tells when and how long, or of which commit, and not what came out.
TIMES = ("started", "compile_seconds", "train_seconds", "images_per_second", "commit")


@contextlib.contextmanager
def small_disk(folder, kibibytes):
    """A file system of this size, in memory; a test is skipped where none can be mounted."""
    folder.mkdir()
    if not mount(folder, f"size={kibibytes}k"):
        pytest.skip("no file system can be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def mount(folder, options):
    """Mounts a file system in memory, or changes one ("remount,size=100k"); returns whether it could."""
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder]
    return subprocess.run(command, capture_output=True).returncode == 0


def python(code, **environment):
    """Runs code in a fresh interpreter; returns the finished process."""
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, **environment}
    )


def make_record(seed=0, accuracy=0.5, **changes):
    """A Record of a completed run, with other values where `changes` has them."""
    from kmodels import Experiment, Published, Record
    from kmodels.analysis.evaluation import Evaluation

    evaluation = Evaluation(
        examples=4,
        loss=0.7,
        accuracy=accuracy,
        per_class_accuracy=(accuracy, None),
        confusion_matrix=((2, 2), (0, 0)),
    )
    values = {
        "experiment": Experiment(name="report/one", published=Published(test_accuracy=0.6)),
        "seed": seed,
        "status": "completed",
        "source": {
            "kind": "tfds",
            "name": "cifar10",
            "original": True,
            "sha256": "ab" * 32,
            "counts": {"train": 4},
            "notes": [],
        },
        "class_names": ("a", "b"),
        "image_shape": (8, 8, 3),
        "parameters": 7,
        "history": {"loss": (1.0, None), "val_loss": (1.5, 0.25)},
        "best_epoch": 2,
        "train": evaluation,
        "val": evaluation,
        "test": evaluation,
        "backend": "jax",
        "device": "cpu",
        "precision": "float32",
        "versions": {"keras": "3"},
        "commit": None,
        "started": "2026-01-01T00:00:00+00:00",
    }
    return Record(**{**values, **changes})


def run_script(*arguments, experiments, **options):
    """Runs the command of an experiment file in this process; returns its exit status."""
    from kmodels import script

    sys.argv = ["script.py", *map(str, arguments)]
    with pytest.raises(SystemExit) as ended:
        script.main(experiments, "About.", **options)
    return ended.value.code


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory):
    os.environ["KMODELS_CACHE"] = str(tmp_path_factory.getbasetemp() / "cache")
    os.environ["TFDS_DATA_DIR"] = str(tmp_path_factory.getbasetemp() / "tfds")


@pytest.fixture
def without_home(monkeypatch):
    """A user whom the system does not know, as in some containers, and no choice of a cache folder."""

    def unknown(user):
        raise KeyError(user)

    monkeypatch.setattr(pytest.importorskip("pwd"), "getpwuid", unknown)
    for name in ("HOME", "KMODELS_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(autouse=True, scope="module")
def _spare_the_garbage_collector():
    # Each training collects garbage, and looks at all objects for it: of imports and earlier tests there are millions.
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def initialised_by_numpy():
    """A context in which networks are built without JAX's random numbers: it compiles a program for each shape."""

    @contextlib.contextmanager
    def initialised():
        import keras

        rng = np.random.default_rng(0)

        def draw(self, shape, dtype=None):
            limit = getattr(self, "maxval", 0.05)
            return keras.ops.convert_to_tensor(rng.uniform(-limit, limit, shape).astype(dtype))

        with pytest.MonkeyPatch.context() as patch:
            for initializer in (keras.initializers.RandomUniform, keras.initializers.VarianceScaling):
                patch.setattr(initializer, "__call__", draw)
            yield

    return initialised


@pytest.fixture(scope="module")
def networks_by_numpy(initialised_by_numpy):
    """All networks of the module are built in such a context."""
    with initialised_by_numpy():
        yield


@pytest.fixture(scope="session")
def colours(tmp_path_factory):
    """A folder of small images of three colours, twenty each; its name cannot be that of an experiment."""
    from PIL import Image

    folder, rng = tmp_path_factory.mktemp("my colours!"), np.random.default_rng(0)
    for channel, name in enumerate(("blue", "green", "red")):
        (folder / name).mkdir()
        for number in range(20):
            pixels = rng.integers(0, 60, (20, 24, 3), np.uint8)
            pixels[..., 2 - channel] += 150
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    return folder


@pytest.fixture(scope="session")
def backend():
    """The Keras backend under test."""
    import keras

    assert keras.backend.backend() == os.environ["KERAS_BACKEND"]
    return keras.backend.backend()


@pytest.fixture
def interruptible():
    """Ctrl-C reaches this process and those it starts, also where the tests run in the background of a shell."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def kmodels_command(monkeypatch, capsys):
    """Runs `kmodels` in this process; returns exit status, output and errors."""
    from kmodels import cli

    def call(*arguments, stdin=""):
        monkeypatch.setattr(sys, "argv", ["kmodels", *map(str, arguments)])
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return ended.value.code, *capsys.readouterr()

    return call


@pytest.fixture
def nan_loss(monkeypatch):
    """Makes every loss NaN. (A huge learning rate does not, on every backend: TensorFlow's ReLU turns NaN into 0.)"""
    from kmodels.training import trainer

    class NaN(trainer.CrossEntropy):
        def call(self, labels, logits):
            return super().call(labels, logits) * float("nan")

    monkeypatch.setattr(trainer, "CrossEntropy", NaN)


@pytest.fixture(scope="session")
def tiny():
    """An experiment that runs in a second or two."""
    return kmodels.Experiment(
        name="tests/tiny",
        dataset="synthetic",
        image_size=16,
        model="mlp",
        augmentation="rotate_flip",
        epochs=2,
        batch_size=16,
    )


@pytest.fixture
def outcome():
    """Returns all of a record that must not depend on how the run came about."""

    def outcome(record):
        content = {name: value for name, value in asdict(record).items() if name not in TIMES}
        content["history"] = {name: values for name, values in record.history.items() if name != "seconds"}
        return content

    return outcome


@pytest.fixture
def network_weights():
    """Returns the weights that lie beside a record."""
    from kmodels.models.saving import load_network

    return lambda record, out: load_network(out / f"{record.stem}.keras").get_weights()


@pytest.fixture
def same_weights(network_weights):
    """Tells whether the networks of two records, each with its results folder, are equal bit for bit."""

    def same_weights(record, out, other, other_out):
        pairs = zip(network_weights(record, out), network_weights(other, other_out), strict=True)
        return all(np.array_equal(a, b) for a, b in pairs)

    return same_weights
