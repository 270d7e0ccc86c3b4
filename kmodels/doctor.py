"""`kmodels doctor`: what kmodels would run on here, and what is wrong."""

import os
import shutil

from kmodels.backend import BACKENDS, check_backend
from kmodels.errors import InputError


def doctor() -> int:
    """Show what kmodels would run on here: backend, device, versions, folders; says what is wrong."""
    import importlib.metadata
    import platform

    from kmodels.data.cache import writable_cache

    def version(package):
        try:
            return importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            return None

    print(f"python        {platform.python_version()} on {platform.system()} {platform.machine()}")
    for package in ("kmodels", "keras", "jax", "tensorflow", "torch", "numpy", "scikit-learn", "tensorflow-datasets"):
        found = version(package) or (version("tensorflow-cpu") if package == "tensorflow" else None)
        print(f"{package:<13} {found or 'not installed'}")
    print(f"KERAS_BACKEND {os.environ.get('KERAS_BACKEND')} (one of {', '.join(BACKENDS)})")
    check_backend()
    from kmodels.backend import WITHOUT_XNNPACK, device_name, needs_xnnpack_off
    from kmodels.report.architecture import can_draw

    try:
        device = device_name()
    except Exception as error:
        raise InputError(f"the device cannot be used: {type(error).__name__}: {error}") from error
    print(f"device        {device}")
    if os.environ["KERAS_BACKEND"] == "jax" and needs_xnnpack_off():
        cured = WITHOUT_XNNPACK in os.environ.get("XLA_FLAGS", "")
        what = f"XLA_FLAGS has {WITHOUT_XNNPACK}, which cures it" if cured else f"set XLA_FLAGS={WITHOUT_XNNPACK}"
        print(f"validation    this version of jaxlib computes it wrongly on a CPU; {what}")
    cache = writable_cache()
    print(f"data cache    {cache} ({shutil.disk_usage(cache).free / 2**30:.0f} GiB free)")
    drawing = "graphviz and pydot found" if can_draw() else "not possible: needs graphviz (its command dot) and pydot"
    print(f"drawing       {drawing}")
    return 0
