"""Classifiers on features: they obey scikit-learn's rules, and choose on validation features only."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from sklearn.utils.estimator_checks import check_estimator

from kmodels import InputError
from kmodels.analysis import LogisticHead, NearestClassMean, SVMHead, choose_tau, tau_normalised


def blobs(n=(30, 30, 30), seed=0, spread=1.0):
    """Three classes in four dimensions of quite different scales."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(3), n)
    centres = np.array([[2, 0, 0, 0], [0, 2, 0, 0], [0, 0, 2, 0]])
    return (centres[labels] + spread * rng.normal(size=(len(labels), 4))) * [1, 100, 0.01, 1], labels


NOT_OURS = {
    "check_fit_score_takes_y": "wants `y` where we say `labels`",
    "check_fit2d_predict1d": "wants advice to reshape where the error is one line",
}


@pytest.mark.parametrize("head", [SVMHead(), SVMHead("rbf"), LogisticHead(), NearestClassMean()])
def test_obeys_scikit_learn(head):
    check_estimator(head, expected_failed_checks=NOT_OURS, on_skip=None)


def test_is_a_support_vector_machine_on_standardised_features():
    features, labels = blobs()
    other, _ = blobs(seed=1)
    scaler = StandardScaler().fit(features)
    expected = SVC(C=2.0).fit(scaler.transform(features), labels).predict(scaler.transform(other))
    head = SVMHead("rbf", C=2.0).fit(features, labels)
    np.testing.assert_array_equal(head.predict(other), expected)
    assert (head.C_, head.val_scores_, head.converged_) == (2.0, {}, True)
    assert head.decision_function(other).shape == (90, 3)


@pytest.mark.parametrize("kernel", ["linear", "rbf"])
def test_chooses_the_penalty_that_is_best_on_validation_features(kernel):
    features, labels = blobs(spread=1.5)
    validation = blobs(seed=1, spread=1.5)
    head = SVMHead(kernel, C=(100, 1e-4, 0.1)).fit(features, labels, *validation)
    assert list(head.val_scores_) == [1e-4, 0.1, 100.0]
    for penalty, score in head.val_scores_.items():
        assert SVMHead(kernel, C=penalty).fit(features, labels).score(*validation) == pytest.approx(score)
    assert head.val_scores_[head.C_] == max(head.val_scores_.values()) == pytest.approx(head.score(*validation))


def test_of_equally_good_penalties_the_smallest_is_taken():
    features, labels = blobs(spread=0.01)
    assert SVMHead(C=[10, 1, 0.1]).fit(features, labels, features, labels).C_ == 0.1


def test_balanced_selection_counts_every_class_alike():
    features, labels = blobs(n=(60, 20, 20), spread=1.5)
    rare_and_frequent = blobs(n=(40, 4, 4), seed=1, spread=1.5)
    head = SVMHead(select="balanced_accuracy").fit(features, labels, *rare_and_frequent)
    predicted, true = head.predict(rare_and_frequent[0]), rare_and_frequent[1]
    expected = np.mean([np.mean(predicted[true == label] == label) for label in range(3)])
    assert head.val_scores_[1.0] == pytest.approx(expected)


def test_a_larger_weight_makes_a_class_win_more_often():
    features, labels = blobs(n=(60, 10, 10), spread=2.0)
    won = [np.sum(SVMHead(class_weight=w).fit(features, labels).predict(features) == 0) for w in (None, {0: 1e-3})]
    assert won[1] < won[0]
    assert np.sum(SVMHead(class_weight="balanced").fit(features, labels).predict(features) == 0) < won[0]


def test_labels_may_be_names():
    features, labels = blobs()
    names = np.array(["cat", "dog", "owl"])[labels]
    head = SVMHead(class_weight={"owl": 2}).fit(features, names)
    assert head.classes_.tolist() == ["cat", "dog", "owl"]
    assert head.score(features, names) > 0.8
    assert NearestClassMean().fit(features, names).predict(features)[0] in names


