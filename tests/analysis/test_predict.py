"""What layers put out: as the network itself computes it, in order, on every backend."""

import gc
import weakref

import keras
import numpy as np
import pytest

from kmodels import InputError, build_model
from kmodels.analysis import embed, feature_maps, features, predict_logits
from kmodels.analysis.predict import usual_batch


def images(n, size=16):
    return np.random.default_rng(0).integers(0, 256, (n, size, size, 3), np.uint8)


@pytest.fixture(scope="module")
def network():
    return build_model("conv_net", (16, 16, 3), 3)


def test_the_classifier_on_the_embedding_gives_the_logits(network):
    # Five images in batches of two: the last one is padded, and what was padded must not come back.
    points = embed(network, images(5), batch_size=2)
    assert (points.shape, points.dtype) == ((5, 84), np.float32)
    kernel, bias = network.get_layer("logits").get_weights()
    np.testing.assert_allclose(points @ kernel + bias, predict_logits(network, images(5)), atol=1e-5)


def test_dropout_and_batch_norm_are_as_in_use_not_as_in_training():
    network = build_model("model4", (16, 16, 3), 3)
    points = embed(network, images(4))
    np.testing.assert_array_equal(points, embed(network, images(4)))
    alone = np.concatenate([embed(network, images(4)[i : i + 1]) for i in range(4)])
    np.testing.assert_allclose(points, alone, atol=1e-5)


def test_maps_of_several_layers_come_together_in_the_order_asked_for(network):
    maps = feature_maps(network, images(3), ["relu1", "feature_map", "embedding"], batch_size=2)
    assert {name: values.shape for name, values in maps.items()} == {
        "relu1": (3, 12, 12, 6),
        "feature_map": (3, 2, 2, 16),
        "embedding": (3, 84),
    }
    assert list(maps) == ["relu1", "feature_map", "embedding"]
    for name, values in maps.items():
        assert values.dtype == np.float32
        np.testing.assert_allclose(values, features(network, images(3), name), atol=1e-6)


def test_memory_mapped_images_are_read_a_batch_at_a_time(network, tmp_path):
    np.save(tmp_path / "images.npy", images(7))
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    np.testing.assert_allclose(embed(network, mapped, batch_size=3), embed(network, images(7)), atol=1e-5)


def test_new_weights_count_at_once(network):
    before = features(network, images(2), "conv1")
    layer = network.get_layer("conv1")
    kernel, bias = layer.get_weights()
    layer.set_weights([kernel, bias + 1])
    np.testing.assert_allclose(features(network, images(2), "conv1"), before + 1, atol=1e-5)


def test_half_precision_comes_out_as_float32():
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        network = build_model("conv_net", (16, 16, 3), 3)
    finally:
        keras.config.set_dtype_policy(before)
    assert embed(network, images(2)).dtype == np.float32


def test_no_images_give_no_points(network):
    assert embed(network, images(0)).shape == (0, 84)
    assert feature_maps(network, images(0), ["relu1"])["relu1"].shape == (0, 12, 12, 6)
    logits = predict_logits(network, images(0))
    assert (logits.shape, logits.dtype) == ((0, 3), np.float32)


def test_of_a_network_for_any_size_no_images_have_the_shape_of_theirs():
    image = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(2, 3, name="conv")(image)
    model = keras.Model(image, keras.layers.Dense(2)(keras.layers.GlobalAveragePooling2D()(x)))
    assert features(model, images(0), "conv").shape == (0, 14, 14, 2)


class Subclass(keras.Model):
    def __init__(self):
        super().__init__()
        self.flatten, self.head = keras.layers.Flatten(), keras.layers.Dense(2, name="embedding")

    def call(self, x):
        return self.head(self.flatten(keras.ops.cast(x, "float32")))


def test_logits_of_a_network_without_a_graph():
    model = Subclass()
    with pytest.raises(InputError, match="no weights yet: call it once"):
        predict_logits(model, images(2))
    expected = keras.ops.convert_to_numpy(model(images(2)))
    np.testing.assert_allclose(predict_logits(model, images(2)), expected, rtol=1e-4, atol=1e-3)
    assert predict_logits(model, images(0)).shape == (0, 2)


@pytest.mark.parametrize("end", ["softmax", "sigmoid"])
def test_logits_are_those_before_a_last_activation(end):
    image = keras.Input((16, 16, 3))
    x = keras.layers.Dense(3 if end == "softmax" else 1, activation=end)(keras.layers.Flatten()(image))
    model = keras.Model(image, x)
    logits = predict_logits(model, images(2) / 255)
    probabilities = keras.ops.convert_to_numpy(keras.ops.softmax(logits))
    expected = keras.ops.convert_to_numpy(model(images(2) / 255))
    np.testing.assert_allclose(probabilities if end == "softmax" else probabilities[:, 1:], expected, atol=1e-4)


