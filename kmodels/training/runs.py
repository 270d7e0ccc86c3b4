"""A run is a call: an experiment and a seed in, a record out."""

from kmodels.training.heads import FittedHead, RetrainedClassifier
from kmodels.training.one_run import Options, Run
from kmodels.training.shelf import Shelf


def run(
    experiment,
    seed=0,
    out="results",
    *,
    data_dir=None,
    verbose=None,
    resume=False,
    resident=None,
    devices=1,
    shelf=None,
):
    """Trains on train, keeps the weights of the lowest val_loss, evaluates test once, writes a record.

    Args:
        experiment: an Experiment.
        seed: decides initial weights, order and augmentation; at least 0. Python's and NumPy's generators are reseeded.
        out: the results folder. The record goes to `<out>/<record.stem>.json`, the network beside it as .keras (the
            heads "svm" and "nearest_mean" have none), and until then what a killed run needs to go on as .checkpoint.
        data_dir: where the dataset's files are; see `load_dataset`.
        verbose: as in Keras: 0 silent, 1 a bar, 2 a line an epoch; None: a bar on a terminal, else lines.
        resume: go on from the checkpoint of an earlier, killed or interrupted run of the same experiment and seed, and
            end as that one would have; without a checkpoint, begin.
        resident: hold the images on the device and train an epoch in one call (JAX only); None: where that is faster.
        devices: how many to divide each batch among, the first ones of each host (JAX only). The outcome differs by
            rounding only.
        shelf: a Shelf, for runs in a row: they share open data and compiled programs.

    Returns:
        The Record. Its status is "diverged" if the loss stopped being a number.

    Raises:
        InputError: for bad data, a batch larger than the train split or not divisible by `devices`, more devices than
            there are, or an unwritable `out`.
        KeyboardInterrupt: on Ctrl-C, after the finished epochs were written to a record marked "interrupted".
        Exception: whatever else ended the training (memory, say), after a record marked "failed".
    """
    options = Options(data_dir=data_dir, verbose=verbose, resume=resume, resident=resident, devices=devices)
    return make_run(experiment, seed, out, options, shelf or Shelf())()


def make_run(experiment, *arguments):
    """The Run of an experiment: of the class that does what its `head` says."""
    kind = FittedHead if experiment.is_fitted else RetrainedClassifier if experiment.head else Run
    return kind(experiment, *arguments)
