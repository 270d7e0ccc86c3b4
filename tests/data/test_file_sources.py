"""Folders and zip files: what changes a fingerprint, and which zip files are refused."""

import os
import tracemalloc
import zipfile

import pytest

from kmodels import InputError
from kmodels.data import file_sources
from kmodels.data.file_sources import Folder, Zip

NAMES = ["0.png", "1.png", "2.png", "3.png"]


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "cat").mkdir()
    for name in NAMES:
        (tmp_path / "cat" / name).write_bytes(b"pixels")
        os.utime(tmp_path / "cat" / name, ns=(0, 0))
    os.utime(tmp_path / "cat", ns=(0, 0))
    return tmp_path


def fingerprint(folder):
    return Folder(folder).fingerprint(lambda: [("cat", sorted(os.listdir(folder / "cat")))])


def write_zip(path, *names):
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, f"content of {name}")
    return path


@pytest.mark.parametrize("limit", [2, 5000])
@pytest.mark.parametrize(
    "change",
    [
        lambda cat: (cat / "4.png").write_bytes(b""),
        lambda cat: (cat / "3.png").unlink(),
        lambda cat: (cat / "3.png").rename(cat / "5.png"),
        lambda cat: [(cat / name).write_bytes(b"others") for name in NAMES],
        lambda cat: os.utime(cat, ns=(1, 1)),
    ],
)
def test_a_change_of_the_files_changes_the_fingerprint(folder, monkeypatch, limit, change):
    monkeypatch.setattr(file_sources, "FINGERPRINT_FILES", limit)
    before = fingerprint(folder)
    assert fingerprint(folder) == before
    change(folder / "cat")
    assert fingerprint(folder) != before


def test_an_overwritten_file_is_seen_in_a_small_set_and_in_the_sample_of_a_large_one(folder, monkeypatch):
    before = fingerprint(folder)
    os.utime(folder / "cat" / "1.png", ns=(1, 1))
    assert fingerprint(folder) != before
    monkeypatch.setattr(file_sources, "FINGERPRINT_FILES", 2)
    before = fingerprint(folder)
    os.utime(folder / "cat" / "3.png", ns=(1, 1))
    assert fingerprint(folder) == before
    os.utime(folder / "cat" / "2.png", ns=(1, 1))
    assert fingerprint(folder) != before


def test_a_zip_is_read_like_the_folder_that_it_was_made_of(tmp_path):
    names = ("train/cat/1.png", "train/cat/2.png", "test/cat/3.png", "__MACOSX/cat/1.png", "train\\dog\\4.png")
    files = Zip(write_zip(tmp_path / "a.zip", *names))
    assert files.folders("") == ["test", "train"]
    assert files.folders("train") == ["cat", "dog"]
    assert files.folders("train/cat") == []
    assert sorted(files.names("train/cat")) == ["1.png", "2.png"]
    assert files.read("train/cat/2.png") == b"content of train/cat/2.png"
    assert files.read("train/dog/4.png") == b"content of train\\dog\\4.png"
    assert files.where("train") == tmp_path / "a.zip" / "train"
    files.close()


@pytest.mark.parametrize(
    "name", ["/etc/cat.png", "train/../../cat.png", "..\\cat.png", "C:\\cat.png", "a/" * 9000 + "cat.png"]
)
def test_a_zip_that_leads_out_of_itself_is_refused(tmp_path, name):
    write_zip(tmp_path / "a.zip", "train/cat/1.png", name)
    with pytest.raises(InputError, match=r"a\.zip is refused: it has a member whose path"):
        Zip(tmp_path / "a.zip").names("")


def test_a_file_that_is_not_a_zip_is_refused(tmp_path):
    (tmp_path / "a.zip").write_bytes(b"<html>please log in</html>")
    with pytest.raises(InputError, match=r"a\.zip is not a zip file"):
        Zip(tmp_path / "a.zip").names("")


def test_a_damaged_member_is_an_os_error_as_it_is_in_a_folder(tmp_path):
    path = write_zip(tmp_path / "a.zip", "cat.png")
    path.write_bytes(path.read_bytes().replace(b"content of", b"CONTENT of"))
    files = Zip(path)
    with pytest.raises(OSError, match="Bad CRC-32 for file"):
        files.read("cat.png")
    files.close()


def test_a_folder_and_its_zip_have_the_same_files_at_any_depth(tmp_path):
    names = ["train/1.png", "train/deep/er/2.png", "train/.hidden/3.png", "train/__MACOSX/4.png", "train/.5.png"]
    files = Zip(write_zip(tmp_path / "a.zip", *names))
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        archive.extractall(tmp_path / "a")
    assert sorted(files.walk("train")) == sorted(Folder(tmp_path / "a").walk("train")) == ["1.png", "deep/er/2.png"]
    assert Folder(tmp_path / "a").size("train/1.png") == files.size("train/1.png") == len("content of train/1.png")
    files.close()


def test_no_more_is_unpacked_than_the_zip_says(tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.png", bytes(10**7))
    # The size of the unpacked member, in both of its headers.
    path.write_bytes(path.read_bytes().replace((10**7).to_bytes(4, "little"), (100).to_bytes(4, "little")))
    files = Zip(path)
    assert files.size("bomb.png") == 100
    tracemalloc.start()
    with pytest.raises(OSError, match="CRC"):
        files.read("bomb.png")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 10**6
    files.close()


def test_folders_that_are_endless_are_refused(tmp_path):
    path = str(tmp_path)
    for _ in range(200):
        path += "/d"
        os.mkdir(path)
    with pytest.raises(InputError, match="more than 100 deep"):
        Folder(tmp_path).walk("")
