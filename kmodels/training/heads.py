"""Classifiers on the frozen features of a trained network: representation and classifier, decoupled.

A head is an experiment like any other, with `init_from` naming the network and the data settings of the network's own
run, or with pretrained weights (the option `weights`). It has a record, with every split evaluated. What is free (the
penalty C, tau, the epoch to stop at) is chosen on val; test is evaluated once.

- "logistic": logistic regression, which becomes the network's classifier.
- "svm": a support vector machine on standardised features.
- "nearest_mean": the class with the nearest mean of normalised features.
- "tau_norm": the network's own classifier, its weights divided by a power of their norm.
- "crt": the classifier initialised again and trained, with the experiment's optimizer and sampler.
- "module:function": a function of yours that returns a scikit-learn classifier (`fit` and `predict`). It gets the seed
  of the run if it has an argument `seed`.

Source: Kang et al., Decoupling Representation and Classifier for Long-Tailed Recognition, 2020.
"""

import inspect
import time

import keras
import numpy as np
from sklearn.base import clone

from kmodels.analysis import LogisticHead, NearestClassMean, SVMHead, choose_tau, tau_normalised
from kmodels.components import call_with
from kmodels.data.cache import SPLITS
from kmodels.errors import InputError, require
from kmodels.models import APPLICATIONS, build_model
from kmodels.models.blocks import logits
from kmodels.models.checks import check_one_output
from kmodels.models.logits import end_of, last_dense, why_no_logits
from kmodels.models.saving import save_network, weights_checksum
from kmodels.records.networks import load_network_of_run
from kmodels.training.embeddings import embedded, features_network

# The heads that leave a whole network, their weights in its classifier; the others take the features only.
OF_CLASSIFIER = ("crt", "logistic", "tau_norm")
# The penalties that an SVM and a logistic regression choose from; where the largest is the best, from larger ones too.
# Weights of classes below 1, which multiply it, need such.
PENALTIES = (0.001, 0.01, 0.1, 1.0, 10.0, 100.0)
LOGISTIC_PENALTIES = (0.0001, 0.001, 0.01, 0.1, 1.0)
LARGEST_PENALTY = 1e8


def fit_head(job, verbose=None):
    """Fits a head that needs no training, and returns its Record.

    Args:
        job: the Job of an experiment with such a head.
        verbose: 0: silent.
    """
    say = _printer(verbose)
    dataset = features_of(job, say)
    fit = {
        "logistic": _fit_logistic,
        "nearest_mean": _fit_nearest_mean,
        "svm": _fit_svm,
        "tau_norm": _fit_tau_norm,
    }
    start = time.perf_counter()
    outputs, parameters, chosen = fit.get(job.experiment.head, _fit_own)(job, dataset, say)
    fields = {
        "parameters": int(parameters),
        "history": {},
        "best_epoch": None,
        "train_seconds": time.perf_counter() - start,
        "head": chosen,
        "network_sha256": weights_checksum(job.path(".keras")),
    }
    found = {name: outputs(getattr(dataset, name).images) for name in SPLITS}
    record, _ = job.write("completed", **fields, **job.evaluations(found))
    job.keep_predictions(found)
    for name, value in record.chosen.items():
        say(f"chosen on val: {name} {value:g}")
    say(f"test accuracy {100 * record.test.accuracy:.2f} % of {record.test.examples:,} images")
    return record


def classifier_on_features(job, verbose=None):
    """For head "crt": a newly initialised classifier, and the dataset with features instead of images.

    Args:
        job: the Job of an experiment with this head.
        verbose: 0: silent.
    """
    dataset = features_of(job, _printer(verbose))
    features = keras.Input(dataset.train.images.shape[1:], name="features")
    return keras.Model(features, logits(features, len(dataset.class_names)), name="classifier"), dataset


def features_of(job, say):
    """The dataset of a Job with the features of its network instead of images; sets `job.backbone`."""
    experiment = job.experiment
    if job.parent is None:
        shape, classes = job.dataset.image_shape, len(job.dataset.class_names)
        job.backbone = build_model(experiment.model, shape, classes, **experiment.model_options)
        _check_fits(job, f"the network {experiment.model}")
        return embedded(job.backbone, None, job.dataset, say)
    network = job.backbone = load_network_of_run(job.parent)
    _check_fits(job, f"the network {job.parent.name}")
    model = experiment.model.removeprefix(APPLICATIONS)
    if "model" not in job.components:
        require(network.name == model, f"the network {job.parent.name} must be the experiment's {model}", network.name)
    layers = [layer.name for layer in network.layers if layer.weights]
    dense = last_dense(network)
    classifier = dense.layer.name if dense else None
    kept = tuple(name for name in layers if name != classifier or experiment.head == "tau_norm")
    initialised = (classifier,) if experiment.head == "crt" else ()
    job.started_from = {"network": job.parent.name, "taken": kept, "drawn": initialised}
    return embedded(network, job.parent, job.dataset, say)


