"""Saved networks: older versions of Keras must be able to read them."""

import inspect
import json
import os
import subprocess
import sys
import zipfile

import keras
import numpy as np
import pytest
from keras import layers

from kmodels import InputError
from kmodels.models.graph import layers_within
from kmodels.models.saving import NEWER_ARGUMENTS, load_network, loading_problem, save_network, weights_checksum


def names_in(config):
    """All names in a config, at any depth."""
    if isinstance(config, list):
        return set().union(*map(names_in, config)) if config else set()
    return set(config).union(*map(names_in, config.values())) if isinstance(config, dict) else set()


def saved_config(path):
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        return json.loads(archive.read("config.json"))


def network(**options):
    image = keras.Input((8, 8, 3))
    inner = keras.Sequential([layers.Conv2D(4, 3), layers.BatchNormalization(**options)])
    x = layers.Reshape((36, 4))(inner(image))
    x = layers.MultiHeadAttention(1, 2)(x, x)
    return keras.Model(image, layers.Dense(3)(layers.Flatten()(x)))


def test_what_older_versions_of_keras_do_not_know_is_left_out(tmp_path):
    original = network()
    path = save_network(original, tmp_path / "network.keras")
    assert not names_in(saved_config(path)) & set(NEWER_ARGUMENTS)
    images = np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype("float32")
    outputs = [keras.ops.convert_to_numpy(model(images)) for model in (original, load_network(path))]
    np.testing.assert_array_equal(*outputs)


def test_what_a_network_uses_of_newer_versions_is_kept(tmp_path):
    if "renorm" not in inspect.signature(layers.BatchNormalization).parameters:
        return
    path = save_network(network(renorm=True), tmp_path / "network.keras")
    assert names_in(saved_config(path)) >= {"renorm"}
    assert load_network(path).layers[1].layers[-1].renorm


@keras.saving.register_keras_serializable("tests")
class Gated(layers.Layer):
    """Of a module whose name begins as Keras' does, with an argument that a layer of Keras has too."""

    __module__ = "keras_blocks"

    def __init__(self, use_gate=True, **kwargs):
        super().__init__(**kwargs)
        self.use_gate = use_gate

    def call(self, x):
        return x * keras.ops.sigmoid(x) if self.use_gate else x

    def get_config(self):
        return {**super().get_config(), "use_gate": self.use_gate}


def test_arguments_of_the_users_own_layers_are_kept(tmp_path):
    path = save_network(small(Gated(use_gate=NEWER_ARGUMENTS["use_gate"])), tmp_path / "network.keras")
    assert load_network(path).layers[-1].use_gate is False


def test_the_defaults_are_those_of_keras():
    for module in (layers, keras.initializers):
        for cls in filter(inspect.isclass, vars(module).values()):
            for name, parameter in inspect.signature(cls).parameters.items():
                if name in NEWER_ARGUMENTS:
                    assert parameter.default == NEWER_ARGUMENTS[name], (cls, name)


def small(*added, units=3):
    return keras.Sequential([keras.Input((4,)), layers.Dense(units, name="only"), *added])


def rewritten(path, leave_out=(), **members):
    """The same zip file with other members; dots in their names are written as two underscores."""
    with zipfile.ZipFile(path) as source:
        content = {name: source.read(name) for name in source.namelist() if name not in leave_out}
    with zipfile.ZipFile(path, "w") as target:
        for name, value in (content | {name.replace("__", "."): value for name, value in members.items()}).items():
            target.writestr(name, value)


def refusal(path):
    """The message of the error, which must be one line of our own and never Keras' advice."""
    with pytest.raises(InputError) as refused:
        load_network(path)
    message = str(refused.value)
    assert "safe_mode" not in message
    assert "unsafe" not in message
    assert "\n" not in message
    return message


