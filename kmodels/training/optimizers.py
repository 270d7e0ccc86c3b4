"""PyTorch's optimizers in Keras: same constants, same arithmetic.

Each subclass keeps Keras' slots and learning-rate handling and replaces the update of one variable. What differs in
stock Keras: where epsilon is added (Adam, RMSprop, Adagrad), that the learning rate is folded into the momentum
buffer (SGD; visible once the rate changes), and that weight decay is decoupled for every optimizer (PyTorch adds it
to the gradient, except for AdamW).

Source: the update rules in the documentation of torch.optim.
"""

import keras
from keras import ops

from kmodels.errors import unknown

TORCH_WEIGHT_DECAY = {"adamw": 0.01}


def build_optimizer(name, learning_rate, *, momentum=0.0, weight_decay=None):
    """An optimizer with PyTorch's defaults.

    Args:
        name: "adam", "adamw", "sgd", "rmsprop" or "adagrad".
        learning_rate: above 0.
        momentum: of sgd and rmsprop.
        weight_decay: None for PyTorch's default: 0.01 for adamw, 0 for the others.

    Raises:
        InputError: for an unknown name.
    """
    decay = TORCH_WEIGHT_DECAY.get(name, 0.0) if weight_decay is None else weight_decay
    if name == "adam":
        return Adam(learning_rate, epsilon=1e-8, coupled_decay=decay)
    if name == "adamw":
        return Adam(learning_rate, epsilon=1e-8, weight_decay=decay or None)
    if name == "sgd":
        return SGD(learning_rate, momentum=momentum, coupled_decay=decay)
    if name == "rmsprop":
        return RMSprop(learning_rate, rho=0.99, momentum=momentum, epsilon=1e-8, coupled_decay=decay)
    if name == "adagrad":
        return Adagrad(learning_rate, initial_accumulator_value=0.0, epsilon=1e-10, coupled_decay=decay)
    raise unknown("optimizer", name, ("adam", "adamw", "sgd", "rmsprop", "adagrad"))


class _CoupledDecay:
    """Adds `coupled_decay * variable` to the gradient before the update, PyTorch's `weight_decay`."""

    def __init__(self, *args, coupled_decay=0.0, **kwargs):
        super().__init__(*args, **kwargs)
        self.coupled_decay = coupled_decay

    def update_step(self, gradient, variable, learning_rate):
        rate = ops.cast(learning_rate, variable.dtype)
        gradient = ops.cast(gradient, variable.dtype)
        if self.coupled_decay:
            gradient = gradient + self.coupled_decay * ops.convert_to_tensor(variable)
        self.torch_step(gradient, variable, rate, self._get_variable_index(variable))

    def get_config(self):
        return {**super().get_config(), "coupled_decay": self.coupled_decay}


@keras.saving.register_keras_serializable("kmodels")
class SGD(_CoupledDecay, keras.optimizers.SGD):
    """buffer = momentum * buffer + g; w -= rate * buffer."""

    def torch_step(self, gradient, variable, rate, index):
        step = gradient
        if self.momentum:
            step = self.momentum * self.momentums[index] + gradient
            self.assign(self.momentums[index], step)
        self.assign_sub(variable, rate * step)


@keras.saving.register_keras_serializable("kmodels")
class Adam(_CoupledDecay, keras.optimizers.Adam):
    """w -= rate * m' / (sqrt(v') + epsilon), with the bias-corrected moments m' and v'."""

    def torch_step(self, gradient, variable, rate, index):
        step = ops.cast(self.iterations + 1, variable.dtype)
        mean, square = self._momentums[index], self._velocities[index]
        self.assign(mean, self.beta_1 * mean + (1 - self.beta_1) * gradient)
        self.assign(square, self.beta_2 * square + (1 - self.beta_2) * ops.square(gradient))
        mean = mean / (1 - ops.power(self.beta_1, step))
        square = square / (1 - ops.power(self.beta_2, step))
        self.assign_sub(variable, rate * mean / (ops.sqrt(square) + self.epsilon))


@keras.saving.register_keras_serializable("kmodels")
class RMSprop(_CoupledDecay, keras.optimizers.RMSprop):
    """v = rho * v + (1 - rho) * g^2; step = g / (sqrt(v) + epsilon), through a momentum buffer if there is one."""

    def torch_step(self, gradient, variable, rate, index):
        square = self._velocities[index]
        self.assign(square, self.rho * square + (1 - self.rho) * ops.square(gradient))
        step = gradient / (ops.sqrt(square) + self.epsilon)
        if self.momentum:
            step = self.momentum * self._momentums[index] + step
            self.assign(self._momentums[index], step)
        self.assign_sub(variable, rate * step)


@keras.saving.register_keras_serializable("kmodels")
class Adagrad(_CoupledDecay, keras.optimizers.Adagrad):
    """sum += g^2; w -= rate * g / (sqrt(sum) + epsilon)."""

    def torch_step(self, gradient, variable, rate, index):
        total = self._accumulators[index]
        self.assign_add(total, ops.square(gradient))
        self.assign_sub(variable, rate * gradient / (ops.sqrt(total) + self.epsilon))
