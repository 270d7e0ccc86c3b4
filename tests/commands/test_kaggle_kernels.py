"""Kernels for Kaggle: their files as Kaggle's own client reads them, and what runs in them."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest
from conftest import make_record

from kmodels import InputError, catalogue, cli, kernel, read_records
from kmodels.commands import kernel_notebook
from kmodels.commands.kaggle import KaggleCommand, wheel

CLIENT = """
import json, sys, types
from kaggle.api.kaggle_api_extended import KaggleApi
api, requests = KaggleApi(), []
client = types.SimpleNamespace(kernels=types.SimpleNamespace(
    kernels_api_client=types.SimpleNamespace(save_kernel=requests.append)))
class Context:
    def __enter__(self):
        return client
    def __exit__(self, *raised):
        pass
api.build_kaggle_client = Context
api.kernels_push(sys.argv[1])
(request,) = requests
print(json.dumps({name: getattr(request, name) for name in (
    "slug", "machine_shape", "enable_gpu", "enable_internet", "dataset_data_sources", "kernel_data_sources",
    "kernel_type", "is_private")}))
"""


@pytest.fixture
def export(tmp_path, monkeypatch, capsys):
    """`kmodels kaggle export ... --user jane`: the status, what was printed, and the folder."""

    def call(*arguments):
        out = tmp_path / "exported"
        monkeypatch.setattr(
            sys, "argv", ["kmodels", "kaggle", "export", *map(str, arguments), "--user", "jane", "--out", str(out)]
        )
        with pytest.raises(SystemExit) as end:
            cli.main()
        return end.value.code, capsys.readouterr(), out

    return call


def pushed(folder):
    """What Kaggle's client would send."""
    pytest.importorskip("kaggle.models", exc_type=ImportError)
    environment = {**os.environ, "KAGGLE_USERNAME": "jane", "KAGGLE_KEY": "0" * 32}
    done = subprocess.run(
        [sys.executable, "-c", CLIENT, str(folder)], capture_output=True, text=True, env=environment, check=True
    )
    *said, request = done.stdout.splitlines()
    # It has nothing to remark.
    assert said == []
    return json.loads(request)


def test_kaggles_client_takes_what_is_exported(export):
    status, _, out = export("intel_scenes/adam", "--seeds", 0, 1, "--data", "joe/more", "--resume")
    assert status == 0
    request = pushed(out / "kernel")
    assert request["slug"] == "jane/kmodels-intel-scenes-adam"
    assert (request["machine_shape"], request["enable_gpu"], request["enable_internet"]) == (
        "NvidiaTeslaT4",
        True,
        False,
    )
    assert request["dataset_data_sources"] == [
        "jane/kmodels-wheel",
        "puneet6060/intel-image-classification",
        "joe/more",
    ]
    assert request["kernel_data_sources"] == [request["slug"]]
    assert request["is_private"]
    (notebook,) = (out / "kernel").glob("*.ipynb")
    nbformat.validate(nbformat.read(notebook, 4))


def test_a_script_on_a_cpu_with_internet_needs_no_wheel(export):
    address = "git+https://example.org/kmodels.git"
    flags = ("--kind", "script", "--machine", "cpu", "--internet", "--install", address, "--backend", "tensorflow")
    status, _, out = export("cifar10_small_cnns", *flags, "--title", "My CNNs")
    assert status == 0
    request = pushed(out / "kernel")
    assert (request["slug"], request["kernel_type"]) == ("jane/my-cnns", "script")
    assert not request["machine_shape"]
    assert not request["dataset_data_sources"]
    assert not (out / "wheel").exists()
    text = (out / "kernel" / "my-cnns.py").read_text()
    compile(text, "my-cnns.py", "exec")
    assert address in text
    assert "\"KERAS_BACKEND\"] = 'tensorflow'" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("cifar10_small_cnns/m1",), "--data OWNER/NAME"),
        (("intel_scenes/adam", "--machine", "NvidiaTeslaP100"), "retired"),
        (("intel_scenes/adam", "--data", "scenes"), "OWNER/NAME"),
        ((), "give reports or experiments"),
        (("intel_scenes/adam", "--title", "abc"), "5 to 50 characters"),
        (("intel_scenes/adam", "--title", ""), "5 to 50 characters"),
        (("intel_scenes/adam", "--title", "a" * 51), "5 to 50 characters"),
        (("intel_scenes/adam", "--title", 3 * "\u6a21\u578b"), "latin letters or digits"),
        (("intel_scenes/adam", "--seeds"), "--seeds needs one or more numbers from 0 up"),
        (("intel_scenes/adam", "--seeds", "0", "-1"), "--seeds needs one or more numbers from 0 up"),
        (("intel_scenes/adam", "--install", "git+https://example.org"), "--internet"),
        (("intel_scene/adam",), "did you mean intel_scenes"),
    ],
)
def test_what_kaggle_would_refuse_is_refused_before(export, arguments, message):
    status, said, out = export(*arguments)
    assert status == 2
    assert message in said.err
    assert not out.exists()


