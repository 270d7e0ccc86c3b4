"""Classifiers on the features of a trained network, in place of its last layer."""

import warnings
from contextlib import contextmanager
from numbers import Real

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, pairwise_distances_argmin, recall_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler, normalize
from sklearn.svm import SVC, LinearSVC
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from kmodels.errors import InputError, require, require_whole, shorten, unknown

KERNELS = ("linear", "rbf")
SELECT = ("accuracy", "balanced_accuracy")
# The logit of a class that was not seen in training.
NEVER = -100.0
TAUS = tuple(round(0.1 * i, 1) for i in range(11))


class _PenaltyHead(ClassifierMixin, BaseEstimator):
    """What classifiers on standardised features share: a penalty C that is chosen on val."""

    SELECT = SELECT

    def fit(self, features, labels, val_features=None, val_labels=None):
        """Fits a pipeline for each C on the training features and keeps the best.

        Args:
            features: floats (n, d), finite.
            labels: (n,), ints or strings, at least two classes.
            val_features: (m, d), to choose C by; needed for several C.
            val_labels: (m,), as `labels`, with at least one class of theirs.

        Returns:
            self.

        Raises:
            InputError: if these or the settings do not fit.
        """
        if self.select not in self.SELECT:
            raise unknown("select", self.select, self.SELECT)
        given = [data is not None for data in (val_features, val_labels)]
        require(given[0] == given[1], "val_features and val_labels must be given together", given)
        candidates = sorted(np.atleast_1d(self.C).tolist())
        require(
            len(candidates) == 1 or (candidates and all(given)),
            "C must be one number, or several with val_features and val_labels to choose one by",
            self.C,
        )
        features, labels = _validated(self, features, labels)
        self.classes_ = np.unique(labels)
        if all(given):
            val_features, val_labels = _validated(self, val_features, val_labels, reset=False)
            # Not np.isin, for which 1 and "1" are the same.
            known, found = self.classes_.tolist(), np.unique(val_labels).tolist()
            rule = f"val_labels must have a class that training has: {shorten(map(repr, known))}"
            require(set(known) & set(found), rule, found)
        with _input_errors():
            pipelines = {
                C: make_pipeline(StandardScaler(), self._classifier(C)).fit(features, labels) for C in candidates
            }
        scored = pipelines if all(given) else {}
        self.val_scores_ = {C: self._score(p, val_features, val_labels) for C, p in scored.items()}
        self.C_ = max(self.val_scores_, key=self.val_scores_.get) if all(given) else candidates[0]
        self.pipeline_ = pipelines[self.C_]
        self.converged_ = self._has_converged(self.pipeline_[-1])
        return self

    def predict(self, features):
        """Labels (n,) of finite features (n, d)."""
        return self._fitted().predict(_validated(self, features, reset=False))

    def decision_function(self, features):
        """Scores (n, classes), larger for likelier classes; for two classes (n,), positive for the second."""
        return self._fitted().decision_function(_validated(self, features, reset=False))

    def _fitted(self):
        check_is_fitted(self)
        return self.pipeline_

    def _score(self, pipeline, val_features, val_labels):
        return _score(val_labels, pipeline.predict(val_features), self.select)

    def _checked_weights(self):
        if isinstance(self.class_weight, dict):
            # scikit-learn accepts them, and its solvers may then never end.
            positive = all(isinstance(weight, Real) and 0 < weight < np.inf for weight in self.class_weight.values())
            require(positive, "weights of class_weight must be finite numbers above 0", self.class_weight)
        return self.class_weight


