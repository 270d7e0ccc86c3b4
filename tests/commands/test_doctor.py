"""kmodels doctor: each trap on a simulated machine, and the command on this one."""

import json
import os
import re
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from kmodels import cli
from kmodels.commands.doctor import datasets, page, probe
from kmodels.commands.doctor import machine as machines
from kmodels.commands.doctor.machine import Gpu, Machine, Probe
from kmodels.commands.doctor.traps import HINT, RISK, STOPS, TRAPS, find_problems

GIB = 2**30
H100 = Gpu("NVIDIA H100", (9, 0), 80 * GIB, 79 * GIB)
T4 = Gpu("Tesla T4", (7, 5), 15 * GIB, 14 * GIB)
P100 = Gpu("Tesla P100", (6, 0), 16 * GIB, 15 * GIB)
WORKS = Probe("NVIDIA H100", "bfloat16", 2.0, 1.0, 0.01)
ON_CPU = replace(WORKS, device="cpu (2 cores)", precision="float32")
FAILED = Probe(error="XlaRuntimeError: no kernel image", doing="computing a training step")
TORCH = replace(WORKS, torch_cuda="12.8", torch_architectures=("sm_75", "sm_80", "sm_90", "compute_120"))
VERSIONS = {"keras": "3.15.1", "jax": "0.10.2", "jaxlib": "0.10.2", "tensorflow-cpu": "2.21.0", "torch": "2.13.0"}
PLUGIN = {**VERSIONS, "jax-cuda12-plugin": "0.10.2", "nvidia-cudnn-cu12": "9.10.2.21"}
PLUGIN_13 = {**VERSIONS, "jax-cuda13-plugin": "0.10.2", "nvidia-cudnn-cu13": "9.14.0.1"}
REQUIRED = ("keras>=3.13", "jax>=0.7", "tyro>=1.0", "tensorflow-cpu>=2.20", "importlib_resources>=6")
CPU = Machine(backend="tensorflow", versions=VERSIONS, probe=ON_CPU, disk_free=9 * GIB, memory_free=9 * GIB)
GPU = replace(CPU, backend="jax", versions=PLUGIN, gpus=(H100,), gpu_seen="nvidia-smi", driver="580.65.06", probe=WORKS)
JAX_CPU = replace(CPU, backend="jax")
INSTALLED = {**VERSIONS, "tyro": "1.0.1", "importlib_resources": "6.5"}


def on(machine, **changes):
    return replace(machine, **changes)