class Hidden(keras.Model):
    """Ends in an activation that no graph shows."""

    def __init__(self, units, activation):
        super().__init__()
        self.flatten, self.head = keras.layers.Flatten(), keras.layers.Dense(units, activation)

    def call(self, x):
        return self.head(self.flatten(x) / 255)


def alone(*arguments):
    model = Hidden(*arguments)
    model(images(1))
    return model


def in_a_graph(*arguments):
    return keras.Sequential([keras.Input((16, 16, 3)), Hidden(*arguments)])


@pytest.mark.parametrize("build", [alone, in_a_graph])
def test_one_unit_is_the_logit_of_class_1_whether_its_end_is_visible_or_not(build):
    model = build(1, None)
    logits = predict_logits(model, images(3))
    np.testing.assert_array_equal(logits[:, 0], 0)
    np.testing.assert_allclose(logits[:, 1:], keras.ops.convert_to_numpy(model(images(3))), atol=1e-5)
    assert predict_logits(model, images(0)).shape == (0, 2)
    with pytest.raises(InputError, match="look like probabilities"):
        predict_logits(build(1, "sigmoid"), images(1))


@pytest.mark.parametrize("build", [alone, in_a_graph])
def test_probabilities_of_several_classes_are_warned_of_from_one_image_on(build):
    with pytest.warns(UserWarning, match="look like probabilities"):
        predict_logits(build(3, "softmax"), images(1))


def test_a_sigmoid_for_each_of_several_classes_is_warned_of():
    model = keras.Sequential([keras.Input((16, 16, 3)), keras.layers.Flatten(), keras.layers.Dense(3, "sigmoid")])
    with pytest.warns(UserWarning, match="must be of one class"):
        predict_logits(model, images(1))


def test_several_inputs_and_outputs():
    image, vector = keras.Input((16, 16, 3), name="image"), keras.Input((2,), name="vector")
    x = keras.layers.Concatenate(name="joined")([keras.layers.Flatten()(image), vector])
    outputs = {name: keras.layers.Dense(n, activation="softmax")(x) for name, n in (("kind", 3), ("colour", 2))}
    model = keras.Model({"image": image, "vector": vector}, outputs)
    given = {"vector": np.ones((3, 2)), "image": images(3)}
    assert predict_logits(model, given, batch_size=2, output="colour").shape == (3, 2)
    np.testing.assert_array_equal(features(model, given, "joined", batch_size=2)[:, :-2], images(3).reshape(3, -1))
    with pytest.raises(InputError, match="2 outputs; choose one by output="):
        predict_logits(model, given)
    with pytest.raises(InputError, match="unknown output 'color'; did you mean colour"):
        predict_logits(model, given, output="color")
    with pytest.raises(InputError, match="inputs are image, vector"):
        predict_logits(model, {"image": images(3)}, output="kind")
    with pytest.raises(InputError, match="has the shape"):
        predict_logits(model, {**given, "image": images(3, 8)}, output="kind")


def test_inputs_and_outputs_in_a_list():
    image, vector = keras.Input((16, 16, 3), name="image"), keras.Input((2,), name="vector")
    x = keras.layers.Flatten(name="embedding")(image)
    one = keras.Model([image], [keras.layers.Dense(3)(x)])
    assert predict_logits(one, images(3), batch_size=2).shape == (3, 3)
    np.testing.assert_array_equal(embed(one, images(3), batch_size=2), images(3).reshape(3, -1))
    two = keras.Model([image, vector], keras.layers.Dense(3)(keras.layers.Concatenate(name="joined")([x, vector])))
    given = [images(3), np.ones((3, 2))]
    assert predict_logits(two, given, batch_size=2).shape == (3, 3)
    np.testing.assert_array_equal(features(two, given, "joined", batch_size=2)[:, :-2], images(3).reshape(3, -1))


def test_a_network_is_not_kept_alive():
    network = build_model("mlp", (16, 16, 3), 3)
    embed(network, images(1))
    left = weakref.ref(network)
    del network
    gc.collect()
    assert left() is None


def test_a_sequential_network_will_do():
    layers = [keras.Input((16, 16, 3)), keras.layers.Flatten(), keras.layers.Dense(4, name="embedding")]
    assert embed(keras.Sequential(layers), images(2)).shape == (2, 4)


