"""Files that were damaged, edited or made by somebody else: refused in a sentence, or repaired, and never believed."""

import io
import json
import os
import shutil
import zipfile

import numpy as np
import pytest
from harness import BASE, content, files

import kmodels
from kmodels import read_record, read_records
from kmodels.models.saving import load_network
from kmodels.report import tables

VALUES = (
    None,
    True,
    -1,
    10**30,
    0.5,
    1e308,
    "",
    "../../x",
    "/tmp/x",
    "a\nb\x1b[31m",
    "x" * 5000,
    [],
    {},
    [[]],
    {"a": 1},
)


def changed(value, rng):
    """Nested JSON with another value somewhere in it."""
    keys = list(value) if isinstance(value, dict) else list(range(len(value))) if isinstance(value, list) else []
    if not keys or rng.random() < 0.1:
        return rng.choice(VALUES)
    key = rng.choice(keys)
    value[key] = changed(value[key], rng)
    return value


def damaged(data, rng):
    """Bytes as a disk, a cable or an editor leaves them, and in words what was done."""
    start, length = rng.randrange(len(data) or 1), rng.choice([1, 1, 16, 4096])
    return rng.choice(
        [
            (data[:start], f"cut at {start}"),
            (data[:start] + bytes(length) + data[start + length :], f"{length} zeros at {start}"),
            (data[:start] + bytes([data[start] ^ 1 << rng.randrange(8)]) + data[start + 1 :], f"bit at {start}"),
            (data[:start] + rng.randbytes(length) + data[start:], f"{length} bytes put in at {start}"),
            (data[:start] + data[start + length :], f"{length} bytes left out at {start}"),
            (rng.randbytes(length), "other bytes"),
            (b"", "empty"),
        ]
    )


def edited(text, rng):
    """JSON with other values in it."""
    value = json.loads(text)
    for _ in range(rng.randint(1, 3)):
        value = changed(value, rng)
    return json.dumps(value)


def rezipped(data, name, rng):
    """A zip file with one text file of it edited, all checksums right."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive, zipfile.ZipFile(new := io.BytesIO(), "w") as target:
        for item in archive.namelist():
            inner = archive.read(item)
            target.writestr(item, edited(inner, rng) if item == name else inner)
    return new.getvalue()


def a_record(world, rng):
    whole, _ = world.whole
    out = world.folder / "out"
    shutil.copytree(world.whole_out, out)
    path, what = out / f"{whole.stem}.json", "edited"
    if rng.random() < 0.6:
        path.write_text(edited(path.read_text(), rng))
    else:
        data, what = damaged(path.read_bytes(), rng)
        path.write_bytes(data)
    record, _ = world.refused(read_record, path)
    world.check("what cannot be read is left out", len(read_records(out)) == (record is not None))
    if record:
        inside = (out / record.stem).resolve().is_relative_to(out.resolve())
        world.check("what is accepted stays in its folder", inside, record.stem)
        world.check("what is accepted can be shown", tables.record_text(record))
    return what


def a_checkpoint(world, rng):
    out = world.folder / "out"
    shutil.copytree(world.interrupted, out)
    (path,) = out.rglob("*.checkpoint")
    data = path.read_bytes()
    with np.load(io.BytesIO(data)) as arrays:
        arrays = dict(arrays)
    if rng.random() < 0.5:
        data, what = damaged(data, rng)
    else:
        key, what = rng.choice(list(arrays)), "edited"
        arrays[key] = np.array(edited(str(arrays[key]), rng) if key == "meta" else rng.choice(VALUES[:6]))
        if rng.random() < 0.2:
            del arrays[key]
        np.savez(new := io.BytesIO(), **{name: array for name, array in arrays.items() if array.dtype != object})
        data = new.getvalue()
    path.write_bytes(data)
    record, error = world.refused(kmodels.run, BASE, 0, out, resume=True, verbose=0)
    if what != "edited" and not error:
        world.check_whole(record, out)
    if error:
        world.check("the error tells the way out", "without resume" in str(error), error)
        world.check_whole(kmodels.run(BASE, 0, out, verbose=0), out)
    return what


def a_cache(world, rng):
    cache = world.folder / "cache"
    source = os.path.dirname(world.prepared.train.images.filename)
    folder = cache / os.path.basename(source)
    shutil.copytree(source, folder)
    for name in rng.sample(sorted(os.listdir(folder)), rng.choice([1, 1, 2])):
        path = folder / name
        data, what = damaged(path.read_bytes(), rng)
        if name == "meta.json" and rng.random() < 0.5:
            data, what = edited(path.read_text(), rng).encode(), "edited"
        path.write_bytes(data)
    world.check_prepared(cache)
    return what


def a_network(world, rng):
    whole, _ = world.whole
    data = (world.whole_out / f"{whole.stem}.keras").read_bytes()
    path, what = world.folder / "one.keras", "edited"
    if rng.random() < 0.3:
        data = rezipped(data, rng.choice(["config.json", "metadata.json"]), rng)
    else:
        data, what = damaged(data, rng)
    path.write_bytes(data)
    before = files(world.folder)
    network, _ = world.refused(load_network, path)
    world.check("nothing is written", files(world.folder) == before)
    if network is not None and what != "edited":
        expected = world.weights
        same = all(np.array_equal(a, b) for a, b in zip(network.get_weights(), expected, strict=True))
        world.check("what is loaded has the right weights", same, what)
    return what


def torch_weights(world, rng):
    torch = pytest.importorskip("torch")
    from kmodels.models.torch_files import read_state_dict

    path = world.folder / "one.pth"
    tensors = {"fc.weight": torch.arange(12.0).reshape(3, 4), "fc.bias": torch.zeros(3)}
    nested = rng.choice([tensors, {"state_dict": tensors, "epoch": 3}, {"a": [{"b": tensors}]}])
    torch.save(nested, path, _use_new_zipfile_serialization=rng.random() < 0.7)
    data, what = damaged(path.read_bytes(), rng)
    path.write_bytes(data)
    before = content(world.folder)
    state, _ = world.refused(read_state_dict, path)
    world.check("nothing is written", content(world.folder) == before)
    if state and data[:2] == b"PK":
        right = all(np.array_equal(state.arrays.get(name, 0), tensor) for name, tensor in tensors.items())
        world.check("what is read of a file with checksums has the right weights", right, f"{what} {state}")
    return what


KINDS = {
    "a record": (a_record, 24),
    "a checkpoint": (a_checkpoint, 16),
    "a cache": (a_cache, 16),
    "a network": (a_network, 12),
    "PyTorch's weights": (torch_weights, 12),
}
