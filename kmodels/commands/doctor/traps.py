"""What may be wrong with a machine: one function a trap, from the Machine to a Problem or None."""

import re
from dataclasses import dataclass

from kmodels.backend import STALE_JAXLIB, WITHOUT_XNNPACK
from kmodels.errors import shorten, unknown
from kmodels.packages import BACKENDS, DISTRIBUTIONS

# How bad a problem is.
STOPS, RISK, HINT = "training will not work", "slower or risky", "hint"
LEVELS = (STOPS, RISK, HINT)
# Without them no dataset of tfds can be prepared; all else works.
PREPARES = ("tensorflow", "tensorflow-cpu", "tensorflow-datasets", "importlib_resources")
# Bytes. A full disk has no space for a record; CIFAR-10 takes 0.6 GB from archive to cache.
FULL_DISK, LITTLE_DISK, LITTLE_MEMORY, LITTLE_GPU_MEMORY = 2**24, 2**31, 2**31, 2**31
# CUDA's major version -> the oldest driver, and the lowest compute capability that its wheels run on (JAX's
# installation guide).
CUDA_NEEDS = {"12": (525, (5, 2)), "13": (580, (7, 5))}


# What makes a backend say all that it has to say of its GPU.
TRY = {
    "jax": "import jax; print(jax.devices())",
    "tensorflow": "import tensorflow as tf; print(tf.config.list_physical_devices())",
    "torch": "import torch; print(torch.zeros(1).cuda())",
}


@dataclass(frozen=True)
class Problem:
    """A problem found.

    Attributes:
        level: one of LEVELS.
        found: what was found, as a sentence.
        mend: the command that mends it, "" if there is none.
        advice: what else mends it, in words.
    """

    level: str
    found: str
    mend: str
    advice: str = ""


def find_problems(machine):
    """The Problems of a Machine, the worst first."""
    problems = [problem for trap in TRAPS if (problem := trap(machine))]
    return sorted(problems, key=lambda problem: LEVELS.index(problem.level))


def unknown_backend(machine):
    if machine.backend in BACKENDS:
        return None
    return Problem(STOPS, f"{unknown('KERAS_BACKEND', machine.backend, BACKENDS)}.", "export KERAS_BACKEND=jax")


def backend_missing(machine):
    # Found without a version: a package that was not installed by pip.
    if machine.backend not in BACKENDS or machine.probe:
        return None
    others = [name for name in BACKENDS if name != machine.backend and version_of(machine, name)]
    instead = f"export KERAS_BACKEND={others[0]}" if others else ""
    return Problem(
        STOPS,
        f"The backend is {machine.backend}, but {machine.backend} is not installed.",
        f"pip install {machine.backend}",
        instead,
    )


def no_training_step(machine):
    probe = machine.probe
    if probe is None or not probe.error:
        return None
    last = f" The last that was written: {_sentence(probe.last_line)}" if probe.last_line and probe.doing else ""
    found = f"A trial training failed while {probe.doing}: {_sentence(probe.error)}{last}"
    if re.search("memory|RESOURCE_EXHAUSTED|SIGKILL", probe.error):
        return Problem(STOPS, found, "", "end other programs that use the memory; nvidia-smi lists those of a GPU")
    platforms = machine.environment.get("JAX_PLATFORMS")
    if machine.backend == "jax" and platforms and probe.doing == "looking for the device":
        return Problem(STOPS, f"JAX_PLATFORMS={platforms}, and JAX finds no such device.", "unset JAX_PLATFORMS")
    if probe.package in ("", "kmodels"):
        return Problem(STOPS, found, "", f'to see all that is written: python -c "{TRY[machine.backend]}"')
    missing = "" if probe.error.startswith("ModuleNotFoundError") else "--force-reinstall --no-deps "
    return Problem(STOPS, found, f"pip install {missing}{_distribution(machine, probe.package)}")