class SVMHead(_PenaltyHead):
    """Support vector machine on standardised features; a scikit-learn classifier.

    >>> head = SVMHead(C=(0.01, 0.1, 1.0)).fit(train_features, train_labels, val_features, val_labels)
    >>> head.C_, head.score(test_features, test_labels)

    Args:
        kernel: "linear" (one class against the rest, squared hinge loss) or "rbf" (one class against one, its width
            set by the variance of the features).
        C: the penalty of a training error, more than 0; or several, of which `fit` chooses the best on validation
            features, the smallest of equally good ones.
        class_weight: each class's C is multiplied by it; "balanced": by n / (classes * images of the class), so that
            every class has the same total weight; {label: weight}, more than 0: other classes have 1; None: all 1.
        select: the score to choose by: "accuracy" or "balanced_accuracy", the mean over the classes.

    Attributes:
        classes_: the labels, sorted.
        C_: the chosen penalty.
        val_scores_: {C: score on the validation features}, fractions of 1; empty without validation features.
        converged_: whether the solver converged; if not, try a smaller C.
        pipeline_: the fitted StandardScaler and LinearSVC or SVC.
    """

    def __init__(self, kernel="linear", C=1.0, class_weight=None, select="accuracy"):  # noqa: N803
        self.kernel = kernel
        self.C = C
        self.class_weight = class_weight
        self.select = select

    def _classifier(self, C):  # noqa: N803
        if self.kernel not in KERNELS:
            raise unknown("kernel", self.kernel, KERNELS)
        weights = self._checked_weights()
        if self.kernel == "linear":
            # With the default tolerance, 1e-4, separable classes took hundreds of steps (minutes) for the same
            # validation accuracy. The dual problem, the default where features outnumber images, often did not
            # converge in 1,000 steps.
            return LinearSVC(C=C, dual=False, tol=1e-3, class_weight=weights)
        return SVC(C=C, kernel=self.kernel, cache_size=1000, class_weight=weights)

    def _has_converged(self, svm):
        return bool(svm.n_iter_ < svm.max_iter) if self.kernel == "linear" else svm.fit_status_ == 0


class LogisticHead(_PenaltyHead):
    """Logistic regression on standardised features, a linear probe; a scikit-learn classifier.

    >>> head = LogisticHead(C=(0.01, 0.1, 1.0)).fit(train_features, train_labels, val_features, val_labels)
    >>> kernel, bias = head.as_layer(classes=10)

    Args:
        C, class_weight: as of SVMHead.
        select: the score to choose by: as of SVMHead, or "log_loss" (the negative loss is the score), which also tells
            probabilities that are too sure or not sure enough.

    Attributes:
        classes_, C_, val_scores_, converged_, pipeline_: as of SVMHead.
    """

    SELECT = (*SELECT, "log_loss")

    def __init__(self, C=1.0, class_weight=None, select="log_loss"):  # noqa: N803
        self.C = C
        self.class_weight = class_weight
        self.select = select

    def as_layer(self, classes):
        """The same function as the weights of a dense layer that gives logits.

        Args:
            classes: how many; the labels are 0..classes-1. One without training features gets a logit so low that it
                is not predicted.

        Returns:
            Kernel (d, classes) and bias (classes,), float32.

        Raises:
            InputError: if the labels that it was fitted to are others.
        """
        scaler, regression = self._fitted()
        require_whole("classes", classes, 1)
        fits = np.issubdtype(self.classes_.dtype, np.integer) and np.isin(self.classes_, range(classes)).all()
        rule = f"the labels must be integers from 0 to {classes - 1}, for a layer of {classes} logits"
        require(fits, rule, self.classes_.tolist())
        coefficients, intercepts = regression.coef_, regression.intercept_
        if len(coefficients) == 1:
            # Of two classes, scikit-learn keeps the difference.
            coefficients, intercepts = (
                np.stack([-coefficients[0], coefficients[0]]) / 2,
                np.r_[-intercepts, intercepts] / 2,
            )
        scaled = (coefficients / scaler.scale_).T
        kernel, bias = np.zeros((len(scaled), classes), "float32"), np.full(classes, NEVER, "float32")
        kernel[:, self.classes_], bias[self.classes_] = scaled, intercepts - scaler.mean_ @ scaled
        return kernel, bias

    def _classifier(self, C):  # noqa: N803
        return LogisticRegression(C=C, class_weight=self._checked_weights(), max_iter=1000)

    def _score(self, pipeline, val_features, val_labels):
        if self.select != "log_loss":
            return super()._score(pipeline, val_features, val_labels)
        # A class without training images has no probability.
        seen = np.isin(val_labels, self.classes_)
        probabilities = pipeline.predict_proba(val_features[seen])
        return -float(log_loss(val_labels[seen], probabilities, labels=self.classes_))

    def _has_converged(self, regression):
        return bool(regression.n_iter_.max() < regression.max_iter)


