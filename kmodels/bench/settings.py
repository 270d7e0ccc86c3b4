"""What a benchmark measures, as plain values that are checked before anything heavy starts and travel as JSON."""

import importlib.util
from dataclasses import asdict, dataclass

from kmodels.bench.contenders import CONTENDERS
from kmodels.bench.gpu_target import require_plugin
from kmodels.errors import InputError, require, unknown
from kmodels.models import MODELS

SECTIONS = ("throughput", "callbacks", "startup", "memory", "deterministic", "profile", "kernels")
PRECISIONS = ("float32", "bfloat16")
OPTIMIZERS = ("adam", "sgd")
# Measured where no model is named, as far as they exist here: a small network, a wide one, deep ones.
DEFAULT_MODELS = ("model4", "alexnet_cifar", "resnet18_cifar", "resnet50", "densenet121")
# A deep network takes minutes a block on a processor.
CPU_MODELS = ("model4", "alexnet_cifar")
# The training images of CIFAR-10; of larger images fewer, for every contender holds its own.
EPOCH_IMAGES = 50_000
EPOCH_BYTES = 2**28
# Of an epoch as one program on a processor, where XLA runs convolutions inside a loop some sixty times slower.
CPU_PROGRAM_STEPS = 20


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The questions of one call of `kmodels bench`.

    Attributes:
        models: names of networks; empty: the default for the device.
        batch_sizes: images a training step; each model is measured with each.
        image_size: height and width in pixels.
        repeats: timed blocks of each contender.
        block_seconds: how long a block is to take at least, after calibration.
        contenders: who trains; empty: the default for the device.
        sections: which of SECTIONS.
        precision: one of PRECISIONS, for all contenders.
        optimizer: one of OPTIMIZERS.
        epochs: of the run whose memory is watched.

    Raises:
        InputError: for an unknown name or an impossible number, or what needs a package that is not installed.
    """

    models: tuple[str, ...] = ()
    batch_sizes: tuple[int, ...] = (128, 512)
    image_size: int = 32
    repeats: int = 7
    block_seconds: float = 1.0
    contenders: tuple[str, ...] = ()
    sections: tuple[str, ...] = ("throughput",)
    precision: str = "float32"
    optimizer: str = "adam"
    epochs: int = 50

    def __post_init__(self):
        for kind, received, known in (
            ("model", self.models, MODELS),
            ("contender", self.contenders, CONTENDERS),
            ("section", self.sections, SECTIONS),
            ("precision", (self.precision,), PRECISIONS),
            ("optimizer", (self.optimizer,), OPTIMIZERS),
        ):
            for name in received:
                if name not in known:
                    raise unknown(kind, name, known)
            require(len(set(received)) == len(received), f"each {kind} once", received)
        require(self.sections, f"sections needs one or more of {', '.join(SECTIONS)}", self.sections)
        sizes = self.batch_sizes
        require(sizes and min(sizes) >= 1, "batch_sizes needs one or more numbers from 1 up", sizes)
        require(len(set(sizes)) == len(sizes), "each batch size once", sizes)
        require(self.image_size >= 8, "image_size must be at least 8", self.image_size)
        require(self.repeats >= 1, "repeats must be at least 1", self.repeats)
        require(self.block_seconds > 0, "block_seconds must be above 0", self.block_seconds)
        require(
            "memory" not in self.sections or self.epochs >= 8,
            "epochs must be at least 8, to see growth over the second half of them",
            self.epochs,
        )
        if "kernels" in self.sections:
            require_plugin()
        for name in self.contenders:
            for package in missing(name):
                raise InputError(f"contender {name!r} needs {package}, which is not installed here")

    def models_on(self, gpu):
        """The models to measure on such a device."""
        return self.models or tuple(name for name in (DEFAULT_MODELS if gpu else CPU_MODELS) if name in MODELS)

    def contenders_on(self, gpu):
        """The contenders to measure on such a device: those asked for, else the default ones that are installed."""
        place = "gpu" if gpu else "cpu"
        default = (name for name, entry in CONTENDERS.items() if place in entry.default_on and not missing(name))
        return self.contenders or tuple(default)

    def jobs(self, gpu):
        """What is trained on such a device: a Job for each model and batch size."""
        images = min(EPOCH_IMAGES, EPOCH_BYTES // (3 * self.image_size**2))
        for model in self.models_on(gpu):
            for batch_size in self.batch_sizes:
                steps = max(1, images // batch_size)
                yield Job(
                    model=model,
                    batch_size=batch_size,
                    image_size=self.image_size,
                    precision=self.precision,
                    optimizer=self.optimizer,
                    epoch_steps=steps,
                    program_steps=steps if gpu else min(steps, CPU_PROGRAM_STEPS),
                    block_seconds=self.block_seconds,
                )


@dataclass(frozen=True, kw_only=True)
class Job:
    """One training as every contender gets it: made-up images in ten classes, no augmentation.

    Attributes:
        epoch_steps: the most training steps an epoch.
        program_steps: training steps of an epoch that is one program.
        epochs: of a whole run; for the section that makes one.
    """

    model: str
    batch_size: int
    image_size: int
    precision: str = "float32"
    optimizer: str = "adam"
    epoch_steps: int = CPU_PROGRAM_STEPS
    program_steps: int = CPU_PROGRAM_STEPS
    block_seconds: float = 1.0
    num_classes: int = 10
    learning_rate: float = 1e-3
    epochs: int = 50

    def as_dict(self):
        """For JSON."""
        return asdict(self)


def missing(contender):
    """The packages that this contender needs and that are not installed."""
    return [package for package in CONTENDERS[contender].needs if importlib.util.find_spec(package) is None]
