"""What a benchmark measures, as plain values that are checked before anything heavy starts."""

from dataclasses import dataclass

from kmodels.bench.contenders import CONTENDERS, is_installed
from kmodels.bench.gpu_target import require_plugin
from kmodels.components import check_name
from kmodels.errors import require, unknown
from kmodels.models import APPLICATIONS, MODELS
from kmodels.packages import missing

SECTIONS = ("throughput", "startup", "kernels", "photographs")
PRECISIONS = ("float32", "bfloat16")
# Measured where no model is named: a small network, a wide one, deep ones.
DEFAULT_MODELS = ("model4", "alexnet_cifar", "resnet18_cifar", "resnet50", "densenet121")
# A deep network takes minutes per block on a CPU.
CPU_MODELS = DEFAULT_MODELS[:2]
# What photographs are classified by, unless a network and a size are named: by a small network, beside which decoding
# counts, and by a large one; and how many there are, of which a head learns.
PHOTOGRAPHS, MANY_PHOTOGRAPHS = {"efficientnet_lite0": 2000, "resnet50": 200}, 2000
PHOTOGRAPH_SIZE, IMAGE_SIZE = 224, 32
# The training images of CIFAR-10; fewer where images are larger, because every contender holds its own.
EPOCH_IMAGES, EPOCH_BYTES = 50_000, 2**28
# Of an epoch as one program on a CPU, where XLA runs convolutions inside a loop about sixty times slower.
CPU_PROGRAM_STEPS = 20
# What a Job takes from Settings as it is.
SHARED = ("precision", "repeats", "block_seconds")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The questions of one call of `kmodels bench`.

    Attributes:
        models: names of networks, or "module:function"; empty: the default for the device.
        batch_sizes: images per training step; each model is measured with each.
        image_size: height and width in pixels; None: 224 for photographs, else 32.
        repeats: timed blocks of each contender.
        block_seconds: how long a block takes at least, after calibration.
        contenders: who trains; empty: the default for the device.
        sections: which of SECTIONS.
        precision: one of PRECISIONS, for all contenders.

    Raises:
        InputError: for an unknown name, an impossible number, or what needs a package that is not installed.

    Example:
        settings = Settings(models=("model4",), batch_sizes=(128,), repeats=3)
        bench(settings, "results/bench")
    """

    models: tuple[str, ...] = ()
    batch_sizes: tuple[int, ...] = (128, 512)
    image_size: int | None = None
    repeats: int = 7
    block_seconds: float = 1.0
    contenders: tuple[str, ...] = ()
    sections: tuple[str, ...] = ("throughput",)
    precision: str = "float32"

    def __post_init__(self):
        for name in self.models:
            check_name("model", name, MODELS, APPLICATIONS)
        for kind, received, known in (
            ("contender", self.contenders, CONTENDERS),
            ("section", self.sections, SECTIONS),
            ("precision", (self.precision,), PRECISIONS),
        ):
            for name in received:
                if name not in known:
                    raise unknown(kind, name, known)
        require(self.sections, f"sections needs one or more of {', '.join(SECTIONS)}", self.sections)
        sizes = self.batch_sizes
        require(sizes and min(sizes) >= 1, "batch_sizes needs one or more numbers of at least 1", sizes)
        for name, least in (("image_size", 8), ("repeats", 1), ("block_seconds", 1e-3)):
            value = getattr(self, name)
            require(value is None or value >= least, f"{name} must be at least {least}", value)
        if "kernels" in self.sections:
            require_plugin()
        for name in self.contenders:
            if not is_installed(name):
                raise missing(CONTENDERS[name].backend, f"contender {name!r}")

    def jobs(self, gpu, photographs=False):
        """A Job for each model and batch size, on a GPU or on a CPU; for photographs one for each model."""
        device = "gpu" if gpu else "cpu"
        usual = tuple(name for name, one in CONTENDERS.items() if device in one.default_on and is_installed(name))
        image_size = self.image_size or (PHOTOGRAPH_SIZE if photographs else IMAGE_SIZE)
        images = min(EPOCH_IMAGES, EPOCH_BYTES // (3 * image_size**2))
        default = PHOTOGRAPHS if photographs else DEFAULT_MODELS if gpu else CPU_MODELS
        for model in self.models or default:
            for batch_size in self.batch_sizes[:1] if photographs else self.batch_sizes:
                steps = max(1, images // batch_size)
                yield Job(
                    **{name: getattr(self, name) for name in SHARED},
                    model=model,
                    image_size=image_size,
                    batch_size=batch_size,
                    contenders=self.contenders or usual,
                    epoch_steps=steps,
                    program_steps=steps if gpu else min(steps, CPU_PROGRAM_STEPS),
                    images=PHOTOGRAPHS.get(model, MANY_PHOTOGRAPHS),
                )


@dataclass(frozen=True, kw_only=True)
class Job:
    """One training as every contender gets it: synthetic images in ten classes, no augmentation, Adam.

    Attributes:
        contenders: those of Settings, or the default for the device.
        epoch_steps: the largest number of training steps per epoch.
        program_steps: training steps of an epoch that is one program.
        images: how many photographs.
    """

    model: str
    batch_size: int
    image_size: int
    precision: str = "float32"
    contenders: tuple[str, ...] = ()
    repeats: int = 7
    epoch_steps: int = CPU_PROGRAM_STEPS
    program_steps: int = CPU_PROGRAM_STEPS
    block_seconds: float = 1.0
    num_classes: int = 10
    images: int = MANY_PHOTOGRAPHS
    learning_rate: float = 1e-3