class NearestClassMean(ClassifierMixin, BaseEstimator):
    """The class whose mean feature vector is nearest; a scikit-learn classifier.

    Features are divided by their Euclidean norm first, so that only their direction counts; the means are not
    normalised again, as in the code of the source. A class without training features is never predicted.

    >>> head = NearestClassMean().fit(train_features, train_labels)
    >>> head.score(test_features, test_labels)

    Attributes:
        classes_: the labels, sorted.
        means_: (classes, d).

    Source: Kang et al., Decoupling Representation and Classifier for Long-Tailed Recognition, 2020, section 4.
    """

    def fit(self, features, labels):
        """Averages each class's features.

        Args:
            features: floats (n, d), finite.
            labels: (n,), ints or strings.

        Returns:
            self.

        Raises:
            InputError: if the two do not fit.
        """
        features, labels = _validated(self, features, labels)
        self.classes_ = np.unique(labels)
        # Not scikit-learn's NearestCentroid: it also divides by variances, and warns where a unit's is 0.
        self.means_ = np.stack([normalize(features[labels == label]).mean(axis=0) for label in self.classes_])
        return self

    def predict(self, features):
        """Labels (n,) of finite features (n, d)."""
        check_is_fitted(self)
        features = normalize(_validated(self, features, reset=False))
        return self.classes_[pairwise_distances_argmin(features, self.means_)]


def tau_normalised(kernel, tau):
    """The classifier's weights, each class's column divided by its Euclidean norm to the power tau.

    Networks give frequent classes weights with a larger norm; tau 0 leaves the norms as they are, 1 makes them equal.
    The bias is dropped, as in the source: `features @ tau_normalised(kernel, tau)` are the logits.

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
    require(isinstance(tau, Real) and 0 <= tau <= 1, "tau must be a number from 0 to 1", tau)
    norms = np.linalg.norm(kernel, axis=0)
    return kernel / np.where(norms > 0, norms, 1) ** tau


def choose_tau(kernel, val_features, val_labels, select="accuracy"):
    """The tau from 0 to 1, in steps of 0.1, with the best score on validation features; the smallest of equal ones.

    Args:
        kernel: the classifier's weights (d, classes).
        val_features: (n, d), finite.
        val_labels: ints (n,), 0..classes-1.
        select: "accuracy", or "balanced_accuracy" for the mean over the classes, where the validation images are as
            imbalanced as the training images.

    Returns:
        The tau and {tau: score}, fractions of 1.

    Raises:
        InputError: if the arguments do not fit.

    Source: Kang et al., Decoupling Representation and Classifier for Long-Tailed Recognition, 2020, section 4.
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


def _score(labels, predictions, select):
    """Accuracy, or its mean over the classes that occur in the labels; a fraction of 1."""
    if select == "accuracy":
        return float(np.mean(labels == predictions))
    return float(recall_score(labels, predictions, labels=np.unique(labels), average="macro"))


def _validated(estimator, features, *labels, reset=True):
    """The features, and labels if any, as arrays; with `reset` the estimator remembers the number of features."""
    with _input_errors():
        data = validate_data(estimator, features, *labels, reset=reset, dtype=[np.float32, np.float64])
        if labels:
            check_classification_targets(data[1])
        return data


@contextmanager
def quiet_solvers():
    """A context in which scikit-learn does not warn that a solver stopped early, which its users look at themselves."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        # scikit-learn 1.6 asks newer versions of SciPy for an option that they no longer have.
        warnings.filterwarnings("ignore", "Unknown solver options")
        yield


@contextmanager
def _input_errors():
    """Turns scikit-learn's ValueErrors into InputErrors and ignores its ConvergenceWarning: see `converged_`."""
    try:
        with quiet_solvers():
            yield
    except ValueError as error:
        # The lines after the first suggest other estimators.
        raise InputError(str(error).splitlines()[0]) from error
