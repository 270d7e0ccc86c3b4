"""What only a process that loads the backend can tell, and two training steps there.

Facts go into a file, as one JSON object a line, each as soon as it is known: libraries may crash, or wait for ever.
"""

import contextlib
import importlib
import json
import site
import sys
import time
import traceback
from pathlib import Path

# Of the steps' images: enough for a convolution and a pooling.
SIDE, IMAGES, CLASSES = 16, 8, 4


def run():
    """Writes the facts into the file that is the first argument; returns an exit status.

    The other arguments are modules, imported last, to see whether they can be.
    """
    path, *modules = sys.argv[1:]
    with open(path, "a", encoding="utf-8") as file:

        def tell(**facts):
            print(json.dumps(facts), file=file, flush=True)

        try:
            _train(tell)
            tell(doing="")
        except Exception as error:
            tell(error=f"{type(error).__name__}: {error}", package=_package(error))
            return 1
        broken = {}
        for module in modules:
            try:
                importlib.import_module(module)
            except Exception as error:
                broken[module] = f"{type(error).__name__}: {error}"
        tell(broken=broken)
        with contextlib.suppress(Exception):
            from kmodels.report.architecture import can_draw

            tell(drawing=can_draw())
    return 0


def _train(tell):
    tell(doing="importing Keras and its backend")
    started = time.perf_counter()
    import keras
    import numpy as np

    from kmodels.backend import avoid_stale_weights, device_name
    from kmodels.training.precision import computing_in, resolve
    from kmodels.training.trainer import build_trainer

    avoid_stale_weights()
    tell(import_seconds=time.perf_counter() - started, doing="looking for the device")
    tell(device=device_name(), precision=resolve("auto"), **_build(keras.backend.backend()))
    tell(doing="computing a training step")
    started = time.perf_counter()
    with computing_in(resolve("auto")):
        network = keras.Sequential(
            [
                keras.Input((SIDE, SIDE, 3)),
                keras.layers.Rescaling(1 / 255),
                keras.layers.Conv2D(4, 3, activation="relu"),
                keras.layers.GlobalAveragePooling2D(),
                keras.layers.Dense(CLASSES),
                keras.layers.Activation("linear", dtype="float32"),
            ]
        )
        trainer = build_trainer(network, keras.optimizers.SGD(0.01))
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (IMAGES, SIDE, SIDE, 3), np.uint8)
    labels = np.arange(IMAGES, dtype="int32") % CLASSES
    losses = []
    for step in ("first", "second"):
        losses.append(float(trainer.train_on_batch(images, labels)[0]))
        tell(**{f"{step}_step_seconds": time.perf_counter() - started})
        started = time.perf_counter()
    if not np.isfinite(losses).all():
        raise FloatingPointError(f"the loss of a training step is {losses[-1]}")


def _build(backend):
    """What the backend was built for."""
    if backend == "torch":
        import torch

        cudnn = torch.backends.cudnn.version() if torch.version.cuda else None
        return {
            "torch_cuda": torch.version.cuda or "",
            "torch_architectures": torch.cuda.get_arch_list(),
            "torch_cudnn": ".".join(map(str, (cudnn // 10000, cudnn // 100 % 100, cudnn % 100))) if cudnn else None,
        }
    return {}


def _package(error):
    """The installed package whose code raised the error, else ""."""
    if isinstance(error, ModuleNotFoundError) and error.name:
        return error.name.split(".")[0]
    roots = [Path(root).resolve() for root in (*site.getsitepackages(), *sys.path) if root]
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        path = Path(frame.filename).resolve()
        for root in roots:
            if path.is_relative_to(root) and "-packages" in root.name:
                return path.relative_to(root).parts[0].removesuffix(".py")
    return ""


def count_tensorflow_gpus():
    """Prints how many GPUs TensorFlow has left after kmodels has told it to take none."""
    from kmodels.backend import import_tensorflow

    print("\nleft", len(import_tensorflow().config.get_visible_devices("GPU")))
