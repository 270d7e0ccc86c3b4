"""Read image files with Pillow: which files are images, which are refused, and how much memory decoding may take."""

import contextlib
import functools
import importlib
import io
import posixpath
import re
import threading
import warnings
from typing import NamedTuple

from PIL import ExifTags, Image, UnidentifiedImageError

# Formats of Pillow that are not photographs: icons, textures, films, documents, scientific data. Opening an EPS file
# would also start a program, Ghostscript.
NOT_PHOTOGRAPHS = {
    *("BLP", "BUFR", "CUR", "DCX", "DDS", "EPS", "FITS", "FLI", "FTEX", "GBR", "GRIB", "HDF5", "ICNS", "ICO", "IM"),
    *("IMT", "IPTC", "MCIDAS", "MPEG", "MSP", "PCD", "PDF", "PIXAR", "PSD", "SPIDER", "WMF", "XBM", "XPM", "XVTHUMB"),
}

# {module of a plugin that reads further formats, where it is installed: its function to call, or None}.
PLUGINS = {"pillow_avif": None, "pillow_heif": "register_heif_opener", "pillow_jxl": None}

# Colour modes of Pillow with at most 8 bits a channel. Converting others to RGB would clip them silently.
MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "LAB", "HSV")

# Raw modes of three channels in 16 bits together.
PACKED = ("BGR;16", "RGB;16")

# {orientation in the EXIF data: how to turn the pixels upright}.
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# A larger file is no photograph: it would have more pixels than Pillow decodes.
MAX_FILE_BYTES = 2**28

# Measured at the peak of decoding, for all modes: Pillow's image (4), its bytes, and the parts they are joined of (6).
BYTES_PER_PIXEL = 10

# A JPEG image of more pixels that will be made smaller is decoded at a half, a quarter or an eighth of its size, still
# `MARGIN` times as large as needed or more. A photograph of 12 megapixels then takes a third of the time or less, and
# its pixels at 224x224 change by 0.3 of 255 in the mean, 3 at most.
LARGE, MARGIN = 2**20, 2


class UnreadableError(Exception):
    """Why an image file cannot be read, in words."""


class Opened(NamedTuple):
    """An image in memory: RGB, upright; the format and the colour mode of its file, and its own (width, height).

    `transparent` is whether a pixel of it is, at least partly, and `several` whether its file has further images.
    """

    image: Image.Image
    format: str
    mode: str
    size: tuple[int, int]
    transparent: bool
    several: bool


class _Memory:
    """So many bytes, shared by threads: one that wants more than is free waits. One that wants all works alone."""

    def __init__(self, total):
        self._total = self._free = total
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def take(self, amount):
        """A context in which `amount` bytes are taken."""
        amount = min(amount, self._total)
        with self._changed:
            self._changed.wait_for(lambda: self._free >= amount)
            self._free -= amount
        try:
            yield
        finally:
            with self._changed:
                self._free += amount
                self._changed.notify_all()


# Of files as they are stored and of decoded pixels, whatever the number of cores. A thread takes of the second only
# while it has its part of the first, never the other way round, so that they cannot wait for each other.
_files_memory, _pixels_memory = _Memory(2 * MAX_FILE_BYTES), _Memory(2**30)


def _formats():
    """Names of the formats of photographs that Pillow here can read, the usual ones first."""
    _load_plugins()
    return [name for name in Image.ID if name not in NOT_PHOTOGRAPHS]


@functools.cache
def _load_plugins():
    Image.init()
    # The C library keeps freed blocks of Pillow's usual 16 MiB for the thread that had them. With larger ones, 24
    # images of 80 megapixels in 32 threads were measured to take 1.4 GiB at the peak instead of 3.8.
    Image.core.set_block_size(2**26)
    for name, function in PLUGINS.items():
        with contextlib.suppress(ImportError):
            plugin = importlib.import_module(name)
            if function:
                getattr(plugin, function)()


def image_suffixes():
    """The endings of files of photographs that Pillow here can read, as {".jpg", ".png", ...}."""
    # MPO, several JPEG images in one file, is opened by the plugin of JPEG.
    formats = {*_formats(), "MPO"}
    return {suffix for suffix, name in Image.registered_extensions().items() if name in formats}


def suffix_of(name):
    """The ending of a file's name, in small letters: ".jpg"."""
    return posixpath.splitext(name)[1].lower()


@contextlib.contextmanager
def pillow_warnings():
    """A context in which Pillow's warnings are not shown; yields a list that has them, in words, at its end.

    Python filters warnings for the whole process: enter it once, around threads that read images, never within them.
    """
    texts = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.filterwarnings("always", module=r"PIL\.")
        # Such an image is refused, which says more.
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        yield texts
    texts += dict.fromkeys(" ".join(str(warning.message).split()) for warning in caught)


@contextlib.contextmanager
def open_rgb(files, name, image_size=None):
    """A context in which one image is in memory; waits while others take too much of it.

    Args:
        files: a Folder or Zip.
        name: of the file in it.
        image_size: (height, width) that it will be scaled to cover, so that a large one need not be decoded whole;
            None: all its pixels are needed.

    Yields:
        An Opened.

    Raises:
        UnreadableError: if it is damaged, too large, in an unknown format, or has more than 8 bits a channel.
    """
    with contextlib.ExitStack() as stack:
        try:
            opened = _read(files, name, image_size, stack)
        except (UnreadableError, MemoryError):
            raise
        except Exception as error:
            # Damaged files make Pillow raise errors of every type.
            raise UnreadableError(_reason(error)) from error
        yield opened


