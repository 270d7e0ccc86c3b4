"""`kmodels kaggle export`: experiments as a kernel that Kaggle's client can push."""

import base64
import hashlib
import importlib.metadata
import io
import json
import re
import shlex
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

import kmodels
from kmodels.catalogue import PACKAGE, reports, select
from kmodels.commands import kernel_notebook
from kmodels.errors import InputError, require, require_hours, require_seeds
from kmodels.files import write_atomically

# What Kaggle gives: two T4s are the smallest GPU machine. Its P100 is retired.
GPU, CPU = "NvidiaTeslaT4", "cpu"
RETIRED = ("NvidiaTeslaP100",)
# Datasets of Kaggle that have what one of ours needs.
ATTACHED = {"intel_scenes": "puneet6060/intel-image-classification"}
# Of a dataset or kernel: owner/name.
REFERENCE = re.compile(r"[A-Za-z0-9_-]+/[A-Za-z0-9_-]+")
# Characters that a kernel's title has at most; and at least, as the name in its address.
SHORTEST, LONGEST = 5, 50
# A dataset's name must have 6 to 50 characters.
WHEEL = "kmodels-wheel"


@dataclass(frozen=True, kw_only=True)
class KaggleCommand:
    """Write experiments as a kernel for Kaggle: a notebook, or a script, and its metadata.

    The kernel runs on the versions of Keras, JAX and TensorFlow that Kaggle has; kmodels comes as a wheel, which is
    written into OUT/wheel as a dataset of its own. It finds data that are attached, writes to /kaggle/working/results,
    uses both GPUs, and with --max-hours stops in time, so that the next version can go on (--resume).
    """

    action: Annotated[Literal["export"], tyro.conf.Positional]
    """what to do"""
    names: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="NAME ...")]
    """reports (cifar10_small_cnns) or experiments (cifar10_small_cnns/m1)"""
    user: str
    """your name on Kaggle, as in its addresses"""
    out: Path = Path("kernel")
    """the folder to write"""
    title: str | None = None
    """title of the kernel, 5 to 50 characters, of which its address keeps Latin letters and digits; left out: kmodels
    and the first name"""
    kind: Literal["notebook", "script"] = "notebook"
    """what the kernel is"""
    seeds: tuple[int, ...] = (0,)
    """one run each"""
    backend: Literal["jax", "tensorflow", "torch"] = "jax"
    """KERAS_BACKEND there"""
    machine: str = GPU
    """Kaggle's name of a GPU machine (NvidiaTeslaT4 has two T4s), or cpu"""
    data: tuple[str, ...] = ()
    """datasets of Kaggle to attach, as OWNER/NAME; those that kmodels knows are attached anyway"""
    competitions: tuple[str, ...] = ()
    """competitions whose data to attach"""
    internet: bool = False
    """let the kernel reach the internet, for data that are downloaded; needs a verified account"""
    install: str | None = None
    """what pip installs there, as git+https://...; left out: the wheel, which needs no internet"""
    max_hours: float | None = 11.5
    """stop after so many hours; a session ends after twelve"""
    resume: bool = False
    """attach the output of this kernel's last version, and go on from there"""
    public: bool = False
    """show the kernel to everybody"""
    smoke: bool = False
    """only try each experiment, for one epoch on synthetic images"""

    def run(self):
        """Writes the kernel and says how to push it; returns the exit status."""
        if not self.names:
            raise InputError("give reports or experiments, as `kmodels run --list` shows them")
        modules = reports()
        experiments = select([one for module in modules for one in module.EXPERIMENTS], self.names)
        self._check(experiments)
        folder = self.out / "kernel"
        content = self._notebook(modules, experiments)
        metadata = self._metadata(experiments)
        write = kernel_notebook.text if self.kind == "notebook" else kernel_notebook.script
        write_atomically(folder / metadata["code_file"], write(content))
        write_atomically(folder / "kernel-metadata.json", json.dumps(metadata, indent=2) + "\n")
        print(f"{folder}: {len(experiments)} experiments, {len(self.seeds)} seeds, {self.machine}")
        if not self.install:
            self._write_wheel()
            wheel = shlex.quote(str(self.out / "wheel"))
            print(f"kaggle datasets create -p {wheel}     (datasets version -m new -p ... the next time)")
        print(f"kaggle kernels push -p {shlex.quote(str(folder))}")
        return 0

    def _check(self, experiments):
        require(re.fullmatch(r"[A-Za-z0-9_-]+", self.user), "--user must be a name as in Kaggle's addresses", self.user)
        for reference in self.data:
            require(REFERENCE.fullmatch(reference), "--data must be OWNER/NAME, as in Kaggle's addresses", reference)
        retired = self.machine in RETIRED
        require(not retired, f"Kaggle has retired this machine; take {GPU} or {CPU}", self.machine)
        rule = f"--title must have {SHORTEST} to {LONGEST} characters"
        require(SHORTEST <= len(self._title) <= LONGEST, rule, self._title)
        rule = f"--title must have at least {SHORTEST} latin letters or digits, of which the kernel's address is made"
        require(len(self._slug) >= SHORTEST, rule, self._title)
        require_seeds("--seeds", self.seeds)
        require_hours("--max-hours", self.max_hours)
        require(not self.install or self.internet, "--install needs --internet; the wheel needs none", self.install)
        unknown = sorted({one.dataset for one in experiments} - set(ATTACHED) - {"digits", "synthetic"})
        if unknown and not (self.internet or self.data or self.smoke):
            raise InputError(
                f"the kernel needs {', '.join(unknown)}: attach a dataset of Kaggle that has it (--data OWNER/NAME), "
                "or let it download (--internet)"
            )

    @property
    def _title(self):
        if self.title is not None:
            return self.title
        name = self.names[0].replace("/", " ").replace("_", " ")
        return name if len(f"kmodels {name}") > LONGEST else f"kmodels {name}"

    @property
    def _slug(self):
        """The name in the kernel's address."""
        return re.sub(r"[^a-z0-9]+", "-", self._title.lower()).strip("-")

    @property
    def _id(self):
        return f"{self.user}/{self._slug}"

    def _notebook(self, modules, experiments):
        of_one = [module for module in modules if set(experiments) <= set(module.EXPERIMENTS)]
        about = kernel_notebook.about(of_one[0]) if of_one else "Experiments of several reports."
        arguments = {"names": list(self.names), "seeds": list(self.seeds), "max_hours": self.max_hours}
        if self.smoke:
            arguments["smoke"] = True
        return kernel_notebook.notebook(
            self._title, about, experiments, arguments, self.backend, self.install or "kmodels"
        )

    def _metadata(self, experiments):
        """The fields of kernel-metadata.json, as Kaggle's client reads them."""
        on_gpu = self.machine != CPU
        attached = [ATTACHED[one.dataset] for one in experiments if one.dataset in ATTACHED and not self.smoke]
        wheel = [] if self.install else [f"{self.user}/{WHEEL}"]
        return {
            "id": self._id,
            "title": self._title,
            "code_file": f"{self._slug}.{'ipynb' if self.kind == 'notebook' else 'py'}",
            "language": "python",
            "kernel_type": self.kind,
            "is_private": not self.public,
            "enable_gpu": on_gpu,
            "enable_tpu": False,
            "enable_internet": self.internet,
            **({"machine_shape": self.machine} if on_gpu else {}),
            "dataset_sources": list(dict.fromkeys([*wheel, *attached, *self.data])),
            "competition_sources": list(self.competitions),
            "kernel_sources": [self._id] if self.resume else [],
            "model_sources": [],
        }

    def _write_wheel(self):
        folder = self.out / "wheel"
        metadata = {"title": WHEEL, "id": f"{self.user}/{WHEEL}", "licenses": [{"name": "apache-2.0"}]}
        write_atomically(folder / "dataset-metadata.json", json.dumps(metadata, indent=2) + "\n")
        name, content = wheel()
        write_atomically(folder / name, content)


