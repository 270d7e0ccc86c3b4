"""Archives: what another file looks like, and one that the user hands over."""

import hashlib
import io
import random
import tarfile
import zipfile

import pytest

from kmodels import InputError
from kmodels.data.about import ABOUT, archives_of
from kmodels.data.archives import Archive, find, hand_over
from kmodels.data.downloads import download


def tar_gz(path, member):
    with tarfile.open(path, "w:gz") as tar:
        entry = tarfile.TarInfo(member)
        content = random.Random(0).randbytes(20_000)
        entry.size = len(content)
        tar.addfile(entry, io.BytesIO(content))
    return path


def archive_like(path):
    return Archive(path.name, path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest(), "http://x/y.tar.gz")


@pytest.fixture
def binary(tmp_path, monkeypatch):
    """The Archive of a small cifar-10-binary.tar.gz, and its path."""
    monkeypatch.setenv("KMODELS_CACHE", str(tmp_path / "cache"))
    path = tar_gz(tmp_path / "cifar-10-binary.tar.gz", "cifar-10-batches-bin/data_batch_1.bin")
    return archive_like(path), path


def python_archive(path):
    path.unlink()
    tar_gz(path, "cifar-10-batches-py/data_batch_1")


def cut_off(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def other_zip(path):
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("seg_train/seg_train/sea/1.jpg", b"x")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (python_archive, ("Python archive of CIFAR-10", "cifar-10-python.tar.gz")),
        (cut_off, ("binary archive of CIFAR-10", "cut off, at 50%")),
        (other_zip, ("Intel Image Classification", "b'PK")),
        (lambda path: path.write_text("\n<!DOCTYPE html><title>404</title>"), ("web page", "<!DOCTYPE", " bytes")),
        (lambda path: path.write_bytes(b""), ("empty file",)),
        (lambda path: path.write_bytes(b"\0" * 700), ("no archive", "700 bytes")),
        (lambda path: tar_gz(path, "mine/1.png"), ("first folder is 'mine'",)),
    ],
)
def test_a_wrong_file_is_named_by_what_it_looks_like(binary, make, words):
    archive, path = binary
    make(path)
    with pytest.raises(InputError) as error:
        find(path, [archive])
    for word in (*words, "Expected: cifar-10-binary.tar.gz", archive.sha256):
        assert word in str(error.value)


def test_an_archive_of_any_name_is_handed_over_and_stays_where_it_is(binary, tmp_path):
    archive, path = binary
    mine = path.rename(tmp_path / "cifar (1).gz")
    assert hand_over(mine, [archive]) == hand_over(mine, [archive]) == archive
    found, place = download([archive])
    assert found == archive
    assert place.resolve() == mine
    with pytest.raises(InputError, match="--archive"):
        hand_over(tmp_path / "none.gz", [archive])


def test_sizes_and_hashes_are_those_of_tfds():
    tfds = pytest.importorskip("tensorflow_datasets")
    for name in ("cifar10", "cifar100", "eurosat", "stl10"):
        published = {info.filename: (info.size, info.checksum) for info in tfds.builder_cls(name).url_infos.values()}
        (archive, *_) = archives_of({"stl10": "stl10_5"}.get(name, name))
        assert published[archive.name] == (archive.size, archive.sha256)


def test_every_dataset_is_described():
    from kmodels import DATASETS

    assert list(ABOUT) == list(DATASETS)
