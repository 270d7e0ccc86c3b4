"""One benchmark from settings to file, table and chart."""

import datetime
import json
import re
from dataclasses import asdict
from importlib import import_module
from pathlib import Path

from kmodels.bench import tables
from kmodels.bench.contenders import HELPERS
from kmodels.bench.workers import Worker, WorkerError
from kmodels.errors import InputError
from kmodels.files import writable_folder, write_atomically


def bench(settings, out, say=print):
    """Measures, and writes `<out>/<device>-<time>.json` after everything measured, with a chart beside it at the end.

    Args:
        settings: a Settings.
        out: the folder.
        say: takes lines on how far it is, and the tables.

    Returns:
        The paths written.

    Raises:
        InputError: for a folder that cannot be written, or a device that cannot be used.
    """
    writable_folder(out)
    device = _probe()
    started = datetime.datetime.now(datetime.UTC)
    path = Path(out) / f"{_name(device['environment']['device'])}-{started:%Y-%m-%dT%H-%M-%S}.json"
    results = {
        "started": started.isoformat(timespec="seconds"),
        "environment": device["environment"],
        "settings": asdict(settings),
        "sections": {},
    }
    say(f"{device['environment']['device']}; {settings.precision}, {settings.optimizer}, {settings.repeats} rounds")
    for section in settings.sections:
        measure = import_module(f"kmodels.bench.{section}").measure
        rows = results["sections"][section] = []
        for row in measure(settings, device["gpu"], say):
            rows.append(row)
            # What was measured stays if what follows is interrupted.
            _write(path, results)
    _write(path, results)
    say(f"\n{tables.text(results)}\n")
    return [path, *_chart(results, path)]


def _write(path, results):
    write_atomically(path, json.dumps(results, indent=1) + "\n")


def _chart(results, path):
    # matplotlib takes a second to import.
    from kmodels.bench.chart import chart

    figure = chart(results)
    if figure is None:
        return []
    picture = path.with_suffix(".png")
    figure.savefig(picture, dpi=120)
    return [picture]


def _probe():
    with Worker(HELPERS["matmul"]) as worker:
        try:
            job = {"model": "", "batch_size": 1, "image_size": 8}
            return worker.ask("call", function="kmodels.bench.run:look_at_device", job=job)
        except WorkerError as error:
            raise InputError(f"the device cannot be used: {error}") from error


def look_at_device(job, report):
    """{"gpu": whether JAX computes on one, "environment": as a record has it}; in a worker."""
    import jax

    from kmodels.training.environment import environment

    return {"gpu": jax.devices()[0].platform == "gpu", "environment": environment()}


def _name(device):
    """ "NVIDIA H200" -> "nvidia-h200"."""
    return re.sub(r"[^a-z0-9]+", "-", device.lower()).strip("-")