def test_the_wheel_is_whole_and_pip_installs_it_without_a_network(tmp_path):
    name, content = wheel()
    (tmp_path / name).write_bytes(content)
    assert wheel() == (name, content)
    target = tmp_path / "site"
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-index", "--target", str(target)]
    subprocess.run([*command, str(tmp_path / name)], check=True)
    with zipfile.ZipFile(tmp_path / name) as archive:
        assert not any("__pycache__" in member for member in archive.namelist())
    code = "import kmodels.catalogue as c; print(c.__file__, sum(len(one.EXPERIMENTS) for one in c.reports()))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(target)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    path, number = done.stdout.split()
    assert path.startswith(str(target))
    assert int(number) > 90


@pytest.fixture
def small_report(tiny, monkeypatch):
    """A report of one experiment, as the only one there is."""
    report = SimpleNamespace(EXPERIMENTS=[replace(tiny, name="small/one")], FIGURES=(), CLAIMS=())
    monkeypatch.setattr(kernel, "reports", lambda: [report])
    return report


def test_the_newest_wheel_is_installed(tmp_path, monkeypatch):
    for version in ("0.9.0", "0.10.0"):
        (tmp_path / version).mkdir()
        (tmp_path / version / f"kmodels-{version}-py3-none-any.whl").touch()
    monkeypatch.setenv("KAGGLE_INPUT", str(tmp_path))
    commands = []
    monkeypatch.setattr(subprocess, "run", lambda command, **options: commands.append(command))
    exec(kernel_notebook.INSTALL.replace("ADDRESS", "'kmodels'"), {})
    assert commands[0][-1] == str(tmp_path / "0.10.0" / "kmodels-0.10.0-py3-none-any.whl")


@pytest.mark.parametrize("records", [[], [make_record(status="interrupted", test=None, history={})]])
def test_cells_that_show_results_say_where_there_are_none(records):
    names = {"records": records}
    for cell in (kernel_notebook.CURVES, kernel_notebook.CONFUSION):
        *statements, last = cell.splitlines()
        exec("\n".join(statements), names)
        assert isinstance(eval(last, names), str)


def test_a_kernel_goes_on_from_what_its_last_version_left(small_report, tmp_path, monkeypatch):
    attached = tmp_path / "input" / "notebooks" / "jane" / "small"
    monkeypatch.setenv("KAGGLE_INPUT", str(tmp_path / "input"))
    kernel.run_kernel(["small"], (0,), out=attached / "results")
    for path in attached.rglob("*"):
        path.chmod(0o555 if path.is_dir() else 0o444)
    out = tmp_path / "working" / "results"
    first, second = kernel.run_kernel(["small/one"], (0, 1), out=out, max_hours=1)
    assert (first.seed, second.seed) == (0, 1)
    assert {record.started for record in read_records(attached / "results").values()} == {first.started}
    assert len(read_records(out)) == 2


def test_an_interrupted_copy_of_earlier_results_is_repeated(tmp_path, monkeypatch):
    earlier = tmp_path / "input" / "jane" / "results" / "small" / "one-seed0.keras"
    earlier.parent.mkdir(parents=True)
    earlier.write_text("whole")
    monkeypatch.setenv("KAGGLE_INPUT", str(tmp_path / "input"))

    def interrupted(source, target):
        Path(target).write_text("wh")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copyfile", interrupted)
        with pytest.raises(KeyboardInterrupt):
            kernel.copy_earlier_results(tmp_path / "out")
    assert kernel.copy_earlier_results(tmp_path / "out") == 1
    (copied,) = (path for path in (tmp_path / "out").rglob("*") if path.is_file())
    assert copied.read_text() == "whole"


def test_a_name_and_a_seed_may_be_given_alone(small_report, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr("kmodels.training.sweeps.sweep", lambda *arguments, **options: asked.append(arguments) or ())
    kernel.run_kernel("small/one", 3, out=tmp_path)
    assert asked == [(small_report.EXPERIMENTS, [3], tmp_path)]
    for seeds in ((), (0, -1), (0.5,)):
        with pytest.raises(InputError, match="seeds needs one or more numbers from 0 up"):
            kernel.run_kernel("small/one", seeds, out=tmp_path)


def test_the_title_of_every_report_and_experiment_is_short_enough():
    experiments = [one.name for module in catalogue.reports() for one in module.EXPERIMENTS]
    for name in [*experiments, *(one.split("/")[0] for one in experiments)]:
        assert 5 <= len(KaggleCommand(action="export", names=(name,), user="jane")._title) <= 50


def test_several_gpus_do_a_run_each_and_a_single_run_is_divided(tiny, backend, monkeypatch):
    monkeypatch.setattr("kmodels.workers.visible_gpus", lambda: ["0", "1"])
    assert kernel._devices([tiny], (0, 1)) == {"devices": 2, "split": "runs"}
    divided = {"devices": 2} if backend == "jax" else {}
    assert kernel._devices([replace(tiny, batch_size=8)], (0,)) == divided
    assert kernel._devices([replace(tiny, batch_size=7)], (0,)) == {}
    child = replace(tiny, name="small/child", init_from=tiny.name, batch_size=7)
    assert kernel._devices([tiny, child], (0, 1)) in ({}, divided)
    monkeypatch.setattr("kmodels.workers.visible_gpus", lambda: [])
    assert kernel._devices([tiny], (0, 1)) == {}


def test_the_experiments_of_all_reports_have_names_of_their_own():
    names = [one.name for report in catalogue.reports() for one in report.EXPERIMENTS]
    assert len(set(names)) == len(names)
