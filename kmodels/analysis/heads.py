"""Classifiers on the features of a trained network, in place of its last layer."""

import warnings
from collections.abc import Iterable, Mapping
from numbers import Real

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import pairwise_distances_argmin, recall_score
from sklearn.preprocessing import StandardScaler, normalize
from sklearn.svm import SVC, LinearSVC
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from kmodels.errors import InputError, require, unknown

KERNELS = ("linear", "rbf")
SELECT = ("accuracy", "balanced_accuracy")
TAUS = tuple(round(0.1 * i, 1) for i in range(11))


class SVMHead(ClassifierMixin, BaseEstimator):
    """Support vector machine on standardised features; a scikit-learn classifier.

    Args:
        kernel: "linear" (one class against the rest, squared hinge loss) or "rbf" (class against class, its width set
            by the variance of the features).
        C: the penalty of a training error, more than 0; or several, of which `fit` takes the best on validation
            features, of equals the smallest.
        class_weight: each class's C is multiplied by it; "balanced": by n / (classes * images of the class), so that
            all classes together weigh alike; {label: penalty}, more than 0: classes left out have 1; None: all 1.
        select: what the best is chosen by: "accuracy" or "balanced_accuracy", the mean over the classes.
        seed: an int, for the linear kernel where there are fewer features than images.

    Attributes:
        classes_: the labels, sorted.
        C_: the penalty taken.
        val_scores_: {C: score on the validation features}, fractions of 1; empty where none were given.
        converged_: whether the solver of the machine taken came to its end; where not, a smaller C helps.
    """

    def __init__(self, kernel="linear", C=1.0, class_weight=None, select="accuracy", seed=0):  # noqa: N803
        self.kernel = kernel
        self.C = C
        self.class_weight = class_weight
        self.select = select
        self.seed = seed

    def fit(self, features, labels, val_features=None, val_labels=None):
        """Standardises by the training features, fits a machine for each C and keeps the best.

        Args:
            features: (n, d), finite.
            labels: (n,), ints or strings, at least two classes.
            val_features: (m, d), to choose C by; needed where there are several.
            val_labels: (m,).

        Returns:
            self.

        Raises:
            InputError: if these or the settings do not fit.
        """
        candidates = self._candidates()
        features, labels = _training_data(self, features, labels)
        self.classes_ = np.unique(labels)
        require(len(self.classes_) >= 2, "an SVM needs labels of at least two classes, not one class", self.classes_)
        self._check_class_weight()
        validation = self._validation_data(val_features, val_labels)
        require(
            validation or len(candidates) == 1,
            "several values of C need val_features and val_labels to choose one by",
            tuple(candidates),
        )
        self.scaler_ = StandardScaler().fit(features)
        features = self.scaler_.transform(features)
        machines = {C: self._fit_one(C, features, labels) for C in candidates}
        self.val_scores_ = {C: self._val_score(svm, *validation) for C, svm in machines.items()} if validation else {}
        self.C_ = max(candidates, key=lambda candidate: self.val_scores_.get(candidate, 0))
        self.svm_ = machines[self.C_]
        self.converged_ = _converged(self.svm_)
        return self

    def predict(self, features):
        """Labels (n,) of features (n, d)."""
        features = self._standardised(features)
        return self.svm_.predict(features)

    def decision_function(self, features):
        """Scores (n, classes), larger for likelier classes; for two classes (n,), positive for the second."""
        features = self._standardised(features)
        return self.svm_.decision_function(features)

    def _standardised(self, features):
        check_is_fitted(self)
        return self.scaler_.transform(_new_data(self, features))

    def _candidates(self):
        if self.kernel not in KERNELS:
            raise unknown("kernel", self.kernel, KERNELS)
        if self.select not in SELECT:
            raise unknown("select", self.select, SELECT)
        candidates = list(self.C) if isinstance(self.C, Iterable) else [self.C]
        require(candidates and all(map(_positive, candidates)), "C must be one or more numbers above 0", self.C)
        return sorted(map(float, candidates))

    def _check_class_weight(self):
        weights = self.class_weight
        if weights is None or (isinstance(weights, str) and weights == "balanced"):
            return
        require(isinstance(weights, Mapping), 'class_weight must be None, "balanced" or {label: penalty}', weights)
        known = self.classes_.tolist()
        strange = [label for label in weights if label not in known]
        require(not strange, f"class_weight must be of labels that occur: {known}", strange)
        require(all(map(_positive, weights.values())), "penalties of class_weight must be numbers above 0", weights)

    def _validation_data(self, features, labels):
        require(
            (features is None) == (labels is None),
            "val_features and val_labels must be given together",
            tuple(type(value).__name__ for value in (features, labels)),
        )
        return () if features is None else _training_data(self, features, labels, reset=False)

    def _fit_one(self, C, features, labels):  # noqa: N803
        if self.kernel == "linear":
            # With the default tolerance, 1e-4, classes that can be told apart took hundreds of steps (minutes) for the
            # same validation accuracy.
            svm = LinearSVC(C=C, dual="auto", tol=1e-3, class_weight=self.class_weight, random_state=self.seed)
        else:
            svm = SVC(C=C, kernel=self.kernel, cache_size=1000, class_weight=self.class_weight)
        with warnings.catch_warnings():
            # `converged_` tells it.
            warnings.simplefilter("ignore", ConvergenceWarning)
            return svm.fit(features, labels)

    def _val_score(self, svm, features, labels):
        return _score(labels, svm.predict(self.scaler_.transform(features)), self.select)