def broken_packages(machine):
    broken = machine.probe.broken if machine.probe else {}
    if not broken:
        return None
    names = " ".join(_distribution(machine, module) for module in broken)
    (module, why), *_ = broken.items()
    others = f" Nor can {shorten(list(broken)[1:])}." if len(broken) > 1 else ""
    return Problem(
        STOPS,
        f"{module} cannot be imported: {_sentence(why)}{others}",
        f"pip install --force-reinstall --no-deps {names}",
    )


def missing_packages(machine):
    missing = [name for name, _ in _requirements(machine) if not version_of(machine, name)]
    # The backend is looked for by itself, and others than the one in use are not needed.
    needed = [name for name in missing if name not in (*BACKENDS, *PREPARES)]
    if not needed:
        return None
    return Problem(
        STOPS, f"Packages that kmodels needs are not installed: {', '.join(needed)}.", f"pip install {' '.join(needed)}"
    )


def cannot_prepare(machine):
    missing = [name for name, _ in _requirements(machine) if name.lower() in PREPARES and not version_of(machine, name)]
    if not missing or missing == [machine.backend]:
        return None
    without = " (tensorflow-datasets imports it without declaring it)" if missing == ["importlib_resources"] else ""
    return Problem(
        RISK,
        f"No dataset of tensorflow-datasets, CIFAR for one, can be prepared without {' and '.join(missing)}{without}.",
        f"pip install {' '.join(missing)}",
    )


def old_packages(machine):
    from packaging.version import InvalidVersion

    old = []
    for name, specifier in _requirements(machine):
        version = version_of(machine, name)
        try:
            if version and not specifier.contains(version, prereleases=True):
                old.append((name, specifier, version))
        except InvalidVersion:
            continue
    if not old:
        return None
    found = ", ".join(f"{name} {version} (needs {specifier})" for name, specifier, version in old)
    return Problem(
        RISK,
        f"Older than what kmodels is tested with: {found}.",
        "pip install " + " ".join(f'"{name}{specifier}"' for name, specifier, _ in old),
    )


def hidden_gpu(machine):
    if not machine.gpu_seen:
        return None
    visible, platforms = (machine.environment.get(name) for name in ("CUDA_VISIBLE_DEVICES", "JAX_PLATFORMS"))
    if visible is not None and visible.strip() in ("", "-1"):
        return Problem(HINT, f"CUDA_VISIBLE_DEVICES={visible!r} hides the GPU.", "unset CUDA_VISIBLE_DEVICES")
    if machine.backend == "jax" and platforms and not re.search("cuda|gpu", platforms):
        return Problem(HINT, f"JAX_PLATFORMS={platforms} keeps JAX from the GPU.", "unset JAX_PLATFORMS")
    return None


def build_without_gpu(machine):
    if not machine.gpu_seen or hidden_gpu(machine):
        return None
    cuda = _best_cuda(machine)
    version = version_of(machine, machine.backend)
    if machine.backend == "jax" and not _plugins(machine):
        what, mend = "jax lacks its CUDA plugin", f'pip install "jax[cuda{cuda}]=={version}"'
    elif machine.backend == "tensorflow" and machine.tensorflow_has_cuda is False:
        what = "this build of TensorFlow is for CPUs"
        mend = f'pip uninstall -y tensorflow-cpu && pip install "tensorflow[and-cuda]=={version}"'
    elif machine.backend == "torch" and machine.probe and machine.probe.torch_cuda == "":
        what = "this build of torch is for CPUs"
        index = {"12": "cu126", "13": "cu130"}[cuda]
        mend = f"pip install --force-reinstall torch --index-url https://download.pytorch.org/whl/{index}"
    else:
        return None
    return Problem(RISK, f"Found {_gpu(machine)}, but {what}: training would use the CPU.", mend)


def plugin_version(machine):
    if machine.backend != "jax" or not machine.gpu_seen:
        return None
    jaxlib = version_of(machine, "jaxlib")
    unlike = {name: version for name, version in _plugins(machine).items() if _numbers(version) != _numbers(jaxlib)}
    if not unlike or len(unlike) < len(_plugins(machine)):
        return None
    (name, version), *_ = unlike.items()
    return Problem(
        RISK,
        f"{name} {version} and jaxlib {jaxlib} are of different versions: JAX does not use the plugin, and computes "
        "on the CPU.",
        f'pip install "jax[{name.split("-")[1]}]=={version_of(machine, "jax")}"',
    )