def _check_fits(job, which):
    """Raises InputError, before anything is computed, where a Job's network is not what its head needs."""
    network = job.backbone
    shapes = [tuple(tensor.shape)[1:] for tensor in getattr(network, "inputs", None) or ()]
    require(len(shapes) == 1, f"{which} must have one input, images", shapes)
    check_one_output(network)
    shape, size = shapes[0], job.dataset.image_shape
    fits = len(shape) == len(size) and all(side in (None, own) for side, own in zip(shape, size, strict=True))
    require(fits, f"{which} must take images {tuple(size)}", shape)
    features_network(network)
    if job.experiment.head in OF_CLASSIFIER:
        _check_classifier(network, job.experiment.head, len(job.dataset.class_names))


def _check_classifier(network, head, classes):
    """Raises InputError where a network has no classifier that this head can replace."""
    units = network.outputs[0].shape[-1]
    rule = f"head {head!r} needs a unit for each of the {classes} classes, Dense({classes}) at the end of the network"
    require(units == classes, f"{rule}; svm and nearest_mean need none", f"{units} unit{'s' if units > 1 else ''}")
    dense = last_dense(network)
    rule = f"head {head!r} needs a network that ends in a Dense layer, whose input is the features"
    require(dense, f"{rule}; svm and nearest_mean also take the layer 'embedding'", network.layers[-1].name)
    if problem := why_no_logits(end_of(network).activation, units, None, None):
        raise InputError(problem)
    rule = f"head {head!r} needs a bias (use_bias=True) in the Dense layer that the network ends in"
    require(head == "tau_norm" or dense.layer.use_bias, rule, dense.layer.name)


def with_classifier(network, *weights):
    """The network with these weights in its classifier, the Dense layer that it ends in."""
    last_dense(network).layer.set_weights(weights)
    return network


def _printer(verbose):
    return (lambda line: None) if verbose == 0 else (lambda line: print(line, flush=True))


def _fit_logistic(job, dataset, say):
    head, scores = _best_penalty(LogisticHead(LOGISTIC_PENALTIES, _class_weight(job, dataset.train)), dataset)
    if not head.converged_:
        say("the solver of the logistic regression did not converge")
    kernel, bias = head.as_layer(len(dataset.class_names))
    save_network(with_classifier(job.backbone, kernel, bias), job.path(".keras"), job.about)
    job.remember_network()
    chosen = {
        "C": head.C_,
        "converged": head.converged_,
        "val_loss": _by_name({C: -score for C, score in scores.items()}),
    }
    return lambda features: features @ kernel + bias, kernel.size + bias.size, chosen


def _best_penalty(head, dataset):
    """The best head on val and {C: score} of all. Larger penalties are tried until the largest is not the best."""
    splits = [part for split in (dataset.train, dataset.val) for part in (split.images, split.labels)]
    best = head.fit(*splits)
    scores = dict(best.val_scores_)
    while best.C_ == max(scores) < LARGEST_PENALTY:
        larger = clone(head).set_params(C=(10 * best.C_,)).fit(*splits)
        scores.update(larger.val_scores_)
        if scores[larger.C_] > scores[best.C_]:
            best = larger
    return best, scores


def _class_weight(job, train):
    """The weights of the classes as scikit-learn takes them."""
    weights = job.experiment.class_weight
    if isinstance(weights, tuple):
        return {int(label): weights[label] for label in np.unique(train.labels)}
    return weights


def _fit_svm(job, dataset, say):
    svm = SVMHead(job.experiment.kernel or "linear", PENALTIES, _class_weight(job, dataset.train))
    svm, scores = _best_penalty(svm, dataset)
    if not svm.converged_:
        say("the solver of the SVM did not converge")
    parts = ("coef_",) if svm.kernel == "linear" else ("support_vectors_", "dual_coef_")
    parameters = sum(getattr(svm.pipeline_[-1], part).size for part in (*parts, "intercept_"))
    chosen = {"C": svm.C_, "converged": svm.converged_, "val_accuracy": _by_name(scores)}
    return svm.predict, parameters, chosen


def _fit_nearest_mean(job, dataset, say):
    head = NearestClassMean().fit(dataset.train.images, dataset.train.labels)
    return head.predict, len(np.unique(dataset.train.labels)) * dataset.train.images.shape[1], None


def _fit_tau_norm(job, dataset, say):
    kernel, *bias = last_dense(job.backbone).layer.get_weights()
    tau, accuracies = choose_tau(kernel, dataset.val.images, dataset.val.labels)
    scaled = tau_normalised(kernel, tau)
    network = with_classifier(job.backbone, scaled, *map(np.zeros_like, bias))
    save_network(network, job.path(".keras"), job.about)
    chosen = {"tau": tau, "val_accuracy": _by_name(accuracies)}
    return lambda features: features @ scaled, kernel.size, chosen


def _fit_own(job, dataset, say):
    function = job.components["head"]
    seed = job.seed if "seed" in inspect.signature(function).parameters else None
    head = call_with("head", job.experiment.head, function, seed=seed)
    rule = f"{job.experiment.head} must return a classifier with fit and predict, as scikit-learn's"
    require(hasattr(head, "fit") and hasattr(head, "predict"), rule, type(head).__name__)
    head.fit(dataset.train.images, dataset.train.labels)
    return head.predict, dataset.train.images.shape[1] * len(dataset.class_names), None


def _by_name(scores):
    """Scores by candidate, with the candidates as keys of JSON."""
    return {f"{candidate:g}": float(score) for candidate, score in scores.items()}