class NearestClassMean(ClassifierMixin, BaseEstimator):
    """The class whose mean feature vector is nearest; a scikit-learn classifier.

    Features are divided by their Euclidean norm first, so that only their direction counts; the means are not
    normalised again, as in the code of the source. A class without training features is never predicted.

    Attributes:
        classes_: the labels, sorted.
        means_: (classes, d).

    Source: Kang et al., Decoupling Representation and Classifier for Long-Tailed Recognition, 2020, section 4.
    """

    def fit(self, features, labels):
        """Averages each class's features.

        Args:
            features: (n, d), finite.
            labels: (n,), ints or strings.

        Returns:
            self.

        Raises:
            InputError: if the two do not fit.
        """
        features, labels = _training_data(self, features, labels)
        features = normalize(features)
        self.classes_ = np.unique(labels)
        self.means_ = np.stack([features[labels == label].mean(axis=0) for label in self.classes_])
        return self

    def predict(self, features):
        """Labels (n,) of features (n, d)."""
        check_is_fitted(self)
        return self.classes_[pairwise_distances_argmin(normalize(_new_data(self, features)), self.means_)]


def tau_normalised(kernel, tau):
    """The classifier's weights, each class's column divided by its Euclidean norm to the power tau.

    Networks give frequent classes weights with a larger norm; tau 0 leaves them so, 1 takes it all away. The bias is
    left out, as in the source: `features @ tau_normalised(kernel, tau)` are the logits.

    Args:
        kernel: (d, classes).
        tau: 0..1.

    Returns:
        Floats (d, classes); a column of zeros stays one.

    Raises:
        InputError: if the kernel is not 2-D and finite, or tau outside 0..1.

    Source: Kang et al., Decoupling Representation and Classifier for Long-Tailed Recognition, 2020, section 4.
    """
    kernel = np.asarray(kernel)
    require(kernel.ndim == 2 and np.isfinite(kernel).all(), "kernel must be finite numbers (d, classes)", kernel.shape)
    require(0 <= tau <= 1, "tau must be from 0 to 1", tau)
    norms = np.linalg.norm(kernel, axis=0)
    return kernel / np.where(norms > 0, norms, 1) ** tau


def choose_tau(kernel, val_features, val_labels, select="accuracy"):
    """The tau with the best score on validation features, from 0 to 1 in steps of 0.1; of equals the smallest.

    Args:
        kernel: the classifier's weights (d, classes).
        val_features: (n, d), finite.
        val_labels: ints (n,), 0..classes-1.
        select: "accuracy", or "balanced_accuracy" for the mean over the classes, where validation images are as
            unevenly spread as training images.

    Returns:
        The tau and {tau: score}, fractions of 1.

    Raises:
        InputError: if the arguments do not fit.
    """
    kernel, val_features, val_labels = np.asarray(kernel), np.asarray(val_features), np.asarray(val_labels)
    if select not in SELECT:
        raise unknown("select", select, SELECT)
    require(
        val_features.ndim == 2 and val_features.shape[1:] == kernel.shape[:1] and len(val_features) > 0,
        "val_features must be (n, d) for a kernel (d, classes), n at least 1",
        (val_features.shape, kernel.shape),
    )
    require(np.isfinite(val_features).all(), "val_features must be finite", int((~np.isfinite(val_features)).sum()))
    require(
        val_labels.shape == (len(val_features),) and np.isin(val_labels, range(kernel.shape[1])).all(),
        f"val_labels must be {len(val_features)} integers from 0 to {kernel.shape[1] - 1}",
        val_labels.tolist(),
    )
    scores = {
        tau: _score(val_labels, (val_features @ tau_normalised(kernel, tau)).argmax(axis=1), select) for tau in TAUS
    }
    return max(scores, key=scores.get), scores


def _positive(number):
    return isinstance(number, Real) and 0 < number < np.inf


def _converged(svm):
    return bool(svm.n_iter_ < svm.max_iter) if isinstance(svm, LinearSVC) else svm.fit_status_ == 0


def _score(labels, predictions, select):
    """Accuracy, or its mean over the classes that occur in the labels; a fraction of 1."""
    if select == "accuracy":
        return float(np.mean(labels == predictions))
    return float(recall_score(labels, predictions, labels=np.unique(labels), average="macro"))


def _training_data(estimator, features, labels, reset=True):
    """Features and labels as arrays that fit; with `reset` the estimator remembers the number of features."""
    try:
        features, labels = validate_data(estimator, features, labels, reset=reset, dtype=[np.float32, np.float64])
        check_classification_targets(labels)
    except ValueError as error:
        raise _input_error(error) from error
    return features, labels


def _new_data(estimator, features):
    try:
        return validate_data(estimator, features, reset=False, dtype=[np.float32, np.float64])
    except ValueError as error:
        raise _input_error(error) from error


def _input_error(error):
    # The lines after the first advise other estimators.
    return InputError(str(error).splitlines()[0])
