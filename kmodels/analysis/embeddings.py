"""t-SNE of features, and how well the classes are separated in it."""

import numpy as np
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from sklearn.metrics import silhouette_score

from kmodels.errors import require

# What t-SNE compares; the rest is mostly noise, and slow.
PRINCIPAL_COMPONENTS = 50


def tsne(features, seed=0, perplexity=30.0):
    """Maps features to a plane so that neighbours stay neighbours; distances between far groups mean little.

    Features are not standardised: a unit that hardly varies counts as little here as it does for the classifier. More
    than 50 dimensions are first reduced to the 50 principal components, as in the source. The initial positions are the
    first two components, so that one seed repeats the picture on one machine.

    Args:
        features: (n, d), n at least 3, d at least 2.
        seed: an int.
        perplexity: about how many neighbours each point has; more than 0 and less than n.

    Returns:
        float32 (n, 2).

    Raises:
        InputError: if the features do not fit, are not finite or all equal, or the perplexity does not fit.

    Source: van der Maaten and Hinton, Visualizing Data using t-SNE, 2008.
    """
    features = np.asarray(features, np.float32)
    require(
        features.ndim == 2 and features.shape[0] >= 3 and features.shape[1] >= 2,
        "features must be (n, d), at least three rows and two columns",
        features.shape,
    )
    require(np.isfinite(features).all(), "features must be finite", int((~np.isfinite(features)).sum()))
    require(np.ptp(features, axis=0).any(), "features must differ between rows", features[0].tolist()[:5])
    require(
        0 < perplexity < len(features),
        f"perplexity must be more than 0 and less than the number of points, {len(features)}",
        perplexity,
    )
    if features.shape[1] > PRINCIPAL_COMPONENTS:
        kept = min(PRINCIPAL_COMPONENTS, len(features))
        features = PCA(kept, random_state=seed).fit_transform(features)
    return TSNE(perplexity=perplexity, init="pca", random_state=seed).fit_transform(features).astype(np.float32)


def silhouette(points, labels):
    """How far the classes lie apart: from -1, each point amid another class, over 0 to 1, far from all others.

    It is the mean over the points of (b - a) / max(a, b), where a is a point's mean distance to its own class and b
    that to the nearest other class.

    Args:
        points: (n, d).
        labels: (n,).

    Returns:
        A float; None where it means nothing: fewer than two classes, or none with two points.

    Raises:
        InputError: if the two differ in length or points are not finite.

    Source: Rousseeuw, Silhouettes: a graphical aid to the interpretation and validation of cluster analysis, 1987.
    """
    points, labels = np.asarray(points), np.asarray(labels)
    require(
        points.ndim == 2 and labels.shape == (len(points),),
        "points must be (n, d) and labels (n,)",
        (points.shape, labels.shape),
    )
    require(np.isfinite(points).all(), "points must be finite", int((~np.isfinite(points)).sum()))
    if not 2 <= len(np.unique(labels)) < len(labels):
        return None
    return float(silhouette_score(points, labels))
