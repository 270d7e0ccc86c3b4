"""Named augmentation policies: Keras models in front of a network while it trains.

They run on the device inside the compiled step, are random for every image of every batch, compute in float32 whatever
Keras' dtype policy is, leave evaluation alone and are no part of the saved network. `kmodels augment POLICY` shows what
one does.

A policy that mixes images mixes their labels too, in the loss (kmodels/augment/mixing.py). The loss of training is then
the mixed one; the accuracy of training counts the label of the image itself, even where most of what is seen is
another, and stays far below that of validation.

To add one: name it in POLICIES; a layer that it needs and Keras does not have per image and compiled goes into
kmodels/augment/layers.py, colour.py or mixing.py.
"""

from typing import NamedTuple

from kmodels.data.arrays import range_unless_pixels
from kmodels.errors import InputError, unknown


class Policy(NamedTuple):
    """What is done to training images.

    Attributes:
        description: one line for lists.
        layers: in order, each as (class, arguments): a class of kmodels.augment's files, else of keras.layers.
    """

    description: str
    layers: tuple = ()


_CROP = ("RandomShiftCrop", {"padding": 4})
_FLIP = ("RandomFlip", {"mode": "horizontal"})
# Two layers: Keras' "horizontal_and_vertical" tosses one coin for both, which is half a turn or nothing.
_FLIPS = (_FLIP, ("RandomFlip", {"mode": "vertical"}))
_ROTATE = ("RandomTurn", {"degrees": 15, "nearest": True})
_SHARPEN = ("RandomSharpness", {"factor": 2, "probability": 0.5})
# The reports give no magnitudes for it. These are mild: every picture is still a likely photograph of the same thing.
_JITTER = ("RandomColorJitter", {"brightness": 0.2, "contrast": 0.2, "saturation": 0.2, "hue": 0.03})

POLICIES = {
    "none": Policy("the images as they are"),
    "crop": Policy("moved by up to 4 pixels each way", (_CROP,)),
    "flip": Policy("half of them mirrored left to right", (_FLIP,)),
    "flip_crop": Policy("mirrored left to right, moved by up to 4 pixels each way", (_FLIP, _CROP)),
    "flips": Policy("mirrored left to right and upside down, a coin for each", _FLIPS),
    "rotate": Policy("turned by up to 15 degrees", (_ROTATE,)),
    # The one that blends pixels as it turns; it has records.
    "rotate_flip": Policy(
        "turned by up to 15 degrees, pixels blended, mirrored left to right", (("RandomTurn", {"degrees": 15}), _FLIP)
    ),
    "sharpness": Policy("half of them sharpened", (_SHARPEN,)),
    "color_jitter": Policy("brightness, contrast, saturation and hue changed a little", (_JITTER,)),
    "flip_crop_jitter": Policy("mirrored left to right, moved, colours changed", (_FLIP, _CROP, _JITTER)),
    "flips_rotate_sharpness_crop": Policy(
        "mirrored both ways, turned, half of them sharpened, moved", (*_FLIPS, _ROTATE, _SHARPEN, _CROP)
    ),
    "everything": Policy(
        "mirrored both ways, turned, half of them sharpened, moved, colours changed",
        (*_FLIPS, _ROTATE, _SHARPEN, _CROP, _JITTER),
    ),
    # Seen from above, no direction is up: with the flips, the exchange of rows and columns makes all quarter turns.
    "geometric": Policy(
        "for pictures from above: mirrored both ways, turned by quarters and up to 15 degrees, moved",
        (*_FLIPS, ("RandomTranspose", {}), _ROTATE, _CROP),
    ),
    "erase": Policy(
        "mirrored left to right, moved, in half of them a rectangle of noise (Zhong et al. 2017)",
        (_FLIP, _CROP, ("RandomErasing", {"probability": 0.5})),
    ),
    "mixup": Policy(
        "mirrored left to right, moved, blended with another image (Zhang et al. 2017)", (_FLIP, _CROP, ("MixUp", {}))
    ),
    "cutmix": Policy(
        "mirrored left to right, moved, a rectangle from another image (Yun et al. 2019)",
        (_FLIP, _CROP, ("CutMix", {})),
    ),
}


# Layers that compute with the values of pixels, and cut them off at 0 and 255.
USE_PIXEL_VALUES = {"RandomSharpness", "RandomColorJitter", "RandomErasing"}


def build_augmentation(augmentation, input_shape, seed):
    """An augmentation as a Keras model from images to images, both (batch, height, width, channels), pixels 0..255.

    Args:
        augmentation: the name of a policy; a Keras layer; a function from images to images; or a list of these.
        input_shape: (height, width, channels).
        seed: the random numbers of two models with one seed are equal, batch by batch.

    Raises:
        InputError: for an unknown policy, one that needs square images or colours where they are not, or anything that
            is neither.
    """
    import keras

    from kmodels.augment.custom import custom_layer

    image = keras.layers.Input(input_shape, name="image")
    # For a policy without layers: Keras before 3.15 refuses a model whose output is its input.
    x = keras.layers.Identity(name="images", dtype="float32")(image)
    number = 0
    for change in _changes(augmentation):
        for make in _layers(change, custom_layer):
            x = make((1000 * seed + number) % 2**31)(x)
            number += 1
    name = f"augment_{augmentation}" if isinstance(augmentation, str) else "augment"
    return keras.Model(image, x, name=name)


def check_pixel_values(augmentation, images):
    """Raises InputError for a policy that takes pixels from 0 to 255, where images are floats that are no such pixels.

    Args:
        augmentation: as `build_augmentation` takes it.
        images: the training images (n, height, width, channels).
    """
    policies = [change for change in _changes(augmentation) if isinstance(change, str) and change in POLICIES]
    using = [name for name in policies if USE_PIXEL_VALUES & {layer for layer, _ in POLICIES[name].layers}]
    found = range_unless_pixels(images) if using else None
    if found is None:
        return
    others = [name for name in POLICIES if not USE_PIXEL_VALUES & {layer for layer, _ in POLICIES[name].layers}]
    raise InputError(
        f"augmentation {', '.join(using)} takes pixels from 0 to 255; give such (a Rescaling layer of the network may "
        f"scale them), or one of {', '.join(others)}. Received: images from {found[0]:g} to {found[1]:g}"
    )


def _changes(augmentation):
    return augmentation if isinstance(augmentation, list | tuple) else [augmentation]


def _layers(change, custom_layer):
    """Functions from a seed to a layer: those of a policy, or the one of the user's own augmentation."""
    import keras

    from kmodels.augment import colour, layers, mixing

    if not isinstance(change, str):
        return [lambda seed: custom_layer(change, seed)]
    if change not in POLICIES:
        raise unknown("augmentation", change, POLICIES, "or a Keras layer, a function of images, or a list of these")
    homes = (layers, colour, mixing, keras.layers)

    def maker(name, arguments):
        make = next(getattr(home, name) for home in homes if hasattr(home, name))
        return lambda seed: make(**arguments, seed=seed, dtype="float32")

    return [maker(name, arguments) for name, arguments in POLICIES[change].layers]
