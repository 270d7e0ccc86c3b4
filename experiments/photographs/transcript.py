"""From a folder of photographs to a prediction without Keras, command by command, as one page: results/photographs.md.

    pip install "kmodels[pretrained,export]"; pip install --no-deps efficientnet-lite-pytorch
    python experiments/photographs/transcript.py FOLDER --new PHOTOGRAPHS

FOLDER has a folder of photographs for each class, or train and test with these in them; PHOTOGRAPHS is a folder of
others. Everything is run here and now, in an empty folder, on the backend of KERAS_BACKEND; the page has what the
commands printed and how long they took. With 240 photographs of six classes it takes some minutes on two CPU cores.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from kmodels.backend import device_name
from kmodels.files import write_atomically

HERE, ROOT = Path(__file__).parent, Path(__file__).parents[2]
PAGE = ROOT / "results" / "photographs.md"
STEPS = (
    ("Train. The best classifier is named at the end.", "kmodels train scenes"),
    ("The same in PyTorch: a linear probe of the same weights, on the same images.", "python torch_probe.py scenes"),
    ("Is fine-tuning better than the probe?", "kmodels compare runs/scenes/probe runs/scenes/finetuned"),
    ("Use it.", "kmodels predict runs/scenes/probe/*.keras new --top 2"),
    ("See what it gets wrong.", "kmodels mistakes runs/scenes/probe/*-seed0.json --number 8"),
    (
        "Take it elsewhere.",
        "kmodels export runs/scenes/probe/*.keras --format onnx --images {labelled} --out scenes.onnx",
    ),
    ("There it needs no Keras.", "python onnx_runtime.py scenes.onnx new/*"),
    (
        "On a phone: eight bits, and what they cost.",
        "kmodels export runs/scenes/probe/*.keras --format litert --quantise int8 --images {labelled}"
        " --out scenes.tflite",
    ),
)


def main():
    """Runs every step and writes the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="photographs to learn from")
    parser.add_argument("--new", type=Path, required=True, help="other photographs")
    arguments = parser.parse_args()
    backend = os.environ.get("KERAS_BACKEND", "jax")
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        for name, target in (("scenes", arguments.folder), ("new", arguments.new)):
            (here / name).symlink_to(target.resolve())
        for script in (HERE / "torch_probe.py", ROOT / "experiments" / "serving" / "onnx_runtime.py"):
            (here / script.name).symlink_to(script)
        hidden = {str(arguments.folder.resolve()): "scenes", str(here.resolve()): "."}
        labelled = "scenes/test" if (here / "scenes" / "test").is_dir() else "scenes"
        parts = [_step(title, command.format(labelled=labelled), here, hidden) for title, command in STEPS]
    head = (
        "# From a folder of photographs to a classifier in use\n\n"
        "Written by `python experiments/photographs/transcript.py`: each command as it was typed, what it printed, and "
        f"how long it took, on {device_name()}, {backend}.\n"
    )
    write_atomically(PAGE, "\n".join([head, *parts]))
    print(PAGE)


def _step(title, command, here, hidden):
    print(f"$ {command}", flush=True)
    # The kmodels and python of this environment, whatever PATH says, and a cache of its own.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "KMODELS_CACHE": str(here / "cache"), "PYTHONPATH": str(ROOT)}
    start = time.perf_counter()
    done = subprocess.run(command, shell=True, cwd=here, env=environment, capture_output=True, text=True)
    seconds = time.perf_counter() - start
    if done.returncode:
        raise SystemExit(f"{command} failed with status {done.returncode}:\n{done.stderr[-2000:]}")
    text = done.stdout.strip()
    for real, shown in hidden.items():
        text = text.replace(f"file://{real}", shown).replace(real, shown)
    print(f"{text}\n({seconds:.0f} s)\n", flush=True)
    return f"{title}\n\n```console\n$ {command}\n{text}\n```\n\n{seconds:.0f} seconds.\n"


if __name__ == "__main__":
    main()
