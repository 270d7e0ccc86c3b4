"""From a folder of photographs to a prediction without Keras, command by command, as one page: results/photographs.md.

    pip install "kmodels[pretrained,export]"; pip install --no-deps efficientnet-lite-pytorch
    python experiments/photographs/transcript.py FOLDER --new PHOTOGRAPHS

FOLDER has a folder of photographs for each class, or train and test with these in them; PHOTOGRAPHS is a folder of
others. Everything is run here and now, in an empty folder, on the backend of KERAS_BACKEND; the page has what the
commands printed and how long they took; of other backends (--also) only the times. With 240 photographs of six classes
it takes some minutes a backend on two CPU cores.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from kmodels.backend import device_name
from kmodels.files import write_atomically

HERE, ROOT = Path(__file__).parent, Path(__file__).parents[2]
PAGE = ROOT / "results" / "photographs.md"
# How the line of `kmodels train` begins that says how good the classifier is.
BEST = "best on the validation images: "
STEPS = (
    ("Train. The best classifier is named at the end.", "kmodels train scenes"),
    ("The same in PyTorch: a linear probe of the same weights, on the same images.", "python torch_probe.py scenes"),
    ("Is fine-tuning better than the probe?", "kmodels compare runs/scenes/probe runs/scenes/finetuned"),
    ("Use the best one.", "kmodels predict runs/scenes new --top 2"),
    ("See what it gets wrong.", "kmodels mistakes runs/scenes --number 8"),
    ("Take it elsewhere.", "kmodels export runs/scenes --format onnx --images {labelled} --out scenes.onnx"),
    ("There it needs no Keras.", "python onnx_runtime.py scenes.onnx new/*"),
    (
        "On a phone: eight bits, and what they cost on the validation images.",
        "kmodels export runs/scenes --format litert --quantise int8 --out scenes.tflite",
    ),
)


def main():
    """Runs every step on every backend and writes the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="photographs to learn from")
    parser.add_argument("--new", type=Path, required=True, help="other photographs")
    parser.add_argument("--also", nargs="*", default=[], help="backends to do the same on; of these only the times")
    arguments = parser.parse_args()
    first = os.environ.get("KERAS_BACKEND", "jax")
    done = {backend: _run(backend, arguments.folder, arguments.new) for backend in [first, *arguments.also]}
    head = (
        "# From a folder of photographs to a classifier in use\n\n"
        "Written by `python experiments/photographs/transcript.py`: each command as it was typed, what it printed, and "
        f"how long it took, on {device_name()}, {first}.\n"
    )
    parts = [_part(title, one) for (title, _), one in zip(STEPS, done[first], strict=True)]
    write_atomically(PAGE, "\n".join([head, *parts, *([_table(done)] if arguments.also else [])]))
    print(PAGE)


class Done(NamedTuple):
    """A command, what it printed, and how long it took."""

    command: str
    text: str
    seconds: float


def _run(backend, photographs, new):
    """A Done for each step, in an empty folder."""
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        for name, target in (("scenes", photographs), ("new", new)):
            (here / name).symlink_to(target.resolve())
        for script in (HERE / "torch_probe.py", ROOT / "experiments" / "serving" / "onnx_runtime.py"):
            (here / script.name).symlink_to(script)
        hidden = {str(photographs.resolve()): "scenes", str(here.resolve()): "."}
        labelled = "scenes/test" if (here / "scenes" / "test").is_dir() else "scenes"
        return [_step(command.format(labelled=labelled), backend, here, hidden) for _, command in STEPS]


def _step(command, backend, here, hidden):
    print(f"{backend}$ {command}", flush=True)
    # The kmodels and python of this environment, whatever PATH says, and a cache of its own.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "KMODELS_CACHE": str(here / "cache"), "PYTHONPATH": str(ROOT)}
    environment["KERAS_BACKEND"] = backend
    start = time.perf_counter()
    done = subprocess.run(command, shell=True, cwd=here, env=environment, capture_output=True, text=True)
    seconds = time.perf_counter() - start
    if done.returncode:
        raise SystemExit(f"{command} failed with status {done.returncode}:\n{done.stderr[-2000:]}")
    text = done.stdout.strip("\n")
    for real, shown in hidden.items():
        text = text.replace(f"file://{real}", shown).replace(real, shown)
    print(f"{text}\n({seconds:.0f} s)\n", flush=True)
    return Done(command, text, seconds)


def _part(title, done):
    return f"{title}\n\n```console\n$ {done.command}\n{done.text}\n```\n\n{done.seconds:.0f} seconds.\n"


def _table(done):
    """Seconds of every command on every backend."""
    rows = [f"| seconds | {' | '.join(done)} |", f"|---|{'---:|' * len(done)}"]
    for steps in zip(*done.values(), strict=True):
        rows.append(f"| `{steps[0].command}` | {' | '.join(f'{step.seconds:.0f}' for step in steps)} |")
    best = [next(line for line in steps[0].text.splitlines() if line.startswith(BEST)) for steps in done.values()]
    said = [f"- {backend}: {line.removeprefix(BEST)}" for backend, line in zip(done, best, strict=True)]
    return "\n".join(["The same on other backends. Best on the validation images:\n", *said, "", *rows, ""])


if __name__ == "__main__":
    main()
