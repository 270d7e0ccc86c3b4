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
from kmodels.analysis.cam import _unscaled
from kmodels.models.torch_weights import load_torch_weights

BACKENDS = ("jax", "tensorflow", "torch")


def known_weights(model):
    """The same weights on every backend: large enough for clear maps, variances positive."""
    rng = np.random.default_rng(0)
    for weight in model.weights:
        values = rng.normal(size=weight.shape) * 0.1
        weight.assign(np.abs(values) + 0.5 if "variance" in weight.path else values)
    return model


def class_activation(*arguments, **options):
    """The maps of `grad_cam` as they are computed, at the size of the layer's output."""
    return _unscaled(*arguments, **options)[0]


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
        "two images": class_activation(
            known_weights(two_images()), [images(8), images(10), np.ones((3, 2))], input="right", output="both"
        ).tolist(),
    }


def test_maps_agree_across_backends(backend):
    if backend != "jax":
        pytest.skip("compared with JAX's there")
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


@pytest.mark.slow
def test_equal_to_pytorch_grad_cam(monkeypatch):
    torch = pytest.importorskip("torch")

    def register_fake(name, *arguments, **options):
        return lambda function: function if name.startswith("torchvision::") else register(name, *arguments, **options)

    # torchvision's wheel wants operators that the CPU build of PyTorch lacks.
    register = torch.library.register_fake
    monkeypatch.setattr(torch.library, "register_fake", register_fake)
    theirs = pytest.importorskip("pytorch_grad_cam")
    alexnet = pytest.importorskip("torchvision.models").alexnet(weights=None, num_classes=7).eval()
    model = build_model("alexnet", (96, 96, 3), 7)
    load_torch_weights(model, {name: value.numpy() for name, value in alexnet.state_dict().items()})
    pixels, classes = images(96), [0, 3, 6]
    scaled = keras.ops.convert_to_numpy(model.get_layer("scale")(pixels.astype("float32")))
    batch, layer = torch.tensor(scaled).permute(0, 3, 1, 2), alexnet.features[11]
    targets = [theirs.utils.model_targets.ClassifierOutputTarget(label) for label in classes]
    with theirs.GradCAM(alexnet, [layer]) as cam:
        pictures = cam(batch, targets)
        seen = (cam.activations_and_grads.activations[0].numpy(), cam.activations_and_grads.gradients[0].numpy())
        expected = np.maximum(cam.get_cam_image(batch, layer, targets, *seen, False), 0)
    ours = class_activation(model, pixels, classes=classes)
    np.testing.assert_allclose(ours, expected, atol=1e-4 * ours.max())
    # Theirs also subtracts the minimum of a map.
    maps = grad_cam(model, pixels, classes=classes)
    lowest = maps.min(axis=(1, 2), keepdims=True)
    np.testing.assert_allclose((maps - lowest) / (1 - lowest), pictures, atol=1e-4)


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
    model = functional(keras.layers.Dense(3))
    layer, last = model.get_layer("conv"), model.layers[-1]
    if own:
        layer.call = type(layer).call.__get__(layer)
    before = vars(layer).get("call")
    last.call = lambda *_, **__: 1 / 0
    with pytest.raises(InputError, match=r"cannot be called on images of shape .*ZeroDivisionError"):
        grad_cam(model, images(8), "conv")
    assert vars(layer).get("call") is before


def test_no_images_give_no_maps():
    model = build_model("conv_net", (16, 16, 3), 3)
    assert grad_cam(model, np.zeros((0, 16, 16, 3), np.uint8)).shape == (0, 16, 16)
    assert grad_cam(model, np.zeros((0, 16, 16, 3)), classes=[]).shape == (0, 16, 16)
    assert class_activation(model, np.zeros((0, 16, 16, 3))).shape == (0, 2, 2)


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
    with pytest.raises(InputError, match="needs a layer with 4-D output of more than one row and column; this"):
        grad_cam(model, images(8))
    with pytest.raises(InputError, match=r"images must be \(n, height, width, channels\)"):
        grad_cam(model, images(8)[0])


def test_layers_to_look_at_are_activations_from_the_first_to_the_last():
    deep = keras.Sequential([keras.Input((8, 8, 3)), *(keras.layers.ReLU(name=f"relu{i}") for i in range(9))])
    assert cam_layers(deep) == ["relu0", "relu2", "relu4", "relu6", "relu8"]
    assert cam_layers(build_model("model1", (32, 32, 3), 3), at_most=9) == ["relu1", "relu2", "feature_map"]
    assert cam_layers(build_model("mlp", (32, 32, 3), 3)) == []


