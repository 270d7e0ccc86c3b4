"""`kmodels run`: the experiments of the reports from a checkout, and from a wheel alone."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from setuptools import find_packages

import kmodels
from kmodels import catalogue

ROOT = Path(kmodels.__file__).parents[1]


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder with what is in the wheel, and nothing else of the checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    # Setuptools builds beside the sources; a link keeps the checkout clean.
    source = folder / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE", "kmodels", "experiments"):
        (source / name).symlink_to(ROOT / name)
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", str(folder), "."]
    subprocess.run(command, cwd=source, check=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def kmodels_command(*arguments, path, cwd):
    environment = {**os.environ, "PYTHONPATH": str(path)}
    command = [sys.executable, "-m", "kmodels", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)


def test_a_wheel_has_every_package_and_file(installed):
    packages = [name for name in find_packages(str(ROOT)) if name.split(".")[0] == "kmodels"]
    files = [path for name in packages for path in (ROOT / name.replace(".", "/")).rglob("*") if path.is_file()]
    wanted = {str(path.relative_to(ROOT)) for path in files if path.suffix in (".py", ".json", ".j2")}
    wanted |= {f"kmodels/{path.relative_to(ROOT)}" for path in (ROOT / "experiments").glob("*.py")}
    assert wanted <= {str(path.relative_to(installed)) for path in installed.rglob("*")}


def test_experiments_are_run_from_a_wheel_alone_in_any_folder(installed, tmp_path):
    # Somebody else's folder of this name is not meant.
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "__init__.py").write_text("raise SystemExit('imported')\n")
    listed = kmodels_command("run", "m1", "quickstart", "--list", path=installed, cwd=tmp_path)
    assert [line.split()[0] for line in listed.stdout.splitlines()[2:]] == ["m1", "digits"]
    flags = ("--epochs", "1", "--subset", "200", "--model", "mlp", "--image-size", "8")
    done = kmodels_command("run", "quickstart", *flags, path=installed, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "results" / "quickstart" / "digits").glob("*.json"))) == 1


def test_a_checkout_has_the_same_experiments_without_being_installed(tmp_path):
    listed = kmodels_command("run", "--list", path=ROOT, cwd=tmp_path)
    script = [sys.executable, "-m", "experiments", "--list"]
    assert subprocess.run(script, cwd=ROOT, capture_output=True, text=True).stdout == listed.stdout
    assert len(listed.stdout.splitlines()) > 50


def test_unknown_names_and_missing_experiments_are_said(installed, tmp_path, monkeypatch):
    done = kmodels_command("run", "cifar10_small_cnn", path=installed, cwd=tmp_path)
    assert (done.returncode, "did you mean cifar10_small_cnns" in done.stderr) == (2, True)
    done = kmodels_command("run", "--out", tmp_path / "all", path=installed, cwd=tmp_path)
    assert (done.returncode, done.stderr.startswith("error: give reports or experiments")) == (2, True)
    monkeypatch.setattr(catalogue, "PACKAGE", "kmodels.no_such_package")
    monkeypatch.setattr(catalogue, "__file__", str(installed / "kmodels" / "catalogue.py"))
    with pytest.raises(kmodels.InputError, match="pip install"):
        catalogue.reports()