def test_works_in_a_grid_search():
    features, labels = blobs()
    search = GridSearchCV(SVMHead(), {"C": [0.01, 1.0], "kernel": ["linear", "rbf"]}, cv=3).fit(features, labels)
    assert search.best_score_ > 0.7
    assert clone(SVMHead("rbf", C=(1, 2))).get_params()["C"] == (1, 2)


def test_a_solver_that_did_not_end_says_so_without_a_warning():
    rng = np.random.default_rng(0)
    features, labels = rng.normal(size=(40, 30)) ** 9, rng.integers(0, 2, 40)
    assert not SVMHead(C=1e9).fit(features, labels).converged_
    assert SVMHead(C=1e-3).fit(features, labels).converged_


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kernel": "poly"}, "unknown kernel 'poly'; known: linear, rbf"),
        ({"select": "f1"}, "unknown select 'f1'"),
        ({"C": 0}, r"The 'C' parameter of LinearSVC must be a float in the range \(0.0, inf\). Got 0 instead"),
        ({"C": ()}, "C must be one number, or several with val_features and val_labels"),
        ({"C": None}, "The 'C' parameter of LinearSVC must be a float .* Got None"),
        ({"C": (1, 2)}, "C must be one number, or several with val_features and val_labels"),
        ({"class_weight": {7: 1.0}}, r"The classes, \[0, 1, 2\], are not in class_weight"),
        ({"class_weight": {0: 0.0}}, "weights of class_weight must be finite numbers above 0"),
        ({"class_weight": {0: -1}}, "weights of class_weight must be finite numbers above 0"),
        ({"class_weight": {0: float("inf")}}, "weights of class_weight must be finite numbers above 0"),
        ({"class_weight": "balance"}, "The 'class_weight' parameter of LinearSVC must be .* Got 'balance'"),
    ],
)
def test_wrong_settings_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        SVMHead(**settings).fit(*blobs())


@pytest.mark.parametrize("head", [SVMHead(), NearestClassMean()], ids=["svm", "mean"])
def test_wrong_features_are_refused(head):
    features, labels = blobs()
    missing = features.copy()
    missing[3, 2] = np.nan
    with pytest.raises(InputError, match="NaN"):
        clone(head).fit(missing, labels)
    with pytest.raises(InputError, match="inconsistent numbers of samples"):
        clone(head).fit(features, labels[:-1])
    fitted = clone(head).fit(features, labels)
    with pytest.raises(InputError, match=r"X has 3 features, but .* is expecting 4"):
        fitted.predict(features[:, :3])
    with pytest.raises(InputError, match="NaN"):
        fitted.predict(missing)


def test_one_class_is_not_enough():
    with pytest.raises(InputError, match="at least 2 classes"):
        SVMHead().fit(np.eye(3), [1, 1, 1])


def test_validation_features_come_with_labels_and_fit():
    features, labels = blobs()
    with pytest.raises(InputError, match="must be given together"):
        SVMHead().fit(features, labels, features)
    with pytest.raises(InputError, match="X has 2 features"):
        SVMHead().fit(features, labels, features[:, :2], labels)


@pytest.mark.parametrize("head", [SVMHead, LogisticHead])
@pytest.mark.parametrize(
    ("other", "received"), [(lambda y: y.astype(str), "'0', '1', '2'"), (lambda y: y + 10, "10, 11")]
)
def test_validation_labels_have_a_class_of_training(head, other, received):
    features, labels = blobs()
    message = f"must have a class that training has: 0, 1, 2. Received: .{received}"
    with pytest.raises(InputError, match=message):
        head(C=(0.1, 1)).fit(features, labels, features, other(labels))
    # One of three is enough.
    scores = SVMHead(C=(0.1, 1)).fit(features, labels, features, labels + 2).val_scores_
    assert max(scores.values()) < 1


