"""Named augmentation policies: Keras models that stand in front of a network while it trains.

They run on the device inside the compiled step, draw anew for every image of every batch, leave evaluation alone and
are no part of the saved network.

To add one: name it in POLICIES; a layer that it needs and Keras does not have per image and compiled goes into
kmodels/augment/layers.py.
"""

from kmodels.errors import unknown

# Policy -> its layers in order, each as (class, arguments): a class of kmodels.augment.layers, else of keras.layers.
POLICIES = {
    "none": (),
    "crop": (("RandomShiftCrop", {"padding": 4}),),
    "flip": (("RandomFlip", {"mode": "horizontal"}),),
    "rotate_flip": (("RandomTurn", {"degrees": 15}), ("RandomFlip", {"mode": "horizontal"})),
}


def build_augmentation(policy, input_shape, seed):
    """The policy as a Keras model from images to images, both (batch, height, width, 3) with pixels 0..255.

    Args:
        policy: one of POLICIES.
        input_shape: (height, width, 3).
        seed: the draws of two models with one seed are equal, batch by batch.

    Raises:
        InputError: for an unknown policy.
    """
    if policy not in POLICIES:
        raise unknown("augmentation", policy, POLICIES)
    import keras

    from kmodels.augment import layers

    image = keras.layers.Input(input_shape, name="image")
    # For a policy without layers: Keras before 3.15 refuses a model whose output is its input.
    x = keras.layers.Identity(name="images")(image)
    for number, (name, arguments) in enumerate(POLICIES[policy]):
        make = getattr(layers, name, None) or getattr(keras.layers, name)
        x = make(**arguments, seed=(1000 * seed + number) % 2**31)(x)
    return keras.Model(image, x, name=f"augment_{policy}")