def test_damaged_and_foreign_files_are_named(tmp_path):
    path = tmp_path / "network.keras"
    assert "must be a .keras file that exists" in refusal(path)
    path.touch()
    assert "is empty" in refusal(path)
    path.write_text("no network")
    assert "is no .keras file" in refusal(path)
    path.write_bytes(b"\x89HDF\r\n")
    assert "older format HDF5" in refusal(path)
    save_network(small(units=5), path)
    with zipfile.ZipFile(path) as archive:
        others = archive.read("model.weights.h5")
    save_network(small(), path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert "damaged or incomplete" in refusal(path)
    for missing in ("config.json", "model.weights.h5"):
        path.write_bytes(whole)
        rewritten(path, leave_out=missing)
        assert f"is a zip file without {missing}" in refusal(path)
    with pytest.raises(InputError, match="must have weights in it"):
        weights_checksum(path)
    for weights in (others, others[:100]):
        path.write_bytes(whole)
        rewritten(path, model__weights__h5=weights)
        assert "its weights are damaged or of another network" in refusal(path)
    for config in ("{", "[1]", "{}"):
        path.write_bytes(whole)
        rewritten(path, config__json=config)
        refusal(path)


def test_code_in_a_file_is_not_run(tmp_path):
    path = tmp_path / "network.keras"
    file = str(tmp_path / "pwned")
    save_network(small(layers.Lambda(lambda x: x * (os.system(f"touch {file}") + 1), output_shape=(3,))), path)
    # Keras itself runs it to know its shape.
    (tmp_path / "pwned").unlink(missing_ok=True)
    assert "a Lambda layer with Python code in it, which is not run" in refusal(path)
    save_network(small(), path)
    config = saved_config(path)
    config["config"]["layers"][1] = {"module": "os", "class_name": "system", "config": f"touch {file}"}
    rewritten(path, config__json=json.dumps(config))
    refusal(path)
    assert not (tmp_path / "pwned").exists()


class Halve(layers.Layer):
    def call(self, x):
        return x / 2


def test_a_class_that_a_network_needs_is_named_and_used_where_it_is_registered(tmp_path):
    path = save_network(small(Halve()), tmp_path / "network.keras")
    assert "it needs Halve" in refusal(path)
    with keras.saving.custom_object_scope({"Halve": Halve}):
        assert isinstance(load_network(path).layers[-1], Halve)


def named(x):
    return x * 1.0


@keras.saving.register_keras_serializable("tests")
def known(x):
    return x * 1.0


class Unknown(layers.Layer):
    def call(self, x):
        return x


class Unsaved(Unknown):
    def __init__(self, function, **kwargs):
        super().__init__(**kwargs)


@pytest.mark.parametrize(
    ("layer", "problem"),
    [
        (layers.Dense(2, activation="gelu"), None),
        (layers.Lambda(known), None),
        (layers.Lambda(named), "it needs named: register it with"),
        (layers.Lambda(lambda x: x * 1.0), "a Lambda layer with Python code in it"),
        (Unknown(), "it needs Unknown, from the module"),
    ],
)
def test_what_a_saved_network_lacks_to_be_loaded_is_known_before(tmp_path, layer, problem):
    network = small(layer)
    if problem is None:
        assert loading_problem(network) is None
        load_network(save_network(network, tmp_path / "network.keras"))
        return
    assert problem in loading_problem(network)
    assert problem in refusal(save_network(network, tmp_path / "network.keras"))


def test_a_network_that_cannot_be_saved_is_refused():
    with pytest.raises(InputError, match=r"cannot be saved .*Unsaved.* need a get_config"):
        loading_problem(small(Unsaved(named)))


def test_a_network_with_operations_between_its_layers_is_saved_from_half_precision(tmp_path):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        image = keras.Input((8, 8, 3))
        x = keras.layers.Flatten()(keras.ops.flip(image, axis=-1))
        half = keras.Model(image, keras.layers.Dense(2)(x) + 1.0)
    finally:
        keras.config.set_dtype_policy("float32")
    loaded = load_network(save_network(half, tmp_path / "network.keras"))
    assert {layer.compute_dtype for layer in loaded.layers} == {"float32"}
    for a, b in zip(loaded.get_weights(), half.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "float16"])