def test_a_name_that_layers_of_two_nested_models_have_is_not_one_to_look_at():
    def block(name, last):
        image = keras.Input((8, 8, 3))
        x = keras.layers.Conv2D(3, 3, padding="same", name="conv")(image)
        return keras.Model(image, keras.layers.Conv2D(3, 3, padding="same", name=last)(x), name=name)

    image = keras.Input((8, 8, 3))
    x = keras.layers.GlobalAveragePooling2D()(block("two", "second")(block("one", "first")(image)))
    model = keras.Model(image, keras.layers.Dense(3)(x))
    assert cam_layers(model) == ["first", "second"]
    for layer in cam_layers(model):
        assert grad_cam(model, images(8), layer).shape == (3, 8, 8)
    with pytest.raises(InputError, match="must not be that of several"):
        grad_cam(model, images(8), "conv")


# Network -> height and width of its images.
APPLICATIONS = {
    "MobileNetV3Small": 64,
    "MobileNetV2": 64,
    "EfficientNetB0": 64,
    "EfficientNetV2B0": 64,
    "ResNet50": 64,
    "ResNet50V2": 64,
    "DenseNet121": 64,
    "NASNetMobile": 64,
    "ConvNeXtTiny": 64,
    "InceptionV3": 150,
    "Xception": 96,
    "VGG16": 64,
}


@pytest.mark.slow
@pytest.mark.parametrize("name", APPLICATIONS)
def test_networks_of_keras_applications(name, backend):
    size = APPLICATIONS[name]
    if name == "NASNetMobile" and backend == "torch":
        pytest.skip("Keras has no NASNet on PyTorch")
    keras.utils.set_random_seed(0)
    model = getattr(keras.applications, name)(weights=None, input_shape=(size, size, 3), classes=4)
    before = model.get_weights()
    # Of random weights some are evidence for a class and some against it.
    maps = class_activation(model, images(size, 4), classes=[0, 1, 2, 3])
    assert maps.shape[0] == 4
    assert min(maps.shape[1:]) > 1
    assert np.ptp(maps, axis=(1, 2)).max() > 0
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


class Subclassed(keras.Model):
    """A network without a graph; `end` are its layers after pooling."""

    def __init__(self, *end):
        super().__init__()
        self.conv, self.pool, self.end = (
            keras.layers.Conv2D(4, 3, name="conv"),
            keras.layers.GlobalAveragePooling2D(),
            end,
        )

    def call(self, images):
        x = self.pool(self.conv(keras.ops.cast(images, "float32")))
        for layer in self.end:
            x = layer(x)
        return x


def functional(*end):
    image = keras.Input((8, 8, 3))
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(4, 3, name="conv")(image))
    for layer in end:
        x = layer(x)
    return keras.Model(image, x)


def sequential(*end):
    conv, pool = keras.layers.Conv2D(4, 3, name="conv"), keras.layers.GlobalAveragePooling2D()
    return keras.Sequential([keras.Input((8, 8, 3)), conv, pool, *end])


def nested(*end):
    image = keras.Input((8, 8, 3))
    return keras.Model(image, functional(*end)(keras.layers.Rescaling(1.0)(image)))


def subclassed(*end):
    model = Subclassed(*end)
    model(images(8))
    return model


def of_weights(model, weights):
    model.set_weights(weights)
    return model


def weights(units, scale=1.0):
    """Of a network of one convolution and one Dense layer; `scale` makes it sure of what it predicts."""
    rng = np.random.default_rng(3)
    return [0.1 * rng.normal(size=(3, 3, 3, 4)), np.zeros(4), scale * rng.normal(size=(4, units)), np.zeros(units)]


@pytest.mark.parametrize("build", [functional, sequential, nested, subclassed])
def test_a_last_activation_is_left_out_where_the_network_is_sure(build):
    dense, layers = keras.layers.Dense, keras.layers
    expected = grad_cam(of_weights(build(dense(4)), weights(4, 100)), images(8))
    assert expected.max() == 1
    for end in (
        [dense(4, activation="softmax")],
        [dense(4), layers.Softmax()],
        [dense(4), layers.Activation("softmax"), layers.Dropout(0.5)],
        [dense(4, activation="log_softmax")],
        [dense(4, activation="sigmoid")],
    ):
        model = of_weights(build(*end), weights(4, 100))
        np.testing.assert_allclose(grad_cam(model, images(8)), expected, atol=1e-4)
        assert getattr(model.layers[-1], "activation", None) is not keras.activations.linear or len(end) > 1


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_probabilities_of_a_hidden_end_are_warned_of():
    class Hidden(Subclassed):
        def call(self, images):
            return keras.ops.softmax(super().call(images))

    model = Hidden(keras.layers.Dense(4))
    model(images(8))
    with pytest.warns(UserWarning, match="look like probabilities"):
        grad_cam(model, images(8)[:1])
    with pytest.warns(UserWarning, match="look like probabilities"):
        predict_logits(model, images(8))


