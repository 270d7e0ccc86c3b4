"""Grad-CAM: against tf-keras-vis, across backends, and on networks that cannot be cut in two."""

import importlib.util
import json
import os
import subprocess
import sys

import keras
import numpy as np
import pytest

from kmodels import InputError, build_model
from kmodels.analysis import cam_layers, grad_cam, predict_logits
from kmodels.analysis.cam import class_activation

BACKENDS = ("jax", "tensorflow", "torch")


def known_weights(model):
    """The same weights on every backend: large enough for clear maps, variances positive."""
    rng = np.random.default_rng(0)
    for weight in model.weights:
        values = rng.normal(size=weight.shape) * 0.1
        weight.assign(np.abs(values) + 0.5 if "variance" in weight.path else values)
    return model


def small_network():
    """A skip connection round the explained layer, which itself is inside a nested model."""
    inner_input = keras.Input((12, 12, 4))
    inner = keras.layers.Conv2D(4, 3, padding="same", activation="relu", name="inner_conv")(inner_input)
    block = keras.Model(inner_input, keras.layers.Add()([inner, inner_input]), name="block")
    image = keras.Input((12, 12, 3))
    x = keras.layers.Conv2D(4, 3, padding="same", name="outer_conv")(keras.layers.Rescaling(1 / 255)(image))
    x = keras.layers.GlobalAveragePooling2D()(block(x))
    return keras.Model(image, keras.layers.Dense(5)(x))


def images(size, n=3):
    return np.random.default_rng(1).integers(0, 256, (n, size, size, 3), np.uint8)


def cases():
    """Unscaled maps of the two networks, as nested lists."""
    return {
        "model4": class_activation(known_weights(build_model("model4", (32, 32, 3), 10)), images(32)).tolist(),
        "nested": class_activation(known_weights(small_network()), images(12), "inner_conv", [0, 1, 4]).tolist(),
    }


def test_maps_agree_across_backends(backend):
    here = cases()
    for other in BACKENDS:
        if other == backend or importlib.util.find_spec(other) is None:
            continue
        code = f"import sys, json; sys.path.insert(0, {os.path.dirname(__file__)!r}); import test_cam; "
        done = subprocess.run(
            [sys.executable, "-c", code + "print(json.dumps(test_cam.cases()))"],
            capture_output=True,
            text=True,
            env={**os.environ, "KERAS_BACKEND": other},
        )
        assert done.returncode == 0, done.stderr
        for name, maps in json.loads(done.stdout.splitlines()[-1]).items():
            assert np.max(maps) > 0
            np.testing.assert_allclose(maps, here[name], atol=1e-4 * np.max(maps), err_msg=f"{name} on {other}")


def test_equal_to_tf_keras_vis(backend):
    if backend != "tensorflow":
        pytest.skip("tf-keras-vis works on TensorFlow only")
    gradcam = pytest.importorskip("tf_keras_vis.gradcam")
    score = pytest.importorskip("tf_keras_vis.utils.scores")
    model = known_weights(build_model("model4", (32, 32, 3), 10))
    classes = predict_logits(model, images(32)).argmax(axis=1).tolist()
    expected = gradcam.Gradcam(model)(
        score.CategoricalScore(classes),
        images(32).astype("float32"),
        penultimate_layer="feature_map",
        expand_cam=False,
        normalize_cam=False,
    )
    ours = class_activation(model, images(32), classes=classes)
    assert ours.max() > 1e-3
    np.testing.assert_allclose(ours, expected, atol=1e-5 * ours.max())


def test_maps_have_the_size_of_the_images_and_reach_from_0_to_1():
    model = known_weights(build_model("model4", (32, 32, 3), 10))
    maps = grad_cam(model, images(32))
    assert maps.shape == (3, 32, 32)
    assert maps.dtype == np.float32
    assert maps.min() >= 0
    np.testing.assert_allclose(maps.max(axis=(1, 2)), 1)
    predicted = predict_logits(model, images(32)).argmax(axis=1)
    np.testing.assert_array_equal(maps, grad_cam(model, images(32), "feature_map", predicted))


