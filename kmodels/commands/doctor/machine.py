"""A description of this machine, gathered once: what `traps` judges, and what a test can make up."""

import importlib.metadata
import importlib.util
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

from kmodels.backend import BACKEND_IS_CHOSEN
from kmodels.commands.doctor.datasets import Found
from kmodels.exit_status import how_it_ended
from kmodels.packages import BACKENDS

# Loading TensorFlow or PyTorch from a slow disk takes a minute; what takes longer than this waits for something.
SECONDS = 300
# Beside what kmodels requires: what decides which device computes.
PACKAGES = (
    "kmodels",
    "keras",
    "jax",
    "jaxlib",
    "tensorflow",
    "tensorflow-cpu",
    "torch",
    "jax-cuda12-plugin",
    "jax-cuda13-plugin",
    "nvidia-cudnn-cu12",
    "nvidia-cudnn-cu13",
)
VARIABLES = ("CUDA_VISIBLE_DEVICES", "JAX_PLATFORMS", "KMODELS_CACHE", "LD_LIBRARY_PATH", "TFDS_DATA_DIR", "XLA_FLAGS")
# Libraries that the packages nvidia-* bring too.
CUDA_LIBRARIES = ("libcudart.so*", "libcublas.so*", "libcudnn.so*")


@dataclass(frozen=True)
class Gpu:
    """An NVIDIA GPU: its name, CUDA compute capability (7, 5), and memory in bytes; None where unknown."""

    name: str
    capability: tuple[int, int] | None = None
    memory: int | None = None
    memory_free: int | None = None


@dataclass(frozen=True)
class Probe:
    """What the process that loaded the backend told.

    Attributes:
        device: as `device_name` has it.
        precision: that precision="auto" stands for.
        import_seconds, first_step_seconds, second_step_seconds: how long each took; the first step compiles.
        error: why there was no training step; "" if there was.
        package: whose code raised the error, "" if unknown.
        doing: what it was doing when it ended, "" if it came to its end.
        last_line: the last line that libraries wrote.
        broken: {module: why} of required modules that cannot be imported.
        drawing: whether networks can be drawn.
        torch_cuda: the CUDA version that torch was built for, "" for none, None if torch is not in use.
        torch_architectures: which GPUs it has kernels for: ("sm_75", ..., "compute_90").
        torch_cudnn: "9.10.2".
    """

    device: str | None = None
    precision: str | None = None
    import_seconds: float | None = None
    first_step_seconds: float | None = None
    second_step_seconds: float | None = None
    error: str = ""
    package: str = ""
    doing: str = ""
    last_line: str = ""
    broken: dict[str, str] = field(default_factory=dict)
    drawing: bool | None = None
    torch_cuda: str | None = None
    torch_architectures: tuple[str, ...] = ()
    torch_cudnn: str | None = None


@dataclass(frozen=True)
class Machine:
    """All that is known of this machine.

    Attributes:
        python: version and platform.
        backend: what KERAS_BACKEND says, or its default.
        backend_is_chosen: whether the environment says it.
        versions: {distribution: version, None if it is not installed}.
        requirements: of kmodels, those that count here: "keras>=3.13".
        environment: {variable: value} of VARIABLES that are set.
        gpus: as nvidia-smi lists them.
        gpu_seen: where there are signs of an NVIDIA GPU ("nvidia-smi", "/dev/nvidia0"), "" where there are none.
        driver: version of NVIDIA's driver.
        cuda_folders: folders of LD_LIBRARY_PATH in which libraries of CUDA lie.
        tensorflow_has_cuda: whether the TensorFlow installed was built for GPUs; None where none is.
        tensorflow_gpus: how many GPUs TensorFlow would take beside another backend; None where it was not tried.
        cache: folder of prepared datasets, None if unknown.
        cache_error: why it cannot be written, else "".
        disk_free: bytes, where the cache is.
        memory_free: bytes that this process may still use.
        datasets: those found here.
        probe: what the backend's own process told; None if it was not started.
    """

    python: str = ""
    backend: str = "jax"
    backend_is_chosen: bool = False
    versions: dict[str, str | None] = field(default_factory=dict)
    requirements: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    gpus: tuple[Gpu, ...] = ()
    gpu_seen: str = ""
    driver: str | None = None
    cuda_folders: tuple[str, ...] = ()
    tensorflow_has_cuda: bool | None = None
    tensorflow_gpus: int | None = None
    cache: str | None = None
    cache_error: str = ""
    disk_free: int | None = None
    memory_free: int | None = None
    datasets: tuple[Found, ...] = ()
    probe: Probe | None = None

    @property
    def on_cpu(self):
        """Whether the backend is known to compute on a CPU."""
        return self.probe is not None and (self.probe.device or "").startswith("cpu")