def wheel():
    """The name and the bytes of a wheel of kmodels as it is here, changed sources included."""
    root, version = Path(kmodels.__file__).parent, kmodels.__version__
    files = {f"kmodels/{path.relative_to(root).as_posix()}": path.read_bytes() for path in _sources(root)}
    for module in (PACKAGE, *(one.__name__ for one in reports())):
        path = Path(sys.modules[module].__file__)
        files[f"kmodels/experiments/{path.name}"] = path.read_bytes()
    info = f"kmodels-{version}.dist-info"
    files[f"{info}/METADATA"] = _about_the_package(version)
    files[f"{info}/WHEEL"] = b"Wheel-Version: 1.0\nGenerator: kmodels\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    files[f"{info}/entry_points.txt"] = b"[console_scripts]\nkmodels = kmodels.__main__:main\n"
    rows = [f"{name},sha256={_digest(content)},{len(content)}" for name, content in files.items()]
    files[f"{info}/RECORD"] = "\n".join([*rows, f"{info}/RECORD,,", ""]).encode()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            # A fixed date: the same sources are the same file.
            archive.writestr(zipfile.ZipInfo(name, (2020, 1, 1, 0, 0, 0)), content, zipfile.ZIP_DEFLATED)
    return f"kmodels-{version}-py3-none-any.whl", buffer.getvalue()


def _sources(root):
    return sorted(path for path in root.rglob("*") if path.is_file() and "__pycache__" not in path.parts)


def _about_the_package(version):
    try:
        return importlib.metadata.distribution("kmodels").read_text("METADATA").encode()
    except (importlib.metadata.PackageNotFoundError, AttributeError):
        return f"Metadata-Version: 2.1\nName: kmodels\nVersion: {version}\n".encode()


def _digest(content):
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
