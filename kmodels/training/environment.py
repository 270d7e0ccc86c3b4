"""What a record says of the machine and the code: versions, device, commit."""

import functools
import platform
import subprocess
from importlib import metadata
from pathlib import Path

import keras

import kmodels
from kmodels.backend import deterministic, device_name


def environment():
    """The record's fields backend, device, deterministic, versions and commit."""
    return {
        "backend": keras.backend.backend(),
        "device": device_name(),
        "deterministic": deterministic(),
        "versions": versions(),
        "commit": _commit(),
    }


@functools.cache
def versions():
    """Of all that decides the last digits of a result: {package: version}."""
    found = {"python": platform.python_version(), "kmodels": kmodels.__version__}
    for package in ("keras", "numpy", keras.backend.backend()):
        found[package] = getattr(__import__(package), "__version__", None) or metadata.version(package)
    return found


@functools.cache
def _commit():
    """The short commit of the checkout this file is in; None where it is installed outside one."""
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():
        return None

    def git(*arguments):
        return subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=True).stdout.strip()

    try:
        return git("rev-parse", "--short=10", "HEAD") + ("+" if git("status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.CalledProcessError):
        return None
