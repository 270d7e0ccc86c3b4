"""Where the files of a dataset are looked for."""

from kmodels.data.about import places


def test_a_user_without_a_home_folder_can_choose_the_cache(without_home, tmp_path, monkeypatch):
    monkeypatch.setenv("KMODELS_CACHE", str(tmp_path))
    monkeypatch.delenv("TFDS_DATA_DIR")
    assert str(tmp_path / "cifar10-*") in [place.path for place in places("cifar10")]
