"""One benchmark from settings to file, table and chart."""

import datetime
import json
import re
from dataclasses import asdict
from pathlib import Path

from kmodels.bench import tables
from kmodels.bench.contenders import HELPERS
from kmodels.bench.sections import MEASURES
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
    gpu, environment = _look_at_device()
    started = datetime.datetime.now(datetime.UTC)
    # "NVIDIA H200" -> "nvidia-h200".
    device = re.sub(r"[^a-z0-9]+", "-", environment["device"].lower()).strip("-")
    path = Path(out) / f"{device}-{started:%Y-%m-%dT%H-%M-%S}.json"
    results = {
        "started": started.isoformat(timespec="seconds"),
        "environment": environment,
        "settings": asdict(settings),
        "sections": {section: [] for section in settings.sections},
    }
    say(f"{environment['device']}; {settings.precision}, {settings.optimizer}, {settings.repeats} rounds")
    for section, rows in results["sections"].items():
        for row in MEASURES[section](settings, gpu, say):
            rows.append(row)
            # What was measured stays if what follows is interrupted.
            write_atomically(path, json.dumps(results, indent=1) + "\n")
    write_atomically(path, json.dumps(results, indent=1) + "\n")
    say(f"\n{tables.text(results)}\n")
    return [path, *_draw(results, path.with_suffix(".png"))]


def _draw(results, path):
    # matplotlib takes a second to import.
    from kmodels.bench.chart import chart

    figure = chart(results)
    if figure is None:
        return []
    figure.savefig(path, dpi=120)
    return [path]


def _look_at_device():
    with Worker(HELPERS["matmul"]) as worker:
        try:
            return worker.ask("call", function="kmodels.bench.run:device_of_worker")
        except WorkerError as error:
            raise InputError(f"the device cannot be used: {error}") from error


def device_of_worker(report):
    """Whether JAX computes on a GPU, and the environment as a record has it; in a worker."""
    import jax

    from kmodels.training.environment import environment

    return jax.devices()[0].platform == "gpu", environment()
