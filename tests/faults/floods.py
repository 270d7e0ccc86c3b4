"""Too much of everything: thousands of files, huge images, deep folders, names of any kind."""

import contextlib
import functools
import io
import os
import struct
import zipfile
import zlib

from harness import cache_in, memory
from PIL import Image

from kmodels import load_dataset, read_records

# What decoding, reading and all that lies around them may take at most, in bytes: see kmodels/data/pillow_reading.py.
MOST_MEMORY = 1.75 * 2**30
INTEL = ("buildings", "forest", "glacier", "mountain", "sea", "street")
# Joined by "|", which no name has.
NAMES = (
    "a\nb|a\rb|\x1b[31mred|$1|a$b_$c|a b|-rf|--help|~|%s|{x}|\\|'|\"|*|?|\u202eevil|e\u0301|日本|🙂|CON|x...|"
    f"{'x' * 200}|\udcff\udcfe|a\u2028b|<b>|&amp;|;ls"
).split("|")


@functools.cache
def png(width, height, rows=None):
    """A PNG file that says it has so many pixels, and has so many rows."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    packer, row = zlib.compressobj(1), bytes(1 + 3 * min(width, 100_000))
    pixels = b"".join(packer.compress(row) for _ in range(height if rows is None else rows)) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def good(rng):
    stream = io.BytesIO()
    Image.frombytes("RGB", (16, 16), rng.randbytes(768)).save(stream, "PNG")
    return stream.getvalue()


def bad(rng):
    """A file that is no image, or too large an image; some look much like one."""
    image = good(rng)
    return rng.choice(
        [
            b"",
            b"no image",
            image[: rng.randrange(1, len(image) - 60)],
            png(2**31 - 1, 2**31 - 1, 1),
            png(10_000, 9_500, 3),
        ]
    )


@contextlib.contextmanager
def little_memory(world):
    """A context in which this process may not grow by more than MOST_MEMORY, not even for a moment."""
    with open("/proc/self/clear_refs", "w") as file:
        # Sets the highest value so far to that of now.
        file.write("5")
    before = memory("VmRSS")
    yield
    grown = memory("VmHWM") - before
    world.check("memory grows by at most 1.75 GiB", grown <= MOST_MEMORY, f"{grown / 2**20:.0f} MiB")


def opened(world, name, data_dir, bad_images, **options):
    """Opens a dataset of image files of which some are bad, without and with leaving those out."""
    printed = io.StringIO()
    with cache_in(world.folder / "cache"), little_memory(world):
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            dataset, error = world.refused(load_dataset, name, 16, data_dir)
            world.check("bad images are refused, good ones are not", bool(error) == bool(bad_images), error)
            if bad_images:
                dataset, error = world.refused(load_dataset, name, 16, data_dir, skip_unreadable=True)
        if dataset:
            left_out = dataset.source.get("unreadable", 0)
            world.check("as many as are bad are left out, and counted", left_out == bad_images, left_out)
        else:
            world.check("what is refused leaves a class without an image", "no image of" in str(error), error)
    lines = printed.getvalue().splitlines()
    bars = [line for line in lines if "it/s" in line or "preparing" in line]
    wrong = [line for line in lines if line not in bars and not (line.isprintable() and len(line) <= 2000)]
    world.check("what is printed is printable, in lines of at most 2,000 characters", not wrong, wrong[:1])


def of_names(world, rng):
    top, count = world.folder / "pictures", 0
    share = rng.choice([0, 0.1, 0.5])
    for label in rng.sample(NAMES, rng.randint(2, 5)):
        for name in rng.sample(NAMES, 10):
            is_bad = rng.random() < share
            count += write(top / label / f"{name}.png", bad(rng) if is_bad else good(rng)) and is_bad
    opened(world, "folder", top, count)
    return "names"


def write(path, data):
    """Writes a file, unless the file system refuses its name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(OSError):
        path.write_bytes(data)
        return True
    return False


def of_files(world, rng):
    top, bad_images = world.folder / "pictures", rng.choice([0, 1, 200])
    for number in range(rng.randint(500, 2000)):
        data = bad(rng) if number < bad_images else good(rng)
        write(top / "abc"[number % 3] / f"{number % 7}" / f"{number}.png", data)
    opened(world, "folder", top, bad_images)
    return "files"


def of_members(world, rng):
    """A zip file, with directories, hidden files and members that are not images among the images."""
    path, bad_images = world.folder / "scenes.zip", rng.choice([0, 1, 200])
    with zipfile.ZipFile(path, "w", rng.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])) as target:
        for number in range(rng.randint(500, 2000)):
            split = "seg_train" if number % 4 else "seg_test"
            data = bad(rng) if number < bad_images else good(rng)
            target.writestr(f"{split}/{split}/{INTEL[number // 4 % 6]}/{rng.choice(NAMES[1:8])}{number}.png", data)
        for number in range(500):
            target.writestr(f"__MACOSX/{number}/._x", b"")
    opened(world, "intel_scenes", path, bad_images)
    return "members of a zip file"


def of_pixels(world, rng):
    """Images that are as large as is allowed, many at once, or larger than a member of a zip file says."""
    top = world.folder / "pictures"
    large = png(rng.choice([4000, 9000]), 9000)
    for number in range(12):
        write(top / "abc"[number % 3] / f"{number}.png", large if number % 2 else good(rng))
    bombs = rng.randint(0, 3)
    for number in range(bombs):
        write(top / "abc"[number] / "bomb.png", png(30_000, 30_000, 2000))
    opened(world, "folder", top, bombs)
    return "pixels"


def of_depth(world, rng):
    kind = rng.choice(["folders", "zip"])
    if kind == "folders":
        deep = str(world.folder / "pictures" / "a")
        write(world.folder / "pictures" / "b" / "one.png", good(rng))
        for _ in range(rng.choice([50, 200, 400])):
            os.mkdir(deep)
            deep += "/d"
        data_dir, name = world.folder / "pictures", "folder"
    else:
        data_dir, name = world.folder / "deep.zip", "intel_scenes"
        with zipfile.ZipFile(data_dir, "w") as target:
            for number in range(200):
                target.writestr("/".join(["d"] * rng.choice([90, 30_000])) + f"/{number}.png", good(rng))
    with cache_in(world.folder / "cache"), little_memory(world):
        _, error = world.refused(load_dataset, name, 16, data_dir)
        world.check("folders without images are refused", error)
    return f"depth of {kind}"


def of_records(world, rng):
    out = world.folder / "out" / "faults"
    out.mkdir(parents=True)
    for number in range(500):
        text = rng.choice(
            ["", "[" * 50_000, "{}", '{"schema": 1}', "null", '{"schema": "\\u001b[31m' + "x" * 9000 + '"}']
        )
        (out / f"{rng.choice(NAMES)}{number}-seed0.json").write_text(text)
    os.symlink(out, out / "loop")
    printed = io.StringIO()
    with little_memory(world), contextlib.redirect_stderr(printed):
        world.check("bad records are left out", read_records(out.parent) == {})
    lines = printed.getvalue().splitlines()
    world.check("they are counted in a few lines", len(lines) < 10 and all(line.isprintable() for line in lines), lines)
    return "records"


KINDS = {
    "of names": (of_names, 14),
    "of files": (of_files, 4),
    "of members": (of_members, 4),
    "of pixels": (of_pixels, 5),
    "of depth": (of_depth, 6),
    "of records": (of_records, 4),
}
