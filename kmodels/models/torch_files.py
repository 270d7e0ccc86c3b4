"""PyTorch files, as people have them, to arrays: checkpoints with a network somewhere in them, and safetensors.

No code of a file is run: torch.load is told to build tensors and plain values only.
"""

import argparse
import re
import warnings
import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np

from kmodels.errors import InputError, require, shorten
from kmodels.packages import explained

# Keys under which a training script saves the network itself, and not a copy of it with averaged weights.
USUAL_KEYS = ("state_dict", "model_state_dict", "model", "net", "network", "params")
# Modules that hold a copy of the network beside it, in one dict.
COPIES = re.compile(r"(.*_)?(ema|swa|teacher|target|momentum)(_.*)?")
# What wrappers put before every name: DataParallel, torch.compile, Lightning and the like. A module's name is left.
PREFIXES = re.compile(r"((module|_orig_mod|model|backbone|net|network)\.)+(?=.*\.)")
# Of losses, metrics and the pixels' normalisation: no layer of the network.
BESIDE = re.compile(
    r"(.*[._])?(criterion|loss|loss_fn|metrics?)[._].*|(.*\.)?(n_averaged|((pixel|image)_)?(mean|std)|_extra_state)"
)
SAVE = "in the program that made it, save torch.save(model.state_dict(), FILE)"


class StateDict(NamedTuple):
    """The weights of one network.

    >>> arrays, notes = read_state_dict("checkpoint.pth")

    Attributes:
        arrays: {name: float32 array}, in the file's order, without the prefixes of wrappers.
        notes: what was chosen and left out, in words.
    """

    arrays: dict
    notes: tuple[str, ...] = ()


def read_state_dict(path, key=None):
    """The weights in a file of torch.save (.pth, .pt, .ckpt, .bin, ...) or of safetensors. Needs torch; runs no code.

    Args:
        path: of the file. The weights may lie in it at any depth: `{"net": state_dict, "epoch": 3}`.
        key: of the dict to take where there are several, "ema" for instance, or "state.ema" inside another dict; None:
            the only one, or the only one with a usual key (USUAL_KEYS).

    Returns:
        A StateDict.

    Raises:
        InputError: if a package is missing, the file is missing, damaged, or holds more than weights, there is no
            network in it or several, or a weight is not a dense tensor of floating-point numbers.
    """
    path = Path(path)
    require(path.is_file(), "the PyTorch weights must be a file that exists", str(path))
    content = _read(path)
    found = _networks(content)
    if not found:
        kinds = _described(content)
        raise InputError(f"{path} holds no state_dict, a dict with the tensors of layers. Received: {kinds}")
    chosen = _choose(found, key, path)
    others = [name for name in found if name != chosen]
    notes = [f"took {chosen!r}; --key takes another one: {shorten(others)}"] if others and not key else []
    weights, beside = {}, []
    for name, value in _without_prefixes(found[chosen]).items():
        if BESIDE.fullmatch(name) or not _is_tensor(value):
            beside.append(name)
        elif not name.endswith("num_batches_tracked"):
            weights[name] = _to_array(name, value)
    notes += [f"left out, as no weights of a layer: {shorten(beside)}"] if beside else []
    return StateDict(weights, tuple(notes))


def _read(path):
    try:
        with path.open("rb") as file:
            head = file.read(40)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    if not head:
        raise InputError(f"{path} is empty (0 bytes); copy or download it again")
    with explained("reading PyTorch weights"):
        import torch
    if path.suffix == ".safetensors" or head[8:10] == b'{"':
        return _read_safetensors(path)
    damaged = InputError(f"{path} is damaged, incomplete or not of torch.save; copy, download or save it again")
    if head.startswith(b"PK"):
        _check_zip(path, damaged)
    # What NumPy pickles its scalars by.
    scalar = np.float64().__reduce__()[0]
    plain = [argparse.Namespace, np.dtype, *(type(np.dtype(kind)) for kind in ("f4", "f8", "i8"))]
    # Accuracies are often NumPy's, which torch allows only if told; both names, as NumPy 1 and 2 write them.
    plain += [scalar, (scalar, "numpy.core.multiarray.scalar"), (scalar, "numpy._core.multiarray.scalar")]
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals(plain):
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        # torch's own text advises to switch the protection off.
        foreign = re.search(r"GLOBAL ([\w.]+)", str(error))
        if foreign:
            raise InputError(
                f"{path} holds {foreign[1]} beside or instead of weights, and is not opened, because that could run "
                f"code; {SAVE}"
            ) from error
        if head.startswith((b"PK", b"\x80")):
            raise damaged from error
        raise InputError(f"{path} is no file of torch.save; it begins with {head[:24]!r}") from error


