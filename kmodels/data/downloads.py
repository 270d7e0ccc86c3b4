"""Downloads of published archives: from the official server or a mirror, continued where they broke off, and checked.

Of a mirror, only the hash of what it sends is trusted. A file gets its name when it is whole: until then it is
`<name>.part`, which the next download continues, whichever server it is from, for all have the same bytes.
"""

import contextlib
import re
import shutil
import sys
import time
from contextvars import ContextVar
from pathlib import PurePosixPath
from urllib.parse import urlsplit

from kmodels.data.archives import HEAD_BYTES, SHOWN_BYTES, kind_of, looks_like
from kmodels.data.progress import progress
from kmodels.errors import InputError
from kmodels.files import OTHER_CACHE, writable_cache
from kmodels.packages import explained

# Seconds to wait for a connection, and for the next bytes.
TIMEOUT = (20, 60)
# How often a server is asked again that broke off without a byte more than before, and the seconds between.
RETRIES, PAUSE = 3, 2.0
# A server that sends fewer bytes a second than this, after so many seconds, is left for a mirror where there is one.
SLOW, SLOW_AFTER = 200_000, 20.0
# What has come of a block when a connection breaks is lost.
BLOCK_BYTES = 2**16
_MIRROR = ContextVar("mirror", default=None)
_ALLOWED = ContextVar("allowed", default=True)


class _RefusedError(Exception):
    """A server does not have the file, or sends another one."""


class _SlowError(Exception):
    """A server is slow, and there are others."""


@contextlib.contextmanager
def from_mirror(url):
    """A context whose downloads try another server first.

    Args:
        url: of an archive, or of the folder that it is in (with "/" at its end); None changes nothing.

    Raises:
        InputError: if it is no URL of http or https.
    """
    if url is not None and not url.startswith(("http://", "https://")):
        raise InputError(f"the mirror (--mirror) must be a URL of http or https. Received: {url!r}")
    token = _MIRROR.set(url)
    try:
        yield
    finally:
        _MIRROR.reset(token)


@contextlib.contextmanager
def without_downloads():
    """A context in which a dataset whose archive would have to be downloaded cannot be opened."""
    token = _ALLOWED.set(False)
    try:
        yield
    finally:
        _ALLOWED.reset(token)


def download(archives):
    """Downloads an archive into the cache, unless it is there.

    Args:
        archives: Archives of the same data: the first that can be had is enough.

    Returns:
        The Archive, and its path in the cache.

    Raises:
        InputError: if none can be downloaded, or there is no space for it; says what every server answered. Within
            `without_downloads`, if none is in the cache.
    """
    from kmodels.locks import alone

    folder = writable_cache("archives")
    with alone(writable_cache() / f"{archives[0].name}.lock", f"downloading {archives[0].name}"):
        for archive in archives:
            path = folder / archive.name
            if path.exists() or path.is_symlink():
                if path.exists() and not archive.difference(path):
                    return archive, path
                print(f"{path} is damaged or gone; downloading it again", file=sys.stderr)
                path.unlink()
        if not _ALLOWED.get():
            raise InputError(f"{archives[0].name} is not here, and would have to be downloaded")
        return _download(_sources(archives), folder)


def _sources(archives):
    """(Archive, URL) pairs in the order in which they are tried."""
    mirror = _MIRROR.get()
    sources = [(archive, url) for archive in archives for url in (archive.url, *archive.mirrors)]
    if mirror is None:
        return sources
    if mirror.endswith("/"):
        return [*((archive, mirror + archive.name) for archive in archives), *sources]
    name = PurePosixPath(urlsplit(mirror).path).name
    return [(next((one for one in archives if one.name == name), archives[0]), mirror), *sources]


def _download(sources, folder):
    failures, slow = {}, []
    # A slow server is better than none, once it is known that no other has the file.
    for patient in (False, True):
        for archive, url in slow if patient else sources:
            part = folder / f"{archive.name}.part"
            try:
                _complete(archive, url, part, patient or len(sources) == 1)
            except _SlowError as error:
                print(f"{error}; trying the next server", file=sys.stderr)
                slow.append((archive, url))
                continue
            except _RefusedError as error:
                failures.setdefault(str(error), []).append(url)
                continue
            except OSError as error:
                raise InputError(f"cannot write {part}: {error.strerror or error}; {OTHER_CACHE}") from error
            path = part.replace(folder / archive.name)
            for other, _ in sources:
                (folder / f"{other.name}.part").unlink(missing_ok=True)
            return archive, path
    archive = sources[0][0]
    reasons = "; ".join(f"{', '.join(urls)}: {reason}" for reason, urls in failures.items())
    raise InputError(
        f"cannot download {archive.name}: {reasons}",
        "Give another server of it as --mirror URL to `kmodels data prepare`, or download it yourself and give the "
        f"file to that as --archive FILE, or its folder as --data-dir (data_dir). Expected: {archive}",
    )