# Machine, the level of its problem, words of what was found, words of what mends it.
TRAPPED = {
    "backend unknown": (on(CPU, backend="tensorflw", probe=None), STOPS, "mean tensorflow", "KERAS_BACKEND=jax"),
    "backend missing": (
        on(CPU, backend="torch", versions={**VERSIONS, "torch": None}, probe=None),
        STOPS,
        "torch is not installed",
        "pip install torch export KERAS_BACKEND=jax",
    ),
    "backend broken": (
        on(CPU, probe=Probe(error="ImportError: libcudart", package="torch", doing="importing Keras")),
        STOPS,
        "importing Keras",
        "--force-reinstall --no-deps torch",
    ),
    "module missing": (
        on(
            CPU,
            probe=Probe(
                error="ModuleNotFoundError: No module named 'h5py'", package="h5py", doing="computing a training step"
            ),
        ),
        STOPS,
        "h5py",
        "pip install h5py",
    ),
    "memory of the GPU taken": (
        on(
            GPU,
            probe=Probe(error="XlaRuntimeError: RESOURCE_EXHAUSTED: Out of memory", doing="computing a training step"),
        ),
        STOPS,
        "RESOURCE_EXHAUSTED",
        "nvidia-smi",
    ),
    "JAX told to use a device that is not there": (
        on(
            JAX_CPU,
            environment={"JAX_PLATFORMS": "cuda"},
            probe=Probe(error="AssertionError: ", package="jax", doing="looking for the device"),
        ),
        STOPS,
        "JAX_PLATFORMS=cuda, and JAX finds no such device",
        "unset JAX_PLATFORMS",
    ),
    "crash": (
        on(
            CPU,
            probe=Probe(
                error="its process was ended by SIGILL", doing="computing a training step", last_line="bad CPU"
            ),
        ),
        STOPS,
        "SIGILL. The last that was written: bad CPU",
        "python -c",
    ),
    "library broken": (
        on(CPU, probe=replace(ON_CPU, broken={"sklearn": "ValueError: numpy.dtype size", "PIL": "ImportError: x"})),
        STOPS,
        "sklearn cannot be imported: ValueError.* PIL",
        "--no-deps scikit-learn pillow",
    ),
    "jax without its plugin": (
        on(GPU, versions=VERSIONS, probe=ON_CPU),
        RISK,
        "Found NVIDIA H100.*plugin",
        r"jax\[cuda13\]==0.10",
    ),
    "the same on an older GPU": (
        on(GPU, versions=VERSIONS, gpus=(P100,), probe=ON_CPU),
        RISK,
        "P100.*plugin",
        r"jax\[cuda12\]==0.10",
    ),
    "the same without nvidia-smi": (
        on(GPU, versions=VERSIONS, gpus=(), driver=None, gpu_seen="/dev/nvidia0", probe=ON_CPU),
        RISK,
        "an NVIDIA GPU.*plugin",
        r"jax\[cuda12\]",
    ),
    "plugin of another version": (
        on(GPU, versions={**PLUGIN, "jax-cuda12-plugin": "0.10.1"}, probe=ON_CPU),
        RISK,
        "jax-cuda12-plugin 0.10.1 and jaxlib 0.10.2",
        r'"jax\[cuda12\]==0.10.2"',
    ),
    "plugin does not start": (
        on(GPU, probe=replace(ON_CPU, last_line="Unable to load cuSPARSE")),
        RISK,
        "jax computes on the CPU. It wrote: Unable to load cuSPARSE",
        "jax.devices",
    ),
    "tensorflow for CPUs": (
        on(GPU, backend="tensorflow", tensorflow_has_cuda=False, probe=ON_CPU),
        RISK,
        "TensorFlow is for CPUs",
        r"tensorflow\[and-cuda\]==2.21.0",
    ),
    "torch for CPUs": (
        on(GPU, backend="torch", probe=replace(ON_CPU, torch_cuda="")),
        RISK,
        "torch is for CPUs",
        "whl/cu130",
    ),
    "GPU hidden": (
        on(GPU, environment={"CUDA_VISIBLE_DEVICES": "-1"}, probe=ON_CPU),
        HINT,
        "hides",
        "unset CUDA_VISIBLE_DEVICES",
    ),
    "JAX kept from it": (
        on(GPU, environment={"JAX_PLATFORMS": "cpu"}, probe=ON_CPU),
        HINT,
        "JAX_PLATFORMS=cpu",
        "unset JAX_PLATFORMS",
    ),
    "CUDA 13 on a P100": (
        on(GPU, versions={**PLUGIN_13, "nvidia-cudnn-cu13": None}, gpus=(P100,), probe=ON_CPU),
        RISK,
        "SM 7.5, and Tesla P100 has SM 6.0",
        r"uninstall -y jax-cuda13-plugin .*jax\[cuda12\]",
    ),
    "CUDA 13 with an old driver": (
        on(GPU, versions=PLUGIN_13, driver="570.86.15", probe=ON_CPU),
        RISK,
        "driver of at least 580, and here is 570",
        r"jax\[cuda12\]",
    ),
    "torch of CUDA 13 with an old driver": (
        on(GPU, backend="torch", driver="550.54", probe=replace(ON_CPU, torch_cuda="13.0")),
        RISK,
        "torch is installed for CUDA 13.*580",
        "whl/cu126",
    ),
    "CUDA 12 with an old driver": (on(GPU, driver="470.82", probe=ON_CPU), RISK, "525.*470", "driver 525"),
    "cuDNN 9.11 on a T4": (
        on(GPU, versions={**PLUGIN, "nvidia-cudnn-cu12": "9.11.0.98"}, gpus=(T4,)),
        RISK,
        "cuDNN 9.11.0.98.*T4",
        r'"nvidia-cudnn-cu12>=9.8,<9.11"',
    ),
    "cuDNN of CUDA 13 on a T4": (on(GPU, versions=PLUGIN_13, gpus=(T4,)), RISK, "cuDNN 9.14", r"jax\[cuda12\]"),
    "torch without kernels": (
        on(GPU, backend="torch", gpus=(P100,), probe=TORCH),
        STOPS,
        "no kernels for Tesla P100",
        "KERAS_BACKEND=jax",
    ),
    "TensorFlow beside JAX": (
        on(GPU, tensorflow_has_cuda=True, tensorflow_gpus=0),
        HINT,
        "hides the GPU from it.*works",
        "set_visible_devices",
    ),
    "TensorFlow that cannot be hidden": (
        on(GPU, tensorflow_has_cuda=True, tensorflow_gpus=1),
        RISK,
        "still sees it",
        "pip install tensorflow-cpu",
    ),
    "library path, no GPU used": (
        on(
            GPU,
            environment={"LD_LIBRARY_PATH": "/usr/local/nvidia/lib64:/usr/local/cuda/lib64/"},
            cuda_folders=("/usr/local/cuda/lib64",),
            probe=ON_CPU,
        ),
        RISK,
        "LD_LIBRARY_PATH has /usr/local/cuda/lib64",
        "export LD_LIBRARY_PATH=/usr/local/nvidia/lib64$",
    ),
    "library path, harmless": (
        on(GPU, environment={"LD_LIBRARY_PATH": "/cuda"}, cuda_folders=("/cuda",)),
        HINT,
        "worked nevertheless",
        "unset LD_LIBRARY_PATH",
    ),
    "jaxlib that validates wrongly": (
        on(JAX_CPU, versions={**VERSIONS, "jaxlib": "0.7.2"}, environment={"XLA_FLAGS": "--xla_cpu_use_xnnpack=true"}),
        RISK,
        "jaxlib 0.7.2 computes wrong validation",
        "XLA_FLAGS=.*xnnpack=false",
    ),
    "the same, cured": (
        on(JAX_CPU, versions={**VERSIONS, "jaxlib": "0.8.1"}, environment={"XLA_FLAGS": "--xla_cpu_use_xnnpack=false"}),
        HINT,
        "cures",
        "nothing to do",
    ),
    "no GPU, jax": (JAX_CPU, HINT, "twice as fast as JAX", "KERAS_BACKEND=tensorflow"),
    "no GPU, torch": (on(CPU, backend="torch"), HINT, "TensorFlow trains", "KERAS_BACKEND=tensorflow"),
    "old package": (
        on(CPU, requirements=REQUIRED, versions={**INSTALLED, "keras": "3.4.1"}),
        RISK,
        "keras 3.4.1 .needs >=3.13",
        'pip install "keras>=3.13"',
    ),
    "package missing": (
        on(CPU, requirements=REQUIRED, versions={**INSTALLED, "tyro": None}),
        STOPS,
        "not installed: tyro",
        "pip install tyro",
    ),
    "no importlib_resources": (
        on(CPU, requirements=REQUIRED, versions={**INSTALLED, "importlib_resources": None}),
        RISK,
        "CIFAR.*importlib_resources",
        "pip install importlib_resources",
    ),
    "cache": (on(CPU, cache_error="cannot write into the folder '/x': Read-only"), STOPS, "/x", "KMODELS_CACHE="),
    "full disk": (on(CPU, cache="/x", disk_free=5000), STOPS, "full", "KMODELS_CACHE="),
    "little disk": (on(CPU, cache="/x", disk_free=GIB), RISK, "1.0 GiB left", "KMODELS_CACHE="),
    "little memory": (on(CPU, memory_free=GIB // 4), RISK, "256 MiB of memory", "--batch-size"),
    "little memory on the GPU": (
        on(GPU, gpus=(replace(H100, memory_free=GIB),)),
        RISK,
        "1.0 GiB of the GPU",
        "nvidia-smi",
    ),
}


@pytest.mark.parametrize(("machine", "level", "found", "mend"), TRAPPED.values(), ids=TRAPPED)
def test_a_trap_is_found_with_what_mends_it(machine, level, found, mend):
    problems = find_problems(machine)
    assert [problem.level for problem in problems][:1] == [level] or level == RISK
    matching = [
        each
        for each in problems
        if re.search(found, each.found) and re.search(mend, f"{each.mend} {each.advice}".strip())
    ]
    assert [each.level for each in matching] == [level], problems
    text = page.as_text(machine, problems)
    assert all(len(line) <= 80 or " " not in line.strip() for line in text.splitlines()), text
    assert text.startswith("Training will not work") == (level == STOPS)
    json.dumps(page.as_json(machine, problems))


def test_every_trap_is_tried():
    found = {trap for trap in TRAPS for machine, *_ in TRAPPED.values() if trap(machine)}
    assert found | {trap for trap in TRAPS if trap.__name__ == "no_training_step"} == set(TRAPS)


@pytest.mark.parametrize(
    "machine",
    [
        CPU,
        GPU,
        on(GPU, gpus=(T4,)),
        on(GPU, backend="torch", probe=TORCH),
        # Newer than any kernel, but compiled when it is loaded.
        on(GPU, backend="torch", gpus=(Gpu("new", (12, 1)),), probe=TORCH),
        on(GPU, backend="tensorflow", versions={**PLUGIN, "tensorflow": "2.21.0"}, tensorflow_has_cuda=True),
        # Kaggle's: driver libraries alone are in LD_LIBRARY_PATH.
        on(GPU, environment={"LD_LIBRARY_PATH": "/usr/local/nvidia/lib64"}),
        on(CPU, requirements=REQUIRED, versions=INSTALLED),
        # A backend that is not in use need not be there.
        on(CPU, requirements=REQUIRED, versions={**INSTALLED, "jax": None}),
    ],
)
def test_a_machine_without_a_trap_has_no_problem(machine):
    assert find_problems(machine) == []


def test_a_failed_step_makes_the_likely_cause_as_grave():
    machine = on(GPU, versions=PLUGIN_13, gpus=(P100,), probe=FAILED)
    assert {problem.level for problem in find_problems(machine)} == {STOPS}


@pytest.mark.parametrize(("machine", "status"), [(CPU, 0), (JAX_CPU, 0), (on(CPU, disk_free=0), 1)])
def test_exit_status_tells_whether_training_will_work(kmodels_command, monkeypatch, machine, status):
    monkeypatch.setattr(machines, "describe", lambda: machine)
    assert kmodels_command("doctor")[0] == status
    status_of_json, out, _ = kmodels_command("doctor", "--json")
    assert status_of_json == status
    told = json.loads(out)
    assert told["training_works"] == (status == 0)
    assert set(told["machine"]) == {each.name for each in fields(Machine)}


@pytest.fixture
def with_broken(tmp_path):
    """Runs kmodels in a process in which importing these packages raises."""

    def call(packages, *arguments, error="OSError('libbroken.so: cannot open')"):
        for package in packages:
            folder = tmp_path / "site-packages" / package
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "__init__.py").write_text(f"raise {error}\n")
        path = os.pathsep.join([str(tmp_path / "site-packages"), str(Path(cli.__file__).parents[1])])
        environment = {**os.environ, "PYTHONPATH": path, "KMODELS_CACHE": str(tmp_path)}
        command = [sys.executable, "-m", "kmodels", *arguments]
        return subprocess.run(command, capture_output=True, text=True, env=environment)

    return call


# Without tyro there is no command line; and a broken Keras spares the training step.
@pytest.mark.parametrize("packages", [("numpy",), ("keras",), ("keras", "tyro")])
def test_a_broken_library_is_a_problem_and_no_traceback(with_broken, packages):
    done = with_broken(packages, "doctor", "--json")
    assert (done.returncode, done.stderr) == (1, "")
    problem, *_ = json.loads(done.stdout)["problems"]
    assert problem["level"] == STOPS
    assert "libbroken.so" in problem["found"]
    assert problem["mend"] == f"pip install --force-reinstall --no-deps {packages[0]}"


def test_doctor_runs_without_tyro(with_broken):
    error = "ModuleNotFoundError('libbroken.so', name=__name__)"
    done = with_broken(("keras", "tyro"), "doctor", error=error)
    assert (done.returncode, done.stderr) == (1, "")
    assert "mend: pip install keras" in done.stdout


def test_other_commands_send_the_user_to_doctor_where_a_library_is_broken(with_broken):
    done = with_broken(("tyro",), "models")
    assert done.returncode == 2
    assert "libbroken.so" in done.stderr
    assert "kmodels doctor" in done.stderr
    assert "Traceback" not in done.stderr


def test_modules_that_cannot_be_imported_are_told_after_the_step(tmp_path, monkeypatch):
    (tmp_path / "broken_module.py").write_text("raise AttributeError('gone')\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(probe, "_train", lambda tell: tell(device="cpu"))
    # Loads the backend.
    monkeypatch.setitem(sys.modules, "kmodels.report.architecture", None)
    monkeypatch.setattr(sys, "argv", ["probe", str(tmp_path / "facts"), "json", "broken_module"])
    assert probe.run() == 0
    facts = [json.loads(line) for line in (tmp_path / "facts").read_text().splitlines()]
    assert {"broken": {"broken_module": "AttributeError: gone"}} in facts


def test_a_backend_that_hangs_or_crashes_is_said(tmp_path, monkeypatch):
    (tmp_path / "keras.py").write_text("import os, time; time.sleep(60) if 'HANG' in os.environ else os.abort()\n")
    monkeypatch.syspath_prepend(tmp_path)
    crashed = machines._probe([])
    assert "SIGABRT" in crashed.error
    assert "importing" in crashed.doing
    monkeypatch.setenv("HANG", "1")
    assert "within 2 seconds" in machines._probe([], seconds=2).error


def test_a_cache_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("KMODELS_CACHE", str(tmp_path / "file"))
    cache, error = machines._cache()
    assert cache == str(tmp_path / "file")
    assert "is a file" in error


def test_a_user_without_a_home_folder_is_told_where_the_cache_can_be(without_home):
    cache, error = machines._cache()
    assert cache is None
    (problem,) = find_problems(on(CPU, cache=cache, cache_error=error))
    assert "no home folder" in problem.found
    assert problem.mend == "export KMODELS_CACHE=FOLDER"


def test_gpus_are_read_from_nvidia_smi(tmp_path, monkeypatch):
    command = tmp_path / "nvidia-smi"
    command.write_text(
        "#!/bin/sh\necho '7.5, 580.65.06, 15360, 14900, Tesla T4'\necho '[N/A], 580.65.06, x, x, Odd, one'\n"
    )
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    gpus, driver = machines._nvidia_smi()
    assert gpus == (Gpu("Tesla T4", (7, 5), 15360 * 2**20, 14900 * 2**20), Gpu("Odd, one"))
    assert driver == "580.65.06"


def test_only_folders_with_cuda_libraries_count(tmp_path):
    for name in ("driver", "cuda"):
        (tmp_path / name).mkdir()
    (tmp_path / "driver/libcuda.so.1").touch()
    (tmp_path / "cuda/libcudnn.so.9").touch()
    path = os.pathsep.join(map(str, ("", tmp_path / "driver", tmp_path / "cuda", tmp_path / "none")))
    assert machines._cuda_folders(path) == (str(tmp_path / "cuda"),)


def test_requirements_are_those_of_the_package():
    assert any(line.startswith("keras>=") for line in machines._requirements())
    assert not any("pytest" in line for line in machines._requirements())


def test_prepared_and_attached_datasets_are_found(tmp_path, monkeypatch):
    from kmodels.data import intel_scenes

    cache, kaggle = tmp_path / "cache", tmp_path / "input"
    for name in ("KMODELS_CACHE", "TFDS_DATA_DIR", "KAGGLE_INPUT"):
        monkeypatch.setenv(name, str({"KMODELS_CACHE": cache, "KAGGLE_INPUT": kaggle}.get(name, tmp_path / "none")))
    for name in ("digits-0123456789ab", "tfds_mnist-0123456789ab"):
        (cache / name).mkdir(parents=True)
        np.save(cache / name / "train_images.npy", np.zeros((2, 8, 9, 3), np.uint8))
    # Both layouts.
    scenes, stl = kaggle / "datasets/someone/intel-image-classification", kaggle / "stl"
    for label in intel_scenes.CLASSES:
        (scenes / "seg_train/seg_train" / label).mkdir(parents=True)
    stl.mkdir()
    (stl / "stl10_binary.tar.gz").touch()
    found = datasets.find_datasets()
    assert {(each.name, each.what, each.path, each.pixels) for each in found} == {
        ("digits", "prepared", str(cache / "digits-0123456789ab"), (8, 9)),
        ("tfds_mnist", "prepared", str(cache / "tfds_mnist-0123456789ab"), (8, 9)),
        ("intel_scenes", "attached on Kaggle", str(scenes), None),
        ("stl10_5", "attached on Kaggle", str(stl / "stl10_binary.tar.gz"), None),
    }
    told = " ".join(page.as_text(on(CPU, datasets=found), []).split())
    assert "digits: prepared at 9x8 pixels" in told
    assert f"intel_scenes: attached on Kaggle, {scenes}" in told