def _check_zip(path, damaged):
    """Raises an InputError for a zip file that is not from torch.save."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise damaged from error
    if any(name.endswith("/constants.pkl") for name in members):
        raise InputError(f"{path} is TorchScript, a program; save torch.save(torch.jit.load(FILE).state_dict(), FILE2)")
    if "config.json" in members:
        raise InputError(f"{path} is a Keras network already")
    if not any(name.endswith("data.pkl") for name in members):
        raise InputError(f"{path} is a zip file, but not of torch.save; it holds {shorten(members) or 'nothing'}")


def _read_safetensors(path):
    with explained("reading .safetensors"):
        from safetensors.torch import load_file
    try:
        # The file keeps no order, whatever this version of the package returns.
        return dict(sorted(load_file(path).items()))
    except Exception as error:
        raise InputError(f"{path} is no safetensors file, or is damaged: {str(error).splitlines()[0]}") from error


def _is_tensor(value):
    import torch

    return isinstance(value, torch.Tensor)


def _networks(content):
    """{keys that lead to it, joined by dots: dict} of every dict with the weights of layers, the outermost first."""
    found, seen, waiting = {}, set(), [((), content)]
    for keys, value in waiting:
        # The same dict may lie there twice, or in itself.
        if id(value) in seen or not isinstance(value, dict | list | tuple) or _of_optimizer(keys):
            continue
        seen.add(id(value))
        items = value if isinstance(value, dict) else dict(enumerate(value))
        waiting += [((*keys, str(name)), inner) for name, inner in items.items()]
        for name, network in _copies_apart(items).items():
            if any(_is_kernel(*item) for item in network.items()):
                found[".".join((*keys, *name))] = network
    return found


def _copies_apart(items):
    """{() or (module,): weights}: those of the network, and those of a module that is a copy of it."""
    parts = {}
    for name, value in items.items():
        first = name.split(".")[0] if isinstance(name, str) and "." in name else ""
        if isinstance(name, str) and not isinstance(value, dict | list | tuple):
            parts.setdefault((first,) if COPIES.fullmatch(first) else (), {})[name] = value
    if len(parts) < 2:
        return dict.fromkeys([()], *parts.values()) if parts else {}
    return {at: {name.removeprefix(".".join((*at, ""))): v for name, v in part.items()} for at, part in parts.items()}


def _of_optimizer(keys):
    return any("optim" in key.lower() for key in keys)


def _is_kernel(name, value):
    """Whether this is the weight of a layer, not a moment of an optimizer or statistics."""
    return name.rpartition(".")[2] == "weight" and _is_tensor(value) and value.ndim >= 2


def _choose(found, key, path):
    """The name of the network to take."""
    if key:
        fitting = [name for name in found if key == name] or [n for n in found if n.split(".")[-1] == key]
        if len(fitting) != 1:
            keys = ", ".join(map(repr, filter(None, found)))
            raise InputError(
                f"{path} has no weights under the key {key!r}; {f'it has {keys}' if keys else 'leave it out'}"
            )
        return fitting[0]
    usual = [name for name in found if name.split(".")[-1] in ("", *USUAL_KEYS)]
    if len(found) > 1 and len(usual) != 1:
        raise InputError(f"{path} holds {len(found)} networks; choose one with --key: {', '.join(found)}")
    return usual[0] if len(found) > 1 else next(iter(found))


def _without_prefixes(tensors):
    bare = {PREFIXES.sub("", name, count=1): value for name, value in tensors.items()}
    # Where two names would become one, the prefix tells them apart.
    return bare if len(bare) == len(tensors) else tensors


def _to_array(name, tensor):
    import torch

    wrong = None
    if tensor.is_meta:
        wrong = "a meta tensor, which has no values"
    elif tensor.is_quantized or not tensor.is_floating_point():
        wrong = f"quantised or not of floating-point numbers ({str(tensor.dtype).removeprefix('torch.')})"
    elif tensor.layout != torch.strided:
        wrong = f"sparse ({str(tensor.layout).removeprefix('torch.')})"
    if wrong:
        raise InputError(f"{name} is {wrong}; needed are dense tensors of floating-point numbers: {SAVE}")
    return tensor.detach().float().numpy()


def _described(content):
    if not isinstance(content, dict):
        return type(content).__name__
    return f"dict of {shorten(f'{name!r} ({type(value).__name__})' for name, value in content.items()) or 'nothing'}"