def describe():
    """The Machine that this is. Loads the backend in another process, which takes seconds."""
    from kmodels.commands.doctor.datasets import find_datasets

    backend = os.environ.get("KERAS_BACKEND", "jax")
    requirements = _requirements()
    names = dict.fromkeys([*PACKAGES, *(re.split(r"[^\w.-]", line)[0] for line in requirements)])
    gpus, driver = _nvidia_smi()
    seen = "nvidia-smi" if gpus else _device_file()
    cache, cache_error = _cache()
    has_cuda = _tensorflow_has_cuda()
    return Machine(
        python=f"{platform.python_version()} on {platform.system()} {platform.machine()}",
        backend=backend,
        backend_is_chosen=BACKEND_IS_CHOSEN,
        versions={name: _version(name) for name in names},
        requirements=requirements,
        environment={name: os.environ[name] for name in VARIABLES if name in os.environ},
        gpus=gpus,
        gpu_seen=seen,
        driver=driver or _loaded_driver(),
        cuda_folders=_cuda_folders(os.environ.get("LD_LIBRARY_PATH", "")),
        tensorflow_has_cuda=has_cuda,
        tensorflow_gpus=_tensorflow_gpus() if seen and has_cuda and backend != "tensorflow" else None,
        cache=cache,
        cache_error=cache_error,
        disk_free=_disk_free(cache),
        memory_free=_memory_free(),
        datasets=find_datasets(),
        probe=_probe(_modules(names)) if backend in BACKENDS and _is_there(backend) else None,
    )


def _is_there(module):
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def _version(package):
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _requirements():
    """What kmodels requires: of the package installed, or of the checkout where it is not."""
    try:
        from packaging.requirements import Requirement

        try:
            lines = importlib.metadata.requires("kmodels")
        except importlib.metadata.PackageNotFoundError:
            project = Path(__file__).parents[3] / "pyproject.toml"
            lines = tomllib.loads(project.read_text(encoding="utf-8"))["project"]["dependencies"]
        wanted = [Requirement(line) for line in lines or ()]
    except (ImportError, OSError, KeyError, ValueError):
        return ()
    here = (each for each in wanted if each.marker is None or each.marker.evaluate({"extra": ""}))
    return tuple(f"{each.name}{each.specifier}" for each in here)


def _modules(packages):
    """The modules of required packages that are quickly imported; backends and what loads them are not."""
    slow = ("jax", "jaxlib", "keras", "kmodels", "tensorflow", "tensorflow-cpu", "tensorflow-datasets", "torch")
    modules = []
    for package in (name for name in packages if name not in slow):
        try:
            files = importlib.metadata.files(package) or ()
        except importlib.metadata.PackageNotFoundError:
            continue
        tops = {file.parts[0] for file in files if len(file.parts) == 2 and file.name == "__init__.py"}
        modules += sorted(top for top in tops if top.isidentifier() and not top.startswith("nvidia"))
    return modules


def _output(*command):
    """What a command prints, "" where there is no such command or it fails."""
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return ""


def _nvidia_smi():
    """The GPUs, and the driver's version; (), None where there is none."""
    fields = "driver_version,memory.total,memory.free,name"
    query = ("nvidia-smi", "--format=csv,noheader,nounits")
    # Drivers of before 2021 do not know the last field.
    found = _output(*query, f"--query-gpu=compute_cap,{fields}")
    lines = found.splitlines() or [f"?,{line}" for line in _output(*query, f"--query-gpu={fields}").splitlines()]
    gpus, driver = [], None
    for line in lines:
        cells = [cell.strip() for cell in line.split(",", 4)]
        if len(cells) == 5:
            capability, driver, total, free, name = cells
            major, _, minor = capability.partition(".")
            known = major.isdigit() and minor.isdigit()
            memory, memory_free = (int(cell) * 2**20 if cell.isdigit() else None for cell in (total, free))
            gpus.append(Gpu(name, (int(major), int(minor)) if known else None, memory, memory_free))
    return tuple(gpus), driver