def gpu_not_used(machine):
    explained = (hidden_gpu, build_without_gpu, plugin_version, cuda_and_gpu)
    if not machine.gpu_seen or not machine.on_cpu or any(trap(machine) for trap in explained):
        return None
    last = f" It wrote: {_sentence(machine.probe.last_line)}" if machine.probe.last_line else ""
    return Problem(
        RISK,
        f"Found {_gpu(machine)}, but {machine.backend} computes on the CPU.{last}",
        "",
        f'to see why: python -c "{TRY[machine.backend]}"',
    )


def cuda_and_gpu(machine):
    cuda = _cuda(machine)
    if not machine.gpu_seen or cuda not in CUDA_NEEDS:
        return None
    driver, capability = CUDA_NEEDS[cuda]
    ours, loaded = _lowest_capability(machine), _numbers(machine.driver)
    too_old = [f"a driver of at least {driver}, and here is {machine.driver}"] if loaded and loaded < (driver,) else []
    if ours and ours < capability:
        too_old.append(f"a GPU of at least SM {_dotted(capability)}, and {_gpu(machine)} has SM {_dotted(ours)}")
    if not too_old:
        return None
    level = STOPS if machine.probe and machine.probe.error else RISK
    found = f"{machine.backend} is installed for CUDA {cuda}, which needs {'; and '.join(too_old)}."
    if cuda == "12" or (loaded and loaded < (CUDA_NEEDS["12"][0],)):
        advice = f"install NVIDIA's driver {driver} or newer; until then the CPU can be used: CUDA_VISIBLE_DEVICES=-1"
        return Problem(level, found, "", advice)
    return Problem(level, found, _cuda_12(machine))


def _cuda_12(machine):
    """The command that installs the backend for CUDA 12 instead of 13."""
    if machine.backend == "torch":
        return "pip install --force-reinstall torch --index-url https://download.pytorch.org/whl/cu126"
    version = version_of(machine, "jax")
    return f'pip uninstall -y jax-cuda13-plugin jax-cuda13-pjrt && pip install "jax[cuda12]=={version}"'


def cudnn_and_gpu(machine):
    cuda = _cuda(machine) or "12"
    version = version_of(machine, f"nvidia-cudnn-cu{cuda}") or (machine.probe and machine.probe.torch_cudnn)
    capability = _lowest_capability(machine)
    # cuDNN dropped GPUs older than SM 7.5 there, but JAX's convolutions fail on all older than Ampere.
    lowest = (8, 0) if machine.backend == "jax" else (7, 5)
    if not version or not capability or capability >= lowest or _numbers(version) < (9, 11) or not _cuda(machine):
        return None
    level = STOPS if machine.probe and machine.probe.error else RISK
    pin = '"nvidia-cudnn-cu12>=9.8,<9.11"'
    mend = f"pip install {pin}" if cuda == "12" else f"{_cuda_12(machine)} {pin}"
    return Problem(
        level,
        f"cuDNN {version} is newer than 9.10, and convolutions may fail with it on {_gpu(machine)} "
        f"(SM {_dotted(capability)}).",
        mend,
    )


def torch_without_kernels(machine):
    kernels = machine.probe.torch_architectures if machine.probe else ()
    capability = _lowest_capability(machine)
    if machine.backend != "torch" or not kernels or not capability or hidden_gpu(machine):
        return None
    if any(_runs_on(kernel, capability) for kernel in kernels):
        return None
    return Problem(
        STOPS,
        f"torch {version_of(machine, 'torch')} has no kernels for {_gpu(machine)} (SM {_dotted(capability)}); it has "
        f"them for {shorten(kernels, 8)}.",
        "export KERAS_BACKEND=jax",
        "pip install --force-reinstall torch==2.8.0 --index-url https://download.pytorch.org/whl/cu126",
    )


