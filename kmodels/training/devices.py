"""Several devices of this machine: each takes an equal part of every batch (JAX).

The variables of a run are created within `Devices.scope`, keras.distribution's DataParallel: every device has a whole
copy, and Keras keeps it there through every assignment. Batches are placed by `divided`, and XLA divides the step as
its data are divided: gradients, statistics of batch norm and metrics are those of the whole batch, and random numbers
do not depend on the division. So a run on eight devices and one on a single device differ by rounding only; checkpoint
and network are the same files.

A batch that does not divide evenly, the last of an epoch, is given whole to every device: nothing is padded, so no
count or statistic has padding in it. (Keras by itself raises an error there: it lays out every batch as it did the
first. That is why `fit` runs outside the scope, on batches that are placed already.)
"""

import keras

from kmodels.errors import InputError, require, require_whole
from kmodels.models.graph import layers_within

AXIS = "batch"


def choose_devices(number, batch_size):
    """The Devices to train on; None for the one that Keras uses by itself.

    Args:
        number: how many.
        batch_size: of training, a multiple of `number`.

    Raises:
        InputError: if there are not as many, the batch cannot be divided, or the backend is not JAX.
    """
    require_whole("devices", number, 1)
    if keras.backend.backend() != "jax":
        require(number == 1, "devices must be 1 except on JAX (split 'runs' works on every backend)", number)
        return None
    import jax

    there = jax.local_device_count()
    require(number <= there, f"devices must be at most {there}, as many as JAX sees here", number)
    if number == 1:
        return None
    rule = f"batch_size must be a multiple of {number}, the number of devices"
    require(batch_size % number == 0, rule, batch_size)
    return Devices(number)


class Devices:
    """The first devices of this machine.

    Args:
        number: how many.

    Attributes:
        count: how many.
    """

    def __init__(self, number):
        import jax

        names = [f"{device.platform}:{device.id}" for device in jax.local_devices()[:number]]
        mesh = keras.distribution.DeviceMesh((number,), [AXIS], names)
        self.count = number
        self._distribution = keras.distribution.DataParallel(device_mesh=mesh, auto_shard_dataset=False)
        self._mesh = mesh.backend_mesh

    def scope(self):
        """A context: variables created in it are copied to every device."""
        return self._distribution.scope()

    def batch_size(self, limit):
        """The largest batch up to `limit` that divides evenly."""
        return max(limit // self.count, 1) * self.count

    def divided(self, values, axis=0):
        """A NumPy array, divided among the devices along an axis where it divides evenly, else whole on each."""
        import jax

        return jax.device_put(values, self._sharding(values.shape, axis))

    def copied(self, values):
        """A NumPy array, whole on every device."""
        import jax

        return jax.device_put(values, self._sharding(values.shape, None))

    def gathered(self, values):
        """In a compiled step: the array whole on every device."""
        import jax

        return jax.lax.with_sharding_constraint(values, self._sharding((), None))

    def _sharding(self, shape, axis):
        from jax.sharding import NamedSharding, PartitionSpec

        if axis is None or shape[axis] % self.count:
            return NamedSharding(self._mesh, PartitionSpec())
        return NamedSharding(self._mesh, PartitionSpec(*[None] * (axis % len(shape)), AXIS))


def copy_of(network):
    """A network with variables of its own and the same values: those of several devices must be created for them."""
    rule = "several devices need a network that keras.models.clone_model can copy"
    try:
        copy = keras.models.clone_model(network)
    except (ValueError, TypeError) as error:
        raise InputError(f"{rule}: {error}") from error
    if _structure(copy) != _structure(network):
        raise InputError(
            f"{rule}; the copy has other layers or weights: give each class of your own a get_config that returns all "
            "arguments of its __init__, and let nested networks share no layers"
        )
    _copy_trainable(network, copy)
    copy_variables(network, copy)
    return copy


def _structure(network):
    """The kinds of all layers and the shapes of all variables, in order."""
    return list(map(type, layers_within(network))), [tuple(variable.shape) for variable in network.variables]


def _copy_trainable(source, target):
    """Freezes what is frozen in a network of the same structure: the config of a subclassed one does not say it."""
    pairs = list(zip(layers_within(source), layers_within(target), strict=True))
    # A layer sets those inside it, too: outer layers first, which hold more.
    for layer, copy in sorted(pairs, key=lambda pair: -len(layers_within(pair[0]))):
        copy.trainable = layer.trainable
    for variable, copy in zip(source.variables, target.variables, strict=True):
        copy.trainable = variable.trainable


def copy_variables(source, target):
    """Gives a network the values of another one of the same structure."""
    for variable, value in zip(target.variables, source.variables, strict=True):
        variable.assign(keras.ops.convert_to_numpy(value))
