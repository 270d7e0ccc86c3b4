"""What one run leaves for the next in the same process: open data, data on the device, a compiled trainer."""

import gc

from kmodels.data import load_dataset
from kmodels.errors import InputError
from kmodels.training.trainer import build_trainer, program_key, start_over


class Shelf:
    """Holds the last of each. Runs of a sweep that share a shelf open a set once and compile a program once.

    Attributes:
        made: {(experiment name, seed): file of its network} of the sweep's completed runs.
    """

    def __init__(self):
        self._opened = {}
        self._reduced = {}
        self._on_device = {}
        self._program = None
        self._trainers = {}
        self.made = {}

    def dataset(self, experiment, seed, data_dir):
        """The experiment's dataset, reduced as it says.

        Raises:
            InputError: if it cannot be opened; at once where it could not be before.
        """
        key = (experiment.dataset, experiment.image_size, data_dir)
        if key not in self._opened:
            self._keep(self._opened, key, _opened(*key))
        found = self._opened[key]
        if isinstance(found, InputError):
            raise found
        key = (key, experiment.subset, experiment.imbalance, seed if experiment.imbalance else None)
        if key not in self._reduced:
            self._keep(self._reduced, key, _reduced(found, experiment, seed))
        return self._reduced[key]

    def on_device(self, split, devices=None):
        """The images and labels of a split as arrays on JAX's device, or whole on each of the Devices."""
        import jax

        put, key = devices.copied if devices else jax.device_put, (id(split), _count(devices))
        held = self._on_device.pop(key, None)
        while len(self._on_device) > 2:
            # Those of a dataset that is no longer in use, longest ago first.
            del self._on_device[next(iter(self._on_device))]
        # With the split itself, whose id is not given to another one while it is held.
        held = held or (split, put(split.images), put(split.labels))
        self._on_device[key] = held
        return held[1:]

    def bytes_on_device(self, dataset):
        """How much of a dataset's images `on_device` holds already."""
        held = {name for name, _ in self._on_device}
        splits = (dataset.train, dataset.val, dataset.test)
        return sum(split.images.nbytes for split in splits if id(split) in held)

    def trainer(self, experiment, network, seed, place=0, devices=None, class_weight=None):
        """A trainer in its first state, and the network that it trains: this one, or an older one with its weights.

        Runs that are under way at the same time take trainers from different places. On several Devices network and
        trainer are to be made in their scope.
        """
        program = (program_key(experiment, network), _count(devices))
        if program != self._program:
            self._trainers.clear()
            # A trainer refers to itself; only this frees the old one before the new one grows.
            gc.collect()
            self._program = program
        trainer = build_trainer(experiment, network, seed, class_weight)
        if devices:
            trainer.devices = devices
        if place in self._trainers:
            start_over(self._trainers[place][0], trainer)
        else:
            self._trainers[place] = (trainer, network)
        return self._trainers[place]

    def clear_places(self):
        """Lets go of all trainers but the one in the first place."""
        self._trainers = {place: held for place, held in self._trainers.items() if place == 0}
        gc.collect()

    @staticmethod
    def _keep(place, key, value):
        place.clear()
        place[key] = value


def _count(devices):
    return devices.count if devices else 1


def _opened(name, image_size, data_dir):
    try:
        return load_dataset(name, image_size, data_dir)
    except InputError as error:
        return error


def _reduced(dataset, experiment, seed):
    if experiment.subset is not None:
        dataset = dataset.subset(experiment.subset)
    if experiment.imbalance:
        kind, value = experiment.imbalance
        dataset = getattr(dataset, f"with_{kind}")(value, seed)
    return dataset