def nested():
    inner_input = keras.Input((16, 16, 3))
    block = keras.Model(inner_input, keras.layers.Conv2D(2, 3, name="inner")(inner_input), name="block")
    image = keras.Input((16, 16, 3))
    return keras.Model(image, keras.layers.Flatten(name="flat")(block(image)))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((features, "embeding"), "unknown layer 'embeding'; did you mean embedding"),
        ((embed, "feature_map"), "layer 'feature_map' must have 2-D output; layers that have: flatten, dense1"),
        ((feature_maps, []), "layers must name at least one layer"),
        ((feature_maps, ["relu1", "nonsense"]), "unknown layer 'nonsense'"),
    ],
)
def test_what_is_wrong_is_named(network, arguments, message):
    function, layer = arguments
    with pytest.raises(InputError, match=message):
        function(network, images(1), layer)


def test_a_nested_model_is_refused_but_what_comes_after_it_is_not():
    network = nested()
    assert features(network, images(2), "flat").shape == (2, 14 * 14 * 2)
    with pytest.raises(InputError, match="cannot be cut at a layer that is itself a model"):
        features(network, images(2), "block")
    with pytest.raises(InputError, match="unknown layer 'inner'"):
        features(network, images(2), "inner")


def test_a_layer_of_another_network_is_read_where_this_network_calls_it(network):
    pool, image = network.get_layer("pool1"), keras.Input((12, 12, 6))
    borrowed = keras.Model(image, keras.layers.Flatten()(pool(image)))
    maps = np.random.default_rng(0).normal(size=(2, 12, 12, 6)).astype(np.float32)
    np.testing.assert_array_equal(features(borrowed, maps, "pool1"), keras.ops.convert_to_numpy(pool(maps)))


def test_two_networks_on_the_same_input_share_a_layer():
    image, shared = keras.Input((16, 16, 3)), keras.layers.Dense(4, name="embedding")
    pooled = [keras.layers.GlobalAveragePooling2D()(image), keras.layers.GlobalMaxPooling2D()(image)]
    shared_outputs = [shared(x) for x in pooled]
    for output in shared_outputs:
        expected = keras.Model(image, output).predict(images(3), verbose=0)
        model = keras.Model(image, keras.layers.Dense(3)(output))
        np.testing.assert_allclose(embed(model, images(3)), expected, rtol=1e-5)


def layers_of_a_base():
    base = keras.Sequential(
        [keras.Input((16, 16, 3)), keras.layers.Conv2D(4, 3, name="conv"), keras.layers.Flatten(name="embedding")]
    )
    return base.inputs[0], base.layers


@pytest.mark.parametrize("same_input", [True, False])
def test_layers_of_a_base_called_again_behind_a_rescaling(same_input):
    image, base = layers_of_a_base()
    image = image if same_input else keras.Input((16, 16, 3))
    x = keras.layers.Rescaling(1 / 255)(image)
    outputs = {layer.name: (x := layer(x)) for layer in base}
    expected = keras.Model(image, outputs).predict(images(3), verbose=0)
    model = keras.Model(image, keras.layers.Dense(3)(x))
    for name, values in feature_maps(model, images(3), outputs).items():
        np.testing.assert_allclose(values, expected[name], atol=1e-5)


def test_of_a_layer_called_twice_in_the_network_the_first_call_counts():
    image, shared = keras.Input((16, 16, 3)), keras.layers.Dense(4, name="embedding")
    first = shared(keras.layers.GlobalAveragePooling2D()(image))
    second = shared(keras.layers.GlobalMaxPooling2D()(image))
    # Keras' own order of layers begins with what is joined first.
    model = keras.Model(image, keras.layers.Concatenate()([second, first]))
    expected = keras.Model(image, first).predict(images(3), verbose=0)
    np.testing.assert_allclose(embed(model, images(3)), expected, rtol=1e-5)


def test_a_layer_that_is_neither_image_nor_vector_has_no_map():
    signal = keras.Input((8, 3))
    x = keras.layers.Conv1D(2, 3, name="conv")(signal)
    with pytest.raises(InputError, match="must have 2-D or 4-D output"):
        feature_maps(keras.Model(signal, keras.layers.Flatten()(x)), np.zeros((1, 8, 3)), ["conv"])


def test_a_network_without_a_graph_cannot_be_cut():
    network = Subclass()
    network(images(1))
    with pytest.raises(InputError, match="must have one output in the graph of a functional or Sequential network"):
        embed(network, images(1))


def test_fewer_images_at_once_where_they_are_large():
    assert usual_batch((32, 32, 3)) == usual_batch((64, 64, 3)) == usual_batch((1280,)) == 512
    assert usual_batch((224, 224, 3)) == 41
    assert usual_batch((5000, 5000, 3)) == 1
