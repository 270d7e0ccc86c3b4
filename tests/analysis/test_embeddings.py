"""Points in a plane: the same for the same seed, classes that lie apart stay apart."""

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from kmodels import InputError
from kmodels.analysis import silhouette, tsne


@pytest.fixture(autouse=True)
def _one_thread():
    # Threads that wait for each other a thousand times are slow where other tests keep the cores busy.
    with threadpool_limits(1):
        yield


def clusters(d=60, n=30):
    labels = np.repeat(np.arange(3), n)
    rng = np.random.default_rng(0)
    centres = 10 * rng.normal(size=(3, d))
    return (centres[labels] + rng.normal(size=(3 * n, d))).astype(np.float32), labels


def test_clusters_stay_clusters_and_a_seed_repeats_the_picture():
    features, labels = clusters()
    before = features.copy()
    points = tsne(features, perplexity=10)
    assert (points.shape, points.dtype) == ((90, 2), np.float32)
    assert silhouette(points, labels) > 0.7
    np.testing.assert_array_equal(features, before)
    np.testing.assert_array_equal(points, tsne(features, perplexity=10))


def test_silhouette_by_hand():
    # Of the point 0: a = 1, b = 9.5; of 1: a = 1, b = 8.5; the others are their mirror images.
    expected = np.mean([(9.5 - 1) / 9.5, (8.5 - 1) / 8.5])
    assert silhouette([[0], [1], [9], [10]], [0, 0, 1, 1]) == pytest.approx(expected)


def test_silhouette_is_none_where_it_means_nothing():
    assert silhouette(np.zeros((3, 2)), [1, 1, 1]) is None
    assert silhouette(np.eye(3), [0, 1, 2]) is None
    assert silhouette(np.zeros((0, 2)), []) is None


@pytest.mark.parametrize(
    ("features", "perplexity", "message"),
    [
        (np.eye(5), 5, "perplexity must be more than 0 and less than the number of points, 5. Received: 5"),
        (np.eye(5), 0, "perplexity must be more than 0"),
        (np.full((5, 3), np.nan), 2, "features must be finite. Received: 15"),
        (np.ones((5, 3)), 2, "features must differ between rows"),
        (np.ones((5, 1)), 2, r"features must be \(n, d\), at least three rows and two columns"),
        (np.ones((5, 2, 2, 3)), 2, r"features must be \(n, d\)"),
    ],
)
def test_what_cannot_be_placed_is_refused(features, perplexity, message):
    with pytest.raises(InputError, match=message):
        tsne(features, perplexity=perplexity)


def test_silhouette_refuses_what_does_not_fit():
    with pytest.raises(InputError, match=r"points must be \(n, d\) and labels \(n,\)"):
        silhouette(np.eye(3), [0, 1])
    with pytest.raises(InputError, match="points must be finite"):
        silhouette([[np.nan], [0]], [0, 1])
