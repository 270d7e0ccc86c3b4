import numpy as np
import pytest
from PIL import Image
from sklearn.model_selection import cross_val_predict

from kmodels import InputError
from kmodels.analysis import data_problems, label_issues, near_duplicates


def photographs(n, side=48, seed=0):
    """Smooth random pictures, no two alike: uint8 (n, side, side, 3)."""
    noise = np.random.RandomState(seed).randint(0, 256, (n, 6, 6, 3)).astype(np.uint8)
    return np.stack([np.asarray(Image.fromarray(one).resize((side, side), Image.Resampling.BICUBIC)) for one in noise])


def test_copies_are_found_scaled_darker_grey_and_compressed(tmp_path):
    images = photographs(30)
    changed = {
        2: np.asarray(Image.fromarray(images[2]).resize((64, 64))),
        5: (0.6 * images[5]).astype(np.uint8),
        7: np.repeat(images[7].mean(axis=-1, keepdims=True), 3, axis=-1).astype(np.uint8),
    }
    Image.fromarray(images[9]).save(tmp_path / "9.jpg", quality=30)
    with Image.open(tmp_path / "9.jpg") as compressed:
        changed[9] = np.asarray(compressed)
    copies = [np.asarray(Image.fromarray(one).resize((64, 64))) for one in changed.values()]
    found = near_duplicates(np.stack([*photographs(10, 64, seed=1), *copies]), images)
    assert dict(zip(found.first.tolist(), found.second.tolist(), strict=True)) == {10: 2, 11: 5, 12: 7, 13: 9}
    assert (found.correlation > 0.95).all()
    assert (np.diff(found.correlation) <= 0).all()


def test_of_several_copies_the_most_similar_is_named():
    images = photographs(3)
    darker = np.clip(images[1].astype(int) + np.random.RandomState(0).randint(-30, 30, images[1].shape), 0, 255)
    found = near_duplicates(images[1:2], np.stack([darker.astype(np.uint8), images[1], images[0]]))
    assert found.second.tolist() == [1]


def test_plain_images_are_no_duplicates_of_anything():
    plain = np.full((4, 16, 16, 3), 200, np.uint8)
    assert len(near_duplicates(plain, plain).first) == 0


def blobs(n=150, seed=0):
    """Features of three classes that lie apart, and their labels."""
    rng = np.random.RandomState(seed)
    labels = np.arange(n) % 3
    return rng.normal(size=(n, 8)) + 6 * np.eye(3, 8)[labels], labels


def test_wrong_labels_are_found_with_the_class_that_they_look_like():
    features, labels = blobs()
    given = labels.copy()
    given[[4, 17, 32]] = (given[[4, 17, 32]] + 1) % 3
    issues = label_issues(features, given, 3)
    assert sorted(issues.index.tolist()) == [4, 17, 32]
    assert issues.suggested.tolist() == labels[issues.index].tolist()
    assert (np.diff(issues.margin) <= 0).all()


def test_right_labels_are_left_alone():
    assert len(label_issues(*blobs(), 3).index) == 0


@pytest.mark.parametrize("size", [2, 3, 4])
def test_a_small_class_leaves_four_fifths_of_the_others_to_each_fit(size, monkeypatch):
    features, labels = blobs()
    labels = np.r_[labels, np.full(size, 3)]
    features = np.r_[features, 6 * np.eye(8)[np.full(size, 5)]]
    seen = []

    def keep(model, features, given, cv, **options):
        seen.extend(given[train] for train, _ in cv.split(features, given))
        return cross_val_predict(model, features, given, cv=cv, **options)

    monkeypatch.setattr(data_problems, "cross_val_predict", keep)
    assert label_issues(features, labels, 4).index.tolist() == []
    for given in seen:
        assert np.bincount(given)[:3].tolist() == [40, 40, 40]
        assert np.sum(given == 3) >= size - 1


@pytest.mark.parametrize("labels", [[0, 0, 0], [0, 1, 2], [0, 0, 1]])
def test_too_few_images_of_a_class_are_no_issue(labels):
    assert len(label_issues(np.eye(3), labels, 3).index) == 0


def test_features_that_do_not_fit_the_labels_are_refused():
    with pytest.raises(InputError, match="features"):
        label_issues(np.zeros((3, 2)), [0, 1], 2)