def _runs_on(kernel, capability):
    """Whether a kernel of torch ("sm_75", "compute_90") runs on a GPU: of one major version upwards; or, compiled
    when it is loaded, on all that are newer."""
    found = re.fullmatch(r"(sm|compute)_(\d+)(\d)[a-z]?", kernel)
    if not found:
        return False
    built = int(found[2]), int(found[3])
    return built <= capability and (found[1] == "compute" or built[0] == capability[0])


def tensorflow_beside(machine):
    if machine.backend == "tensorflow" or not machine.gpu_seen or not machine.tensorflow_has_cuda:
        return None
    found = (
        f"TensorFlow is built for GPUs too, and would take the memory of the GPU beside {machine.backend}; kmodels "
        "hides the GPU from it when it reads data, "
    )
    if machine.tensorflow_gpus == 0:
        advice = 'nothing to do; code of your own needs tf.config.set_visible_devices([], "GPU")'
        return Problem(HINT, f"{found}and that works here.", "", advice)
    found += "but here it still sees it." if machine.tensorflow_gpus else "but that could not be tried here."
    return Problem(RISK, found, "pip uninstall -y tensorflow && pip install tensorflow-cpu")


def library_path(machine):
    wheels = _plugins(machine) or any(
        version for name, version in machine.versions.items() if name.startswith("nvidia-") and version
    )
    if not machine.cuda_folders or not machine.gpu_seen or not wheels:
        return None
    folders = [each for each in machine.environment.get("LD_LIBRARY_PATH", "").split(":") if each]
    rest = ":".join(each for each in folders if each.rstrip("/") not in [x.rstrip("/") for x in machine.cuda_folders])
    wrong = machine.probe is None or machine.probe.error or machine.on_cpu
    harmless = "" if wrong else " The training step worked nevertheless."
    return Problem(
        RISK if wrong else HINT,
        f"LD_LIBRARY_PATH has {', '.join(machine.cuda_folders)}, whose CUDA libraries may be loaded in the place of "
        f"those that {machine.backend} was installed with.{harmless}",
        f"export LD_LIBRARY_PATH={rest}" if rest else "unset LD_LIBRARY_PATH",
    )


def stale_jaxlib(machine):
    version, flags = version_of(machine, "jaxlib"), machine.environment.get("XLA_FLAGS", "")
    if machine.backend != "jax" or version not in STALE_JAXLIB or (machine.probe and not machine.on_cpu):
        return None
    wrong = f"jaxlib {version} computes wrong validation results on a CPU"
    if WITHOUT_XNNPACK in flags:
        advice = "nothing to do; code of your own needs the flag before JAX computes, or a newer jax"
        return Problem(HINT, f"{wrong}; kmodels sets XLA_FLAGS={WITHOUT_XNNPACK}, which cures it.", "", advice)
    return Problem(RISK, f"{wrong}, and XLA_FLAGS={flags} does not cure it.", f'export XLA_FLAGS="{WITHOUT_XNNPACK}"')


def no_gpu(machine):
    if machine.backend == "tensorflow" or machine.gpu_seen or not machine.on_cpu:
        return None
    speed = "about twice as fast as JAX" if machine.backend == "jax" else "at least as fast as torch"
    install = "" if version_of(machine, "tensorflow") else "pip install tensorflow-cpu && "
    return Problem(
        HINT,
        f"No GPU was found. On a CPU, TensorFlow trains small networks {speed}.",
        f"{install}export KERAS_BACKEND=tensorflow",
    )


def cache_not_writable(machine):
    if not machine.cache_error:
        return None
    return Problem(
        STOPS,
        f"Datasets cannot be prepared: {machine.cache_error}.",
        "export KMODELS_CACHE=FOLDER",
        "with one of yours",
    )


def little_disk(machine):
    if machine.cache_error or machine.disk_free is None or machine.disk_free >= LITTLE_DISK:
        return None
    full = machine.disk_free < FULL_DISK
    return Problem(
        STOPS if full else RISK,
        f"The disk of {machine.cache} {'is full' if full else f'has {size(machine.disk_free)} left'}; CIFAR-10, for "
        "instance, takes 0.6 GB to prepare. Another disk may have a folder for it.",
        "export KMODELS_CACHE=FOLDER",
        "delete what is not needed there",
    )