def test_probabilities_behind_a_last_linear_activation_are_warned_of():
    layers = keras.layers
    half = layers.Dense(4, activation="softmax", dtype="mixed_bfloat16")
    with pytest.warns(UserWarning, match="look like probabilities"):
        grad_cam(of_weights(functional(half, layers.Activation("linear", dtype="float32")), weights(4, 100)), images(8))


def test_logits_of_one_unit_are_known_behind_a_last_linear_activation():
    # All between 0 and 1, where they could be probabilities if the end were hidden.
    layers, bias = keras.layers, keras.initializers.Constant(0.5)
    start = {"kernel_initializer": "zeros", "bias_initializer": bias}
    for dense in (layers.Dense(1, **start), layers.Dense(1, dtype="mixed_bfloat16", **start)):
        maps = grad_cam(functional(dense, layers.Activation("linear", dtype="float32")), images(8))
        np.testing.assert_array_equal(maps, 0)


@pytest.mark.parametrize("activation", [None, "sigmoid"])
def test_one_unit_explains_two_classes(activation):
    # One network's unit is the logit of class 1 and the other one's that of class 0, so their maps are exchanged.
    kernels, bias, positive, zero = weights(1)
    one = of_weights(functional(keras.layers.Dense(1, activation=activation)), [kernels, bias, positive, zero])
    two = of_weights(functional(keras.layers.Dense(2)), [kernels, bias, np.hstack([-positive, positive]), np.zeros(2)])
    for classes in ([0, 0, 0], [1, 1, 1], [0, 1, 0], None):
        np.testing.assert_allclose(
            grad_cam(one, images(8), classes=classes), grad_cam(two, images(8), classes=classes), atol=1e-5
        )
    assert not np.allclose(grad_cam(one, images(8), classes=[0] * 3), grad_cam(one, images(8), classes=[1] * 3))
    with pytest.raises(InputError, match="integers from 0 to 1"):
        grad_cam(one, images(8), classes=[0, 1, 2])


# Keras warns of softmax over one unit, too.
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_one_unit_that_may_be_either_needs_classes():
    class Hidden(Subclassed):
        def call(self, images):
            return keras.ops.sigmoid(super().call(images))

    model = Hidden(keras.layers.Dense(1))
    model(images(8))
    with pytest.raises(InputError, match="give classes"):
        grad_cam(model, images(8))
    assert grad_cam(model, images(8), classes=[0, 1, 0]).shape == (3, 8, 8)
    with pytest.raises(InputError, match="it is always 1"):
        grad_cam(functional(keras.layers.Dense(1, activation="softmax")), images(8))


def test_the_default_layer_has_more_than_one_row_and_column():
    image = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 3, name="conv")(image)
    x = keras.layers.GlobalAveragePooling2D(keepdims=True)(x)
    x = keras.layers.ReLU(name="small")(keras.layers.Conv2D(4, 1, name="feature_map")(x))
    model = known_weights(keras.Model(image, keras.layers.Dense(3)(keras.layers.Flatten()(x))))
    np.testing.assert_array_equal(class_activation(model, images(8)), class_activation(model, images(8), "conv"))
    assert class_activation(model, images(8), "feature_map").shape == (3, 1, 1)
    assert cam_layers(model) == ["conv"]


def two_images(structure=list):
    """Two branches of different sizes, and two outputs: one of the left branch, one of both and of a vector."""
    left, right = keras.Input((8, 8, 3), name="left"), keras.Input((10, 10, 3), name="right")
    vector = keras.Input((2,), name="vector")
    seen = [keras.layers.Conv2D(4, 3, name=f"conv_{name}")(x) for name, x in zip("lr", (left, right), strict=True)]
    pooled = [keras.layers.GlobalAveragePooling2D()(x) for x in seen]
    own = keras.layers.Conv2D(3, 1, name="own")(seen[0])
    first = keras.layers.Dense(2, name="first")(keras.layers.GlobalAveragePooling2D()(own))
    both = keras.layers.Dense(3, activation="softmax", name="both")(keras.layers.Concatenate()([*pooled, vector]))
    if structure is dict:
        return keras.Model({"left": left, "right": right, "vector": vector}, {"a": first, "b": both})
    return keras.Model([left, right, vector], [first, both])