def test_the_map_is_where_the_evidence_is():
    # The class logit is the brightness of the red channel: the map must be the red square.
    image = keras.Input((16, 16, 3))
    x = keras.layers.Conv2D(1, 1, use_bias=False, name="red")(image)
    logits = keras.layers.Dense(2, use_bias=False)(keras.layers.GlobalAveragePooling2D()(x))
    model = keras.Model(image, logits)
    model.get_layer("red").set_weights([np.array([1.0, 0, 0]).reshape(1, 1, 3, 1)])
    model.layers[-1].set_weights([np.array([[1.0, -1.0]])])
    pixels = np.full((2, 16, 16, 3), [0, 200, 200], np.uint8)
    pixels[:, 4:8, 8:12] = [255, 0, 0]
    for_it, against_it = grad_cam(model, pixels, classes=[0, 1])
    assert np.array_equal(for_it == 1, (pixels[0] == [255, 0, 0]).all(axis=-1))
    assert against_it.max() == 0


def test_the_network_is_left_as_it_was():
    model = known_weights(build_model("model4", (32, 32, 3), 10))
    before = keras.ops.convert_to_numpy(model(images(32)))
    grad_cam(model, images(32))
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(model(images(32))), before)
    assert "call" not in vars(model.get_layer("feature_map"))


def test_a_call_of_the_layer_itself_stays():
    model = known_weights(build_model("conv_net", (16, 16, 3), 3))
    layer = model.get_layer("relu1")
    expected = grad_cam(model, images(16), "relu1")

    def own(*args, **kwargs):
        return type(layer).call(layer, *args, **kwargs)

    layer.call = own
    np.testing.assert_array_equal(grad_cam(model, images(16), "relu1"), expected)
    assert vars(layer)["call"] is own


@pytest.mark.parametrize("own", [False, True], ids=["of its class", "of its own"])
def test_an_error_leaves_the_call_as_it_was(own):
    model = build_model("conv_net", (16, 16, 3), 3)
    layer = model.get_layer("relu1")
    if own:
        layer.call = type(layer).call.__get__(layer)
    before = vars(layer).get("call")
    with pytest.raises(ValueError, match="shape"):
        grad_cam(model, images(24), "relu1")
    assert vars(layer).get("call") is before


def test_no_images_give_no_maps():
    model = build_model("conv_net", (16, 16, 3), 3)
    assert grad_cam(model, np.zeros((0, 16, 16, 3), np.uint8)).shape == (0, 16, 16)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"layer": "feature_mop"}, "unknown layer 'feature_mop'; did you mean feature_map"),
        ({"layer": "embedding"}, r"layer 'embedding' must have 4-D output"),
        ({"classes": [0, 1]}, "classes must be 3 integers from 0 to 2"),
        ({"classes": [0, 1, 3]}, "classes must be 3 integers from 0 to 2"),
        ({"classes": [0.5, 1, 2]}, "classes must be 3 integers from 0 to 2"),
    ],
)
def test_what_is_wrong_is_named(arguments, message):
    with pytest.raises(InputError, match=message):
        grad_cam(build_model("conv_net", (16, 16, 3), 3), images(16), **arguments)


def test_a_dense_network_has_no_map():
    image = keras.Input((8, 8, 3))
    model = keras.Model(image, keras.layers.Dense(3)(keras.layers.Flatten()(image)))
    with pytest.raises(InputError, match="needs a layer with 4-D output; this model has none"):
        grad_cam(model, images(8))
    with pytest.raises(InputError, match=r"images must be \(n, height, width, channels\)"):
        grad_cam(model, images(8)[0])


def test_layers_to_look_at_are_activations_from_the_first_to_the_last():
    deep = keras.Sequential([keras.Input((8, 8, 3)), *(keras.layers.ReLU(name=f"relu{i}") for i in range(9))])
    assert cam_layers(deep) == ["relu0", "relu2", "relu4", "relu6", "relu8"]
    assert cam_layers(build_model("model1", (32, 32, 3), 3), at_most=9) == ["relu1", "relu2", "feature_map"]
    assert cam_layers(build_model("mlp", (32, 32, 3), 3)) == []