def test_layers_within_others_are_saved_from_half_precision_too(tmp_path, policy):
    image = keras.Input((8, 8, 3))
    x = layers.SpectralNormalization(layers.Conv2D(4, 3, dtype=policy))(image)
    x = layers.TimeDistributed(layers.Dense(2, dtype=policy))(layers.Reshape((6, 24))(x))
    # Not every backend has the usual initializer in half precision.
    lstm = layers.LSTM(3, recurrent_initializer="ones", dtype=policy)
    half = keras.Model(image, layers.Dense(2)(layers.Bidirectional(lstm)(x)))
    before = [layer.dtype_policy.name for layer in layers_within(half)]
    loaded = load_network(save_network(half, tmp_path / "network.keras"))
    assert {layer.compute_dtype for layer in layers_within(loaded)} == {"float32"}
    assert [layer.dtype_policy.name for layer in layers_within(half)] == before
    assert before.count(policy) >= 4
    for a, b in zip(loaded.get_weights(), half.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@keras.saving.register_keras_serializable(package="tests")
class Thirds(layers.Layer):
    """Its one weight is in no file: each network sets it when it is built."""

    def build(self, shape):
        self.share = self.add_weight(shape=(), initializer=keras.initializers.Constant(1 / 3), trainable=False)

    def call(self, inputs):
        return inputs * self.share

    def save_own_variables(self, store):
        store["nothing"] = np.zeros(1)

    def load_own_variables(self, store):
        """There is nothing to load."""


def test_a_loaded_network_is_the_saved_one_to_the_last_bit(tmp_path):
    inputs = keras.Input((8, 8, 3), name="pixels")
    x = layers.Conv2D(4, 3, kernel_initializer="he_normal")(inputs)
    x = layers.BatchNormalization(gamma_initializer="random_uniform")(x)
    x = layers.Conv2D(4, 3, kernel_initializer=keras.initializers.Orthogonal(), bias_initializer="ones")(x)
    x = layers.Dropout(0.5, seed=3)(Thirds()(layers.Flatten()(x)))
    saved = keras.Model(inputs, layers.Dense(3)(x))
    path = save_network(saved, tmp_path / "network.keras")
    loaded = load_network(path)
    assert [tuple(weight.shape) for weight in loaded.weights] == [tuple(weight.shape) for weight in saved.weights]
    for old, new in zip(saved.variables, loaded.variables, strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(old), keras.ops.convert_to_numpy(new))
    # And what is built afterwards, or meanwhile in another thread, has random weights.
    assert len(np.unique(keras.ops.convert_to_numpy(network().weights[0]))) > 1


def test_a_network_is_loaded_without_importing_tensorflow(tmp_path, backend):
    if backend == "tensorflow":
        pytest.skip("TensorFlow is the backend")
    path = save_network(network(), tmp_path / "network.keras")
    code = (
        "import sys; from kmodels.models.saving import load_network; "
        "load_network(sys.argv[1]); print('tensorflow' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True)
    assert done.stdout.split()[-1:] == ["False"], done.stderr


@keras.saving.register_keras_serializable("tests")
class NoOptions(layers.Layer):
    """A layer whose __init__ takes neither a name nor a dtype."""

    def __init__(self, factor=2.0):
        super().__init__()
        self.factor = factor

    def call(self, x):
        return x * self.factor


@keras.saving.register_keras_serializable("tests")
class OwnConfig(NoOptions):
    def get_config(self):
        return {"factor": self.factor}


@pytest.mark.parametrize("own", [NoOptions, OwnConfig])
def test_layers_that_take_no_dtype_are_saved_from_half_precision_as_from_single(tmp_path, own):
    paths = {}
    for policy in ("mixed_bfloat16", "float32"):
        keras.config.set_dtype_policy(policy)
        try:
            image = keras.Input((8, 8, 3))
            model = keras.Model(image, layers.Dense(2)(own(3.0)(layers.Flatten()(network()(image)))))
        finally:
            keras.config.set_dtype_policy("float32")
        before = [layer.compute_dtype for layer in model.layers]
        paths[policy] = save_network(model, tmp_path / f"{policy}.keras")
        assert [layer.compute_dtype for layer in model.layers] == before
    assert "mixed_bfloat16" not in json.dumps(saved_config(paths["mixed_bfloat16"]))
    if own is OwnConfig:
        assert load_network(paths["mixed_bfloat16"]).layers[1].layers[-1].compute_dtype == "float32"
    else:
        with pytest.raises(InputError, match="NoOptions"):
            load_network(paths["float32"])
