"""Folders and zips as places of files: what changes a stamp, and which zips are refused."""

import os
import zipfile

import pytest

from kmodels import InputError
from kmodels.data import places
from kmodels.data.places import Folder, Zip

NAMES = ["0.png", "1.png", "2.png", "3.png"]


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "cat").mkdir()
    for name in NAMES:
        (tmp_path / "cat" / name).write_bytes(b"pixels")
        os.utime(tmp_path / "cat" / name, ns=(0, 0))
    os.utime(tmp_path / "cat", ns=(0, 0))
    return tmp_path


def stamp(folder):
    return Folder(folder).stamp(lambda: [("cat", sorted(os.listdir(folder / "cat")))])


def write_zip(path, *names):
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, f"content of {name}")
    return path


@pytest.mark.parametrize("stamped", [2, 5000])
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
def test_a_change_of_the_files_changes_the_stamp(folder, monkeypatch, stamped, change):
    monkeypatch.setattr(places, "STAMPED", stamped)
    before = stamp(folder)
    assert stamp(folder) == before
    change(folder / "cat")
    assert stamp(folder) != before


def test_one_file_overwritten_is_seen_in_a_small_set_and_of_a_large_one_in_the_sample(folder, monkeypatch):
    before = stamp(folder)
    os.utime(folder / "cat" / "1.png", ns=(1, 1))
    assert stamp(folder) != before
    monkeypatch.setattr(places, "STAMPED", 2)
    before = stamp(folder)
    os.utime(folder / "cat" / "3.png", ns=(1, 1))
    assert stamp(folder) == before
    os.utime(folder / "cat" / "2.png", ns=(1, 1))
    assert stamp(folder) != before


def test_a_zip_is_read_like_the_folder_that_it_was_made_of(tmp_path):
    names = ("train/cat/1.png", "train/cat/2.png", "test/cat/3.png", "__MACOSX/cat/1.png", "train\\dog\\4.png")
    place = Zip(write_zip(tmp_path / "a.zip", *names))
    assert place.folders("") == ["test", "train"]
    assert place.folders("train") == ["cat", "dog"]
    assert place.folders("train/cat") == []
    assert sorted(place.names("train/cat")) == ["1.png", "2.png"]
    assert place.read("train/cat/2.png") == b"content of train/cat/2.png"
    assert place.read("train/dog/4.png") == b"content of train\\dog\\4.png"
    assert place.where("train") == tmp_path / "a.zip" / "train"
    place.close()


@pytest.mark.parametrize("name", ["/etc/cat.png", "train/../../cat.png", "..\\cat.png", "C:\\cat.png"])
def test_a_zip_that_leads_out_of_itself_is_refused(tmp_path, name):
    write_zip(tmp_path / "a.zip", "train/cat/1.png", name)
    with pytest.raises(InputError, match=r"a\.zip has a member that leads out of it, so it is not read: '.*cat\.png'"):
        Zip(tmp_path / "a.zip").names("")


def test_a_file_that_is_no_zip_is_refused(tmp_path):
    (tmp_path / "a.zip").write_bytes(b"<html>please log in</html>")
    with pytest.raises(InputError, match=r"a\.zip is no zip file, or only part of one"):
        Zip(tmp_path / "a.zip").names("")


def test_a_damaged_member_is_an_os_error_as_it_is_in_a_folder(tmp_path):
    path = write_zip(tmp_path / "a.zip", "cat.png")
    path.write_bytes(path.read_bytes().replace(b"content of", b"CONTENT of"))
    place = Zip(path)
    with pytest.raises(OSError, match="Bad CRC-32 for file"):
        place.read("cat.png")
    place.close()