def little_memory(machine):
    if machine.memory_free is None or machine.memory_free >= LITTLE_MEMORY:
        return None
    return Problem(
        RISK,
        f"Only {size(machine.memory_free)} of memory is free: the system may end a training.",
        "",
        "end other programs, or train with a smaller --batch-size and --image-size",
    )


def little_gpu_memory(machine):
    free = [gpu.memory_free for gpu in machine.gpus if gpu.memory_free is not None]
    if not free or max(free) >= LITTLE_GPU_MEMORY or hidden_gpu(machine):
        return None
    return Problem(
        RISK,
        f"Only {size(max(free))} of the GPU's memory is free.",
        "",
        "end the programs that nvidia-smi lists, or train with a smaller --batch-size",
    )


TRAPS = (
    unknown_backend,
    backend_missing,
    missing_packages,
    torch_without_kernels,
    no_training_step,
    broken_packages,
    cache_not_writable,
    cuda_and_gpu,
    cudnn_and_gpu,
    hidden_gpu,
    build_without_gpu,
    plugin_version,
    gpu_not_used,
    library_path,
    tensorflow_beside,
    stale_jaxlib,
    old_packages,
    cannot_prepare,
    little_disk,
    little_memory,
    little_gpu_memory,
    no_gpu,
)


def size(count):
    """Bytes in words: "1.5 GiB"."""
    return f"{count / 2**30:.1f} GiB" if count >= 2**29 else f"{count / 2**20:.0f} MiB"


def _requirements(machine):
    """Pairs of name and specifier of what kmodels requires."""
    if not machine.requirements:
        return []
    from packaging.requirements import Requirement

    return [(each.name, each.specifier) for each in map(Requirement, machine.requirements)]


def version_of(machine, name):
    """The version installed, None if it is not; TensorFlow's CPU build and the other count as one."""
    names = ("tensorflow", "tensorflow-cpu") if name in ("tensorflow", "tensorflow-cpu") else (name,)
    return next((machine.versions[each] for each in names if machine.versions.get(each)), None)


def _distribution(machine, module):
    """What pip knows a module by."""
    if module in BACKENDS:
        return "tensorflow-cpu" if module == "tensorflow" and not machine.versions.get(module) else module
    return DISTRIBUTIONS.get(module, module)


def _plugins(machine):
    """{name: version} of JAX's CUDA plugins."""
    return {name: version for name, version in machine.versions.items() if re.match("jax-cuda", name) and version}


def _cuda(machine):
    """The major version of CUDA that the backend is installed for, "" if for none."""
    if machine.backend == "jax" and _plugins(machine):
        return re.search(r"cuda(\d+)", max(_plugins(machine)))[1]
    if machine.backend == "torch" and machine.probe and machine.probe.torch_cuda:
        return machine.probe.torch_cuda.split(".")[0]
    return "12" if machine.backend == "tensorflow" and machine.tensorflow_has_cuda else ""


def _best_cuda(machine):
    """The newest of CUDA 12 and 13 that driver and GPU allow."""
    driver, capability = CUDA_NEEDS["13"]
    ours, loaded = _lowest_capability(machine), _numbers(machine.driver)
    return "13" if loaded >= (driver,) and ours and ours >= capability else "12"


def _lowest_capability(machine):
    return min((gpu.capability for gpu in machine.gpus if gpu.capability), default=None)


def _gpu(machine):
    known = [gpu for gpu in machine.gpus if gpu.capability] or machine.gpus
    return min(known, key=lambda gpu: gpu.capability or (0, 0)).name if known else "an NVIDIA GPU"


def _numbers(version):
    """The leading numbers of a version: "0.7.2.post1" -> (0, 7, 2)."""
    return tuple(map(int, re.match(r"[\d.]*", version or "")[0].strip(".").split("."))) if version else ()


def _dotted(pair):
    return ".".join(map(str, pair))


def _sentence(text):
    """The beginning of a message of a library, with a full stop; 200 characters at most."""
    line = " ".join(text.split())
    return f"{line.rstrip('.')}." if len(line) <= 200 else f"{line[:197]}..."
