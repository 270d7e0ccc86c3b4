"""Classifiers on the frozen features of a trained network: representation and classifier, decoupled.

A head is an experiment like any other, with `init_from` naming the network and the data settings of the network's own
run: it has a record, with every split evaluated. What is free (the penalty C, tau, the epoch to stop at) is chosen on
val; test is looked at once.

- "svm": a support vector machine on standardised features.
- "nearest_mean": the class with the nearest mean of normalised features.
- "tau_norm": the network's own classifier, its weights divided by a power of their norm.
- "crt": the classifier drawn anew and trained, with the experiment's optimizer and sampler.

Source: Kang et al., Decoupling Representation and Classifier for Long-Tailed Recognition, 2020.
"""

import time
from functools import cached_property

import keras
import numpy as np

from kmodels.analysis import NearestClassMean, SVMHead, choose_tau, tau_normalised
from kmodels.errors import InputError, require
from kmodels.models.blocks import logits
from kmodels.models.saving import load_network, save_network
from kmodels.training import hosts
from kmodels.training.embeddings import embedded
from kmodels.training.evaluate import evaluation, evaluation_of_logits
from kmodels.training.one_run import Run

# The penalties that an SVM chooses from.
PENALTIES = (0.001, 0.01, 0.1, 1.0, 10.0, 100.0)


class HeadRun(Run):
    """A Run that starts from the features of another network."""

    head = None

    def __init__(self, *arguments):
        super().__init__(*arguments)
        require(not self.devices, "devices must be 1 where there is a head", self.options.devices)

    @cached_property
    def backbone(self):
        """The network whose features are taken."""
        network = load_network(self.parent)
        taken = (*network.input_shape[1:], network.output_shape[-1])
        needed = (*self.dataset.image_shape, len(self.dataset.class_names))
        require(taken == needed, f"the network {self.parent.name} must take and tell {needed} (pixels, classes)", taken)
        model = self.experiment.model
        require(network.name == model, f"the network {self.parent.name} must be the experiment's {model}", network.name)
        layers = [layer.name for layer in network.layers if layer.weights]
        kept = tuple(name for name in layers if name != "logits" or self.experiment.head == "tau_norm")
        drawn = ("logits",) if self.experiment.head == "crt" else ()
        self.started_from = {"network": self.parent.name, "taken": kept, "drawn": drawn}
        return network

    @property
    def precision(self):
        return "float32"

    @cached_property
    def examples(self):
        """The dataset with features in place of images."""
        return embedded(self.backbone, self.parent, self.dataset, self.say)

    def say(self, line):
        """Prints a line, unless the run is silent."""
        if self.options.verbose != 0:
            print(line, flush=True)

    def with_classifier(self, kernel, bias):
        """The backbone with these weights in its classifier."""
        self.backbone.get_layer("logits").set_weights([kernel, bias])
        return self.backbone

    def _write(self, status, error=None, **fields):
        return super()._write(status, error, head=self.head, **fields)


class RetrainedClassifier(HeadRun):
    """The classifier drawn anew and trained on the features, by all that trains a network."""

    def first_network(self):
        features = keras.Input(self.examples.train.images.shape[1:], name="features")
        return keras.Model(features, logits(features, len(self.dataset.class_names)), name="classifier")

    def whole_network(self):
        return self.with_classifier(*self.network.get_layer("logits").get_weights())


class FittedHead(HeadRun):
    """A head that is fitted in one go."""

    def __call__(self):
        fit = {"svm": self._svm, "nearest_mean": self._nearest_mean, "tau_norm": self._tau_norm}
        splits = {name: getattr(self.examples, name) for name in ("train", "val", "test")}
        start = time.perf_counter()
        evaluate, self._parameters = fit[self.experiment.head](splits["train"], splits["val"])
        self._seconds = time.perf_counter() - start
        record, _ = self._write("completed", **{name: evaluate(split) for name, split in splits.items()})
        for name, value in record.chosen.items():
            self.say(f"chosen on val: {name} {value:g}")
        self.say(f"test accuracy {100 * record.test.accuracy:.2f} % of {record.test.examples:,} images")
        return record

    def build(self, place=0):
        raise InputError(f"head {self.experiment.head!r} is fitted by itself, not together with others")

    def _svm(self, train, val):
        svm = SVMHead(self.experiment.kernel or "linear", PENALTIES, self._penalties(train), seed=self.seed)
        svm.fit(train.images, train.labels, val.images, val.labels)
        self.head = {"C": svm.C_, "converged": svm.converged_, "val_accuracy": _named(svm.val_scores_)}
        if not svm.converged_:
            self.say("the SVM's solver did not come to its end")
        parts = ("coef_",) if svm.kernel == "linear" else ("support_vectors_", "dual_coef_")
        return self._evaluate_classes(svm), sum(getattr(svm.svm_, part).size for part in (*parts, "intercept_"))

    def _penalties(self, train):
        """class_weight as scikit-learn takes it."""
        given = self.experiment.class_weight
        if not isinstance(given, tuple):
            return given
        return {int(label): given[label] for label in np.unique(train.labels)}

    def _nearest_mean(self, train, val):
        head = NearestClassMean().fit(train.images, train.labels)
        return self._evaluate_classes(head), len(np.unique(train.labels)) * train.images.shape[1]

    def _tau_norm(self, train, val):
        kernel, bias = self.backbone.get_layer("logits").get_weights()
        tau, accuracies = choose_tau(kernel, val.images, val.labels)
        self.head = {"tau": tau, "val_accuracy": _named(accuracies)}
        scaled = tau_normalised(kernel, tau)
        if hosts.is_first():
            save_network(self.with_classifier(scaled, np.zeros_like(bias)), self.path(".keras"))
        return lambda split: evaluation_of_logits(split.labels, split.images @ scaled), kernel.size

    def _evaluate_classes(self, head):
        classes = len(self.dataset.class_names)
        return lambda split: evaluation(split.labels, head.predict(split.images), classes)

    def _measured(self):
        return {
            "parameters": int(self._parameters),
            "history": {},
            "best_epoch": None,
            "train_seconds": self._seconds,
        }


def _named(scores):
    """Scores by candidate, with the candidates as JSON's keys are."""
    return {f"{candidate:g}": float(score) for candidate, score in scores.items()}