def _device_file():
    """A sign of an NVIDIA GPU that nvidia-smi does not list, "" where there is none."""
    signs = [*Path("/dev").glob("nvidia[0-9]*"), *Path("/proc/driver/nvidia/gpus").glob("*")]
    return str(min(signs)) if signs else ""


def _loaded_driver():
    try:
        found = re.search(r"\b\d{3}\.\d+(\.\d+)?\b", Path("/proc/driver/nvidia/version").read_text())
    except OSError:
        return None
    return found and found[0]


def _cuda_folders(search_path):
    folders = [Path(folder) for folder in search_path.split(os.pathsep) if folder]
    return tuple(str(each) for each in folders if any(any(each.glob(name)) for name in CUDA_LIBRARIES))


def _tensorflow_has_cuda():
    """Read from its file: importing TensorFlow takes seconds."""
    try:
        folder = importlib.util.find_spec("tensorflow").submodule_search_locations[0]
        text = (Path(folder) / "python/platform/build_info.py").read_text()
    except (AttributeError, ImportError, IndexError, OSError, TypeError, ValueError):
        return None
    return re.search(r"is_cuda_build\W+True", text) is not None


def _tensorflow_gpus():
    call = "from kmodels.commands.doctor import probe; probe.count_tensorflow_gpus()"
    code = f"import sys; sys.path[:] = {sys.path!r}; {call}"
    try:
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=SECONDS)
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return None
    found = re.search(r"^left (\d+)$", done.stdout, re.MULTILINE)
    return int(found[1]) if found else None


def _cache():
    """The cache folder, None if unknown, and why it cannot be written."""
    try:
        from kmodels.files import cache_folder, writable_cache
    except Exception:
        # NumPy cannot be imported: the probe says so.
        return None, ""
    folder = None
    try:
        folder = str(cache_folder())
        return str(writable_cache()), ""
    except (OSError, ValueError) as error:
        return folder, str(error).split(";")[0]


def _disk_free(cache):
    try:
        return cache and shutil.disk_usage(cache).free
    except OSError:
        return None


def _memory_free():
    """Bytes: of the machine, or of the container where that is less."""
    free = []
    try:
        free.append(1024 * int(re.search(r"MemAvailable:\s+(\d+)", Path("/proc/meminfo").read_text())[1]))
    except (OSError, TypeError):
        return None
    for folder, limit, used in (
        ("/sys/fs/cgroup", "memory.max", "memory.current"),
        ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes"),
    ):
        try:
            files = (Path(folder) / name for name in (limit, used, "memory.stat"))
            limit, used, stat = (file.read_text() for file in files)
            # Files that the system keeps in memory give way.
            files_kept = int(re.search(r"^(?:total_)?inactive_file (\d+)", stat, re.MULTILINE)[1])
            free.append(int(limit) - int(used) + files_kept)
        except (OSError, ValueError, TypeError):
            continue
    return max(0, min(free))


def _probe(modules, seconds=SECONDS):
    """Starts probe.py and waits for it."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        path, log = Path(folder) / "facts", Path(folder) / "log"
        # Packages are to be those of this process.
        code = (
            f"import sys; sys.path[:] = {sys.path!r}; from kmodels.commands.doctor import probe; sys.exit(probe.run())"
        )
        command, ended = [sys.executable, "-c", code, str(path), *modules], ""
        # JAX would take most of a GPU's memory, which other programs may be using.
        environment = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false", **os.environ}
        try:
            # To a file: a process that it leaves behind would keep a pipe open.
            with log.open("wb") as output:
                status = subprocess.run(
                    command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, timeout=seconds, env=environment
                ).returncode
            ended = how_it_ended(status)
        except subprocess.TimeoutExpired:
            ended = f"it did not end within {seconds:g} seconds"
        except OSError as error:
            return Probe(error=f"no process could be started: {error.strerror}")
        facts = {}
        for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
            try:
                facts |= json.loads(line)
            except ValueError:
                # Killed in the middle of a line.
                continue
        lines = log.read_text(errors="replace").split("\n")
    facts["last_line"] = next((line.strip() for line in reversed(lines) if line.strip()), "")
    if facts.get("doing", "loading kmodels") and "error" not in facts:
        facts["error"] = ended or "it ended without a word"
        facts.setdefault("doing", "loading kmodels")
    facts["torch_architectures"] = tuple(facts.get("torch_architectures", ()))
    return Probe(**facts)