@pytest.mark.parametrize("classes", [(0, 1, 2), (0, 2), (1, 3)])
def test_logistic_regression_is_a_dense_layer(classes):
    features, labels = blobs((30, 30, 30)[: len(classes)] + (0,) * (3 - len(classes)))
    labels = np.array(classes)[labels]
    head = LogisticHead(C=0.5).fit(features, labels)
    kernel, bias = head.as_layer(4)
    logits = features @ kernel + bias
    np.testing.assert_array_equal(logits.argmax(axis=1), head.predict(features))
    seen = logits[:, list(classes)]
    probabilities = np.exp(seen) / np.exp(seen).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(probabilities, head.pipeline_.predict_proba(features), atol=1e-5)


def test_labels_without_a_logit_make_no_dense_layer():
    features, labels = blobs((30, 30, 30))
    head = LogisticHead().fit(features, labels)
    for classes in (2, 0, None):
        with pytest.raises(InputError, match=r"labels must be integers from 0 to 1|classes must be an integer"):
            head.as_layer(classes)
    for others in (np.array(["a", "b", "c"])[labels], labels - 1):
        with pytest.raises(InputError, match="the labels must be integers from 0 to 2, for a layer of 3 logits"):
            LogisticHead().fit(features, others).as_layer(3)


def test_nearest_mean_by_hand():
    # Directions 0 and 90 degrees; lengths must not count. Class 1 never occurs, and is never predicted.
    head = NearestClassMean().fit([[1.0, 0], [9, 0], [0, 5]], [0, 0, 2])
    np.testing.assert_allclose(head.means_, [[1, 0], [0, 1]])
    assert head.predict([[100.0, 99], [0.1, 0.2], [0, 0]]).tolist() == [0, 2, 0]


def test_tau_goes_from_the_weights_as_they_are_to_equal_norms():
    kernel = np.array([[3.0, 0, 0], [4, 2, 0]])
    np.testing.assert_array_equal(tau_normalised(kernel, 0), kernel)
    np.testing.assert_allclose(tau_normalised(kernel, 1), [[0.6, 0, 0], [0.8, 1, 0]])
    np.testing.assert_allclose(tau_normalised(kernel, 0.5)[:, 0], kernel[:, 0] / 5**0.5)


def test_tau_is_chosen_on_validation_features():
    # The large norm of class 0 wins every image at tau 0; at 1, each image goes to the class of its direction.
    kernel = np.array([[10.0, 0], [0, 1]])
    features, labels = np.array([[1.0, 0.1], [0.5, 1], [0.4, 0.8], [0.1, 0.15]]), np.array([0, 1, 1, 1])
    tau, scores = choose_tau(kernel, features, labels)
    assert list(scores) == [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]
    assert (scores[0], scores[tau]) == (0.25, 1.0)
    assert all(score < 1 for smaller, score in scores.items() if smaller < tau)
    assert choose_tau(kernel, features, labels, "balanced_accuracy")[1][0] == 0.5


def test_what_does_not_fit_tau_is_refused():
    kernel, features = np.eye(3, 2), np.eye(4, 3)
    for tau in (1.5, "a", None, np.nan):
        with pytest.raises(InputError, match="tau must be a number from 0 to 1"):
            tau_normalised(kernel, tau)
    with pytest.raises(InputError, match=r"kernel must be finite numbers \(d, classes\)"):
        tau_normalised(kernel[0], 1)
    with pytest.raises(InputError, match="val_labels must be 4 integers from 0 to 1"):
        choose_tau(kernel, features, [0, 1, 2, 0])
    with pytest.raises(InputError, match=r"val_features must be \(n, d\) for a kernel"):
        choose_tau(kernel, features[:, :2], [0, 1, 0, 0])
    with pytest.raises(InputError, match="val_features must be finite"):
        choose_tau(kernel, np.full((4, 3), np.inf), [0, 1, 0, 0])
    with pytest.raises(InputError, match="unknown select"):
        choose_tau(kernel, features, [0, 1, 0, 0], "f1")