def test_a_sum_without_a_layer_counts_as_the_last_one():
    image = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 3, padding="same", name="first")(image)
    added = x + keras.layers.Conv2D(4, 3, padding="same", name="second")(x)
    after = keras.layers.Activation("linear", name="sum")(added)
    ends = keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(3)
    plain, named = (keras.Model(image, ends[1](ends[0](y))) for y in (added, after))
    known_weights(plain)
    np.testing.assert_array_equal(class_activation(plain, images(8)), class_activation(named, images(8), "sum"))


def test_input_and_output_are_chosen_by_name_or_index():
    arrays = [images(8), images(10), np.ones((3, 2), np.float32)]
    model, named = known_weights(two_images()), known_weights(two_images(structure=dict))
    for options, layer, size in (
        ({"input": "left", "output": "both"}, "conv_l", 8),
        ({"input": "right", "output": "both"}, "conv_r", 10),
        ({"input": 0, "output": 0}, "own", 8),
    ):
        maps = grad_cam(model, arrays, **options)
        assert maps.shape == (3, size, size)
        np.testing.assert_array_equal(maps, grad_cam(model, arrays, layer, **options))
    of_dict = grad_cam(named, {"vector": arrays[2], "right": arrays[1], "left": arrays[0]}, input="right", output="b")
    np.testing.assert_allclose(of_dict, grad_cam(model, arrays, input=1, output=1), atol=1e-5)
    for options, message in (
        ({}, "2 inputs of images; choose the one to explain by input=.*left, right"),
        ({"input": "left"}, "2 outputs; choose one by output=.*first, both"),
        ({"input": "lift"}, "unknown input 'lift'; did you mean left"),
        ({"input": 2, "output": 0}, r"images must be \(n, height, width, channels\)"),
        ({"input": 0, "output": "bath"}, "unknown output 'bath'; did you mean both"),
        ({"input": 1, "output": 0}, "no gradient of output 0 reaches conv_r"),
        ({"input": 0, "output": 1, "layer": "conv_r"}, "depends on the image; .* have: own, conv_l"),
    ):
        with pytest.raises(InputError, match=message):
            grad_cam(model, arrays, **options)
    with pytest.raises(InputError, match="every input must have as many rows"):
        grad_cam(model, [*arrays[:2], np.ones((4, 2))])
    with pytest.raises(InputError, match="3 inputs: give a list or dict of arrays for left, right"):
        grad_cam(model, arrays[0])


class Auxiliary(keras.Model):
    """A layer that is called last, and whose output is not used."""

    def __init__(self):
        super().__init__()
        self.used, self.unused = keras.layers.Conv2D(4, 3, name="used"), keras.layers.Conv2D(4, 3, name="unused")
        self.head = keras.layers.Dense(3)

    def call(self, x):
        x = self.used(keras.ops.cast(x, "float32") / 255)
        self.unused(x)
        return self.head(keras.ops.mean(x, (1, 2)))


def test_a_layer_that_leads_nowhere_is_not_explained():
    model = Auxiliary()
    model(images(8))
    known_weights(model)
    maps = grad_cam(model, images(8))
    assert maps.any()
    np.testing.assert_array_equal(maps, grad_cam(model, images(8), "used"))
    with pytest.raises(InputError, match="no gradient of the network's output reaches unused"):
        grad_cam(model, images(8), "unused")


def test_a_layer_whose_gradient_is_0_for_every_image_is_explained_all_the_same():
    image = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 3, name="conv")(image)
    dead = keras.layers.ReLU()(keras.layers.Conv2D(4, 3, bias_initializer=keras.initializers.Constant(-1e6))(x))
    model = keras.Model(image, keras.layers.Dense(3)(keras.layers.GlobalAveragePooling2D()(dead)))
    assert not grad_cam(model, images(8), "conv").any()


def test_of_a_shared_layer_the_call_on_the_explained_input_counts():
    shared = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3, name="conv"), keras.layers.Flatten()])
    left, right = keras.Input((8, 8, 3), name="left"), keras.Input((8, 8, 3), name="right")
    model = known_weights(
        keras.Model([left, right], keras.layers.Dense(3)(keras.layers.Concatenate()([shared(left), shared(right)])))
    )
    pair = [images(8), images(8)[::-1]]
    maps = {name: class_activation(model, pair, "conv", [0, 1, 2], input=name) for name in ("left", "right")}
    for index, name in enumerate(maps):
        darker = [pair[0], pair[1]]
        darker[1 - index] = darker[1 - index] // 2
        # The logits are linear in each input: what is seen of the other one does not count.
        np.testing.assert_allclose(
            class_activation(model, darker, "conv", [0, 1, 2], input=name), maps[name], rtol=1e-4
        )
    assert not np.allclose(maps["left"], maps["right"])