def _complete(archive, url, part, patient, again=True):
    """Downloads what is missing of the file `part`, and checks it."""
    with explained("a download"):
        import requests

    start = best = _size(part)
    requested, without_progress, came = 0, 0, False
    while _size(part) != archive.size:
        before, requested = _size(part), requested + 1
        try:
            _fetch(archive, url, part, patient)
            reason = "the server ended too early"
        except requests.RequestException as error:
            reason = _reason(error)
        came = came or _size(part) != before
        without_progress = 0 if _size(part) > best else without_progress + 1
        best = max(best, _size(part))
        # Where not a byte came, there is no network or no such server.
        if without_progress > RETRIES or not came:
            raise _RefusedError(reason)
        if _size(part) != archive.size:
            print(f"{reason}, at {_size(part):,} of {archive.size:,} bytes; trying again", file=sys.stderr)
            time.sleep(PAUSE)
    difference = archive.difference(part)
    if difference:
        words = f"it sends another file: {difference}; {looks_like(part)}"
        part.unlink()
        if not again or (start == 0 and requested == 1):
            raise _RefusedError(words)
        # The file was put together from several answers, of which one may be wrong.
        _complete(archive, url, part, patient, again=False)


def _size(part):
    return part.stat().st_size if part.exists() else 0


def _reason(error):
    """An error of requests in a few words: its own repeat the URL and the names of its objects."""
    if type(error).__name__ == "ChunkedEncodingError":
        return "the connection broke"
    inner = error.args[0] if error.args and isinstance(error.args[0], Exception) else error
    inner = getattr(inner, "reason", None) or inner
    text = re.sub(r"(<[^>]*>|HTTPS?Connection(Pool)?\([^)]*\)):? ?", "", str(inner)).strip()
    # The URL is said beside it: servers that fail alike are named together.
    text = re.sub(r"resolve '[^']*'", "resolve its name", text)
    return f"{type(error).__name__}: {text[:200]}"


def _fetch(archive, url, part, patient):
    """One answer of a server, appended to what is there if it can send the rest, else from the beginning."""
    import requests

    have = _size(part)
    if have > archive.size:
        part.unlink()
        have = 0
    headers = {"Accept-Encoding": "identity", **({"Range": f"bytes={have}-"} if have else {})}
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
        if response.status_code == 416:
            # Of what is there, it has no rest.
            part.unlink()
            raise _RefusedError("the server has a shorter file")
        if response.status_code not in (200, 206):
            raise _RefusedError(f"HTTP {response.status_code} {response.reason}")
        ranged = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
        if response.status_code == 200 or not ranged or int(ranged[1]) != have:
            have = 0
        blocks = response.iter_content(BLOCK_BYTES)
        first = next(blocks, b"")
        length = response.headers.get("Content-Length", "")
        total = have + int(length) if length.isdigit() else None
        kind = kind_of(first[:HEAD_BYTES]) if not have else None
        if total not in (None, archive.size) or (kind and not _may_be(archive, first)):
            raise _RefusedError(
                f"it sends another file: {f'{total:,} bytes' if total else 'of unknown size'}, beginning with "
                f"{first[:SHOWN_BYTES]!r}{f', which looks like {kind}' if kind else ''}"
            )
        rest = f", continued at {have / 1e6:,.0f} MB" if have else ""
        print(f"downloading {archive.name}, {archive.size / 1e6:,.0f} MB{rest}, from {url}", file=sys.stderr)
        _write(archive, url, part, have, [first], blocks, patient)


def _may_be(archive, first):
    """Whether a file that begins so may be the archive: the endings of most say how they begin."""
    starts = {".gz": b"\x1f\x8b", ".zip": b"PK"}
    return first.startswith(starts.get(PurePosixPath(archive.name).suffix, b""))


def _write(archive, url, part, have, first, blocks, patient):
    free = shutil.disk_usage(part.parent).free
    if free < archive.size - have:
        raise InputError(
            f"no space for {archive.name} in {part.parent}: {archive.size - have:,} bytes are missing, {free:,} are "
            f"free; {OTHER_CACHE}"
        )
    started, received = time.monotonic(), 0
    with (
        part.open("ab" if have else "wb") as file,
        progress(archive.name, archive.size, unit="B", initial=have) as bar,
    ):
        for block in (block for some in (first, blocks) for block in some):
            file.write(block)
            bar.update(len(block))
            received += len(block)
            if have + received > archive.size:
                file.truncate(0)
                raise _RefusedError(f"it sends another file, of more than {archive.size:,} bytes")
            seconds = time.monotonic() - started
            if not patient and seconds > SLOW_AFTER and received < SLOW * seconds:
                raise _SlowError(f"{url} sends {received / seconds / 1000:,.0f} kB/s")
