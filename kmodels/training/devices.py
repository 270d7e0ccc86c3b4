"""Several devices: each takes an equal part of every batch (JAX).

How. The variables of a run are made within `Devices.scope`, keras.distribution's DataParallel: they lie whole on every
device, and Keras keeps them there through every assignment. The feeds place batches themselves, divided along the
images, and XLA divides the step as its data are: gradients, batch norm's statistics and metrics are those of the whole
batch, and random draws do not depend on the division. So a run on eight devices and one on a single device differ by
rounding only; checkpoint and network are the same files.

A batch that does not divide evenly, the last of an epoch, is given whole to every device: nothing is padded, so no
count or statistic has padding in it. (Keras by itself raises there: it lays out every batch as it did the first. That
is why `fit` runs outside the scope, on batches that lie where they should.)

Several hosts (`hosts.py`): N devices of each, one batch over all of them; a host reads only the rows of its devices.
"""

import keras

from kmodels.errors import require

AXIS = "batch"


def choose(number, batch_size):
    """The Devices to train on; None for the one that Keras uses by itself.

    Args:
        number: how many, on each host.
        batch_size: of training; they must divide it.

    Raises:
        InputError: if there are not as many, the batch cannot be divided, or the backend is not JAX.
    """
    whole = isinstance(number, int) and not isinstance(number, bool) and number >= 1
    require(whole, "devices must be an integer of at least 1", number)
    if keras.backend.backend() != "jax":
        require(number == 1, "devices must be 1 but on JAX (split 'runs' works on every backend)", number)
        return None
    import jax

    there = jax.local_device_count()
    require(number <= there, f"devices must be at most {there}, as many as JAX sees here", number)
    if number * jax.process_count() == 1:
        return None
    devices = Devices(number)
    rule = f"batch_size must be a multiple of {devices.count}, the number of devices"
    require(batch_size % devices.count == 0, rule, batch_size)
    return devices


class Devices:
    """The first `number` devices of every host.

    Attributes:
        count: of all hosts together.
    """

    def __init__(self, number):
        import jax

        there = [jax.local_devices(process_index=host) for host in range(jax.process_count())]
        chosen = [device for of_host in there for device in of_host[:number]]
        mesh = keras.distribution.DeviceMesh((len(chosen),), [AXIS], [f"{d.platform}:{d.id}" for d in chosen])
        self.count = len(chosen)
        self._distribution = keras.distribution.DataParallel(device_mesh=mesh, auto_shard_dataset=False)
        self._mesh = mesh.backend_mesh

    def scope(self):
        """Variables made in this context lie on every device."""
        return self._distribution.scope()

    def batch_size(self, most):
        """The largest batch up to `most` that divides evenly."""
        return max(most // self.count, 1) * self.count

    def rows(self, values, places):
        """`values[places]`, divided along the first axis; only the rows of this host's devices are read."""
        shape = (len(places), *values.shape[1:])
        return self._array(shape, 0, lambda index: values[places[index[0]]])

    def divided(self, values, axis=0):
        """An array of NumPy that every host has, divided along an axis."""
        return self._array(values.shape, axis, lambda index: values[index])

    def copied(self, values):
        """An array of NumPy that every host has, whole on every device."""
        return self._array(values.shape, None, lambda index: values[index])

    def gathered(self, values):
        """In a compiled step: the array whole on every device."""
        import jax

        return jax.lax.with_sharding_constraint(values, self._sharding((), None))

    def _array(self, shape, axis, part):
        import jax

        return jax.make_array_from_callback(shape, self._sharding(shape, axis), part)

    def _sharding(self, shape, axis):
        from jax.sharding import NamedSharding, PartitionSpec

        if axis is None or shape[axis] % self.count:
            return NamedSharding(self._mesh, PartitionSpec())
        return NamedSharding(self._mesh, PartitionSpec(*[None] * (axis % len(shape)), AXIS))