def test_half_precision_frozen_and_compiled_networks_have_the_same_maps():
    expected = grad_cam(known_weights(small_network()), images(12), "inner_conv", [0, 1, 4])
    for policy in ("mixed_float16", "mixed_bfloat16"):
        keras.config.set_dtype_policy(policy)
        try:
            half = known_weights(small_network())
        finally:
            keras.config.set_dtype_policy("float32")
        np.testing.assert_allclose(grad_cam(half, images(12), "inner_conv", [0, 1, 4]), expected, atol=0.03)
    frozen = known_weights(small_network())
    frozen.trainable = False
    frozen.compile("adam", "mse")
    np.testing.assert_allclose(grad_cam(frozen, images(12), "inner_conv", [0, 1, 4]), expected, atol=1e-5)
    assert not frozen.trainable_variables


def test_maps_between_epochs_of_training():
    model = of_weights(functional(keras.layers.Dense(4)), weights(4))
    seen = []
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    see = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(grad_cam(model, images(8))))
    model.fit(images(8) / 255, np.arange(3), epochs=2, verbose=0, callbacks=[see])
    np.testing.assert_allclose(seen[-1], grad_cam(model, images(8)), atol=1e-5)
    assert len(seen) == 2


def test_what_layers_count_or_add_to_the_loss_stays():
    class Counting(keras.layers.Layer):
        def build(self, shape):
            self.calls = self.add_weight(shape=(), initializer="zeros", trainable=False)

        def call(self, x):
            self.calls.assign_add(1.0)
            self.add_loss(keras.ops.mean(x))
            return x

    image = keras.Input((8, 8, 3))
    x = Counting(name="count")(keras.layers.Conv2D(4, 3)(image))
    model = keras.Model(image, keras.layers.Dense(3)(keras.layers.GlobalAveragePooling2D()(x)))
    before, losses = model.get_weights(), len(model.losses)
    attributes = [set(vars(layer)) for layer in model.layers]
    grad_cam(model, images(8))
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    assert len(model.losses) == losses
    assert attributes == [set(vars(layer)) for layer in model.layers]


def of_channels_first():
    image = keras.Input((3, 8, 8))
    x = keras.layers.GlobalAveragePooling2D(data_format="channels_first")(keras.layers.ReLU()(image))
    return keras.Model(image, keras.layers.Dense(3)(x))


def channels_first_within_another():
    pooling = keras.layers.TimeDistributed(keras.layers.MaxPooling2D(data_format="channels_first"))
    image = keras.Input((8, 8, 3))
    frames = keras.layers.Reshape((1, 3, 8, 8))(image)
    return keras.Model(image, keras.layers.Dense(3)(keras.layers.Flatten()(pooling(frames))))


def segmentation():
    return keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3)])


def failing():
    model = subclassed(keras.layers.Dense(3))
    model.conv.call = lambda *_, **__: 1 / 0
    return model


def two_of_one_name():
    image = keras.Input((8, 8, 3))
    blocks = [keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(3, 1, name="conv")]) for _ in range(2)]
    return keras.Model(image, keras.layers.Dense(2)(keras.layers.Flatten()(blocks[1](blocks[0](image)))))


@pytest.mark.parametrize(
    ("build", "options", "message"),
    [
        (lambda: keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(3)]), {}, "no weights yet: call it once"),
        (lambda: Subclassed(keras.layers.Dense(3)), {}, "no weights yet: call it once"),
        (lambda: "network.keras", {}, "model must be a keras.Model"),
        (of_channels_first, {}, "channels last"),
        (channels_first_within_another, {}, "channels last"),
        (segmentation, {}, r"output must be \(batch, classes\)"),
        (two_of_one_name, {"layer": "conv"}, "must not be that of several"),
        (lambda: build_model("mlp", (16, 16, 3), 3), {}, r"has the shape \(16, 16, 3\). Received: \(8, 8, 3\)"),
        (failing, {}, "cannot be called on images"),
    ],
)
def test_a_network_that_cannot_be_explained_is_refused(build, options, message):
    pixels = images(8)
    if build is of_channels_first:
        pixels = pixels.transpose(0, 3, 1, 2)
    model = build()
    with pytest.raises(InputError, match=message):
        grad_cam(model, pixels, **options)
