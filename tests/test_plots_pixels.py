"""Images of any kind are visible in every figure."""

import numpy as np
import pytest

from kmodels import plots
from kmodels.plots.pixels import to_rgb

GREY = np.arange(0, 256, 4, dtype=np.uint8).reshape(1, 8, 8, 1)
RGB = GREY.repeat(3, axis=-1)
KINDS = {
    "integers": RGB,
    "integers of another size": RGB.astype(np.int64),
    "from 0 to 1": RGB / np.float32(255),
    "from -1 to 1": RGB / np.float32(126) - 1,
    "float16": (RGB / 255).astype(np.float16),
    "one channel": GREY,
    "one channel, from 0 to 1": GREY / np.float32(255),
    "five channels": GREY.repeat(5, axis=-1),
}
MAPS = np.ones((1, 8, 8), np.float32)
DRAW = {
    "feature_maps": lambda images: plots.feature_maps(images[0], {"conv": MAPS[0][..., None]}),
    "grad_cam_layers": lambda images: plots.grad_cam_layers(images, {"conv": MAPS}, ("one",)),
    "grad_cam_panels": lambda images: plots.grad_cam_panels(images, MAPS, ("one",)),
    "image_grid": lambda images: plots.image_grid([images]),
    "mistakes": lambda images: plots.mistakes(images, MAPS, ("one",)),
    "predictions": lambda images: plots.predictions(images, np.eye(1), [0], ("cat",)),
}


@pytest.mark.parametrize("images", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("draw", DRAW.values(), ids=DRAW)
def test_an_image_is_shown_from_dark_to_bright(draw, images):
    shown = np.asarray(draw(images).axes[0].images[0].get_array())
    assert shown.shape == (8, 8, 3)
    bright = 255 if shown.dtype == np.uint8 else 1
    np.testing.assert_allclose(shown[0, 0], 0, atol=0.01 * bright)
    assert (shown[7, 7] > 0.98 * bright).all()
    assert (np.diff(shown.astype(float)[:, :, 0].ravel()) > 0).all()


def test_what_is_no_number_is_black_and_an_even_image_too():
    image = np.array([[0.0, np.nan], [-np.inf, 2.0]])[..., None]
    np.testing.assert_array_equal(to_rgb(image)[..., 0], [[0, 0], [0, 255]])
    for even in (np.full((2, 2, 3), 0.5), np.full((2, 2, 3), np.nan)):
        assert to_rgb(even).max() == 0