def upright_rgb(image):
    """An RGB copy of a Pillow image, rotated as its orientation says.

    Args:
        image: a Pillow image, which may not be loaded yet.

    Raises:
        UnreadableError: if it is damaged, or has more than 8 bits a channel.
    """
    try:
        _check_bits(image, b"")
        image.load()
        return _upright(image, _orientation(image)).convert("RGB")
    except (UnreadableError, MemoryError):
        raise
    except Exception as error:
        raise UnreadableError(_reason(error)) from error


def _check_bits(image, data):
    """Raises UnreadableError for more than 8 bits a channel; `data` is the image's file."""
    if image.mode not in MODES or _is_cut(image, data):
        raise UnreadableError(f"it has more than 8 bits a channel (mode {_stored_mode(image)}); save it with 8 bits")


def _read(files, name, image_size, stack):
    size = files.size(name)
    if size > MAX_FILE_BYTES:
        raise UnreadableError(f"it has {size:,} bytes, and at most {MAX_FILE_BYTES:,} are read")
    stack.enter_context(_files_memory.take(size))
    data = files.read(name)
    with Image.open(io.BytesIO(data), formats=_formats()) as image:
        pixels = image.width * image.height
        # None: the user allows any number.
        if Image.MAX_IMAGE_PIXELS is not None and pixels > Image.MAX_IMAGE_PIXELS:
            raise UnreadableError(_too_many(pixels))
        _check_bits(image, data)
        kind, mode, (width, height) = image.format, image.mode, image.size
        if image_size and width * height > LARGE:
            # Of no effect on other formats. The image may lie on its side: both edges are to have the longer one.
            image.draft(None, (MARGIN * max(image_size),) * 2)
        stack.enter_context(_pixels_memory.take(image.width * image.height * BYTES_PER_PIXEL))
        # Its objects refer to each other: without this, its pixels stay in memory until Python looks for such cycles.
        stack.callback(image.close)
        several = _has_several(image)
        image.load()
        transparent = _is_transparent(image)
        # Pillow warns that it leaves out the transparency of a palette; the colours are the same.
        image.info.pop("transparency", None)
        # Cameras store the orientation beside the pixels instead of rotating them. Four of the eight swap the edges.
        orientation = _orientation(image)
        upright = _upright(image, orientation)
        if upright is not image:
            # Both would take more memory than was asked for.
            image.close()
        size = (height, width) if orientation in (5, 6, 7, 8) else (width, height)
        rgb = upright if mode == "RGB" else upright.convert("RGB")
        return Opened(rgb, kind, mode, size, transparent, several)


def _has_several(image):
    try:
        return getattr(image, "is_animated", False)
    except Exception:
        # Pillow looks for the second image, which may be damaged in any way; it is not read.
        return True


def _is_transparent(image):
    if image.mode in ("1", "L", "P", "RGB") and "transparency" in image.info:
        image = image.convert("RGBA")
    return "A" in image.getbands() and image.getchannel("A").getextrema()[0] < 255


def _orientation(image):
    """How a loaded image was stored, 1 to 8, by its EXIF data; 1, upright, where these are damaged."""
    try:
        return image.getexif().get(ExifTags.Base.Orientation, 1)
    except MemoryError:
        raise
    except Exception:
        # Errors of every type, as for the pixels; but these are whole.
        return 1


def _upright(image, orientation):
    """The image turned upright. Pillow's own function writes the EXIF data too, and fails where these are damaged."""
    return image.transpose(TURNS[orientation]) if orientation in TURNS else image


def _is_cut(image, data):
    """Whether Pillow would cut the image's channels of more than 8 bits to 8, without a word."""
    if image.format == "JPEG2000":
        # The first channel's bits, less one, in the header of the codestream.
        header = data.find(b"\xff\x4f\xff\x51")
        return header >= 0 and data[header + 42] & 0x7F >= 8
    if image.format in ("AVIF", "HEIF"):
        # Boxes "pixi" before the pixels have the number of channels and the bits of each.
        boxes = re.finditer(rb"pixi\0{4}([\1-\4])", data[: data.find(b"mdat")], re.DOTALL)
        return any(bits > 8 for box in boxes for bits in data[box.end() : box.end() + box[1][0]])
    # An image that was made in memory has none.
    for codec, _, _, arguments in getattr(image, "tile", ()):
        raw_modes = arguments if isinstance(arguments, tuple) else (arguments,)
        if "16" in codec or any(";16" in str(mode) and mode not in PACKED for mode in raw_modes):
            return True
        # The largest value of a channel.
        if codec.startswith("ppm") and isinstance(arguments, tuple) and arguments[1] > 255:
            return True
    return False


def _stored_mode(image):
    return image.mode if image.mode not in MODES else f"{image.mode} of 16 bits"


def _too_many(pixels):
    return f"it has {pixels:,} pixels, and at most {Image.MAX_IMAGE_PIXELS:,} are decoded; make it smaller"


def _reason(error):
    """Why Pillow could not read an image, in words."""
    if isinstance(error, Image.DecompressionBombWarning | Image.DecompressionBombError):
        return _too_many(int(re.search(r"\d+", str(error))[0]))
    if isinstance(error, UnidentifiedImageError):
        return "not an image format that Pillow knows"
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return f"{type(error).__name__}: {error}"
