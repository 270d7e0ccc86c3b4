"""DenseNet-121 (Huang et al., Densely Connected Convolutional Networks, 2017), as torchvision has it.

Report `eurosat_long_tail` factorises its convolutions (Szegedy et al., Rethinking the Inception Architecture for
Computer Vision, 2015) and adds noise to the first of them.
"""

import keras
from keras import layers

from kmodels.errors import require
from kmodels.models.blocks import IMAGENET_MEAN, IMAGENET_STD, batch_norm, conv, logits, pixels

# Layers of each dense block, and the channels that each layer adds.
BLOCKS = (6, 12, 24, 16)
GROWTH_RATE = 32
# The first six convolutions, a factorised one counted once.
NOISY = ("stem", *(f"block1_layer{layer}_conv{i}" for layer in (1, 2) for i in (1, 2)), "block1_layer3_conv1")


def densenet121(input_shape, num_classes, *, factorised=False, noise_std=0.0):
    """DenseNet-121: 6,964,106 trainable parameters for ten classes; factorised 5,716,874.

    Args:
        factorised: a 1x3 and a 3x1 convolution in place of each 3x3, both as wide as it was and nothing in between.
        noise_std: standard deviation, 0 to 1, of the Gaussian noise that is added to what each of the first six
            convolutions computes, random for each number of each image in each training step; none at inference.

    Raises:
        InputError: if noise_std is not from 0 to 1.
    """
    require(0 <= noise_std <= 1, "noise_std must be from 0 to 1", noise_std)
    image, x = pixels(input_shape, smallest=29, mean=IMAGENET_MEAN, std=IMAGENET_STD)
    x = _norm_relu(_conv(x, 64, 7, strides=2, noise_std=noise_std, name="stem"), norm="stem_norm", relu="stem_relu")
    # Zeros in place of PyTorch's minus infinity: after a ReLU the maximum is the same.
    x = layers.ZeroPadding2D(1, name="stem_pool_pad")(x)
    x = layers.MaxPooling2D(3, 2, name="stem_pool")(x)
    for number, depth in enumerate(BLOCKS, start=1):
        if number > 1:
            x = transition(x, name=f"transition{number - 1}")
        name = f"block{number}"
        x = dense_block(x, depth, GROWTH_RATE, factorised=factorised, noise_std=noise_std, name=name)
    x = _norm_relu(x, norm="norm", relu="feature_map")
    x = layers.GlobalAveragePooling2D(name="embedding")(x)
    return keras.Model(image, logits(x, num_classes, bias_initializer="zeros"), name="densenet121")


def dense_block(x, depth, growth_rate, *, name, factorised=False, noise_std=0.0):
    """Layers of which each appends `growth_rate` channels to all those before it."""
    for number in range(1, depth + 1):
        layer = f"{name}_layer{number}"
        new = _norm_relu(x, norm=f"{layer}_norm1", relu=f"{layer}_relu1")
        new = _conv(new, 4 * growth_rate, 1, noise_std=noise_std, name=f"{layer}_conv1")
        new = _norm_relu(new, norm=f"{layer}_norm2", relu=f"{layer}_relu2")
        new = _conv(new, growth_rate, 3, factorised=factorised, noise_std=noise_std, name=f"{layer}_conv2")
        x = layers.Concatenate(name=f"{layer}_concat")([x, new])
    return x


def transition(x, *, name):
    """Half the channels, half the height and width."""
    x = _norm_relu(x, norm=f"{name}_norm", relu=f"{name}_relu")
    x = _conv(x, x.shape[-1] // 2, 1, name=f"{name}_conv")
    return layers.AveragePooling2D(2, name=f"{name}_pool")(x)


def _norm_relu(x, *, norm, relu):
    return layers.ReLU(name=relu)(batch_norm(x, name=norm))


def _conv(x, filters, size, *, name, strides=1, factorised=False, noise_std=0.0):
    """Convolution with as many zeros around as its kernel reaches out, then the noise if it is a noisy one."""
    reach = size // 2
    if factorised:
        x = _he_conv(x, filters, (1, size), padding=(0, reach), name=f"{name}_1x{size}")
        x = _he_conv(x, filters, (size, 1), padding=(reach, 0), name=f"{name}_{size}x1")
    else:
        x = _he_conv(x, filters, size, strides=strides, padding=reach, name=name)
    if noise_std and name in NOISY:
        x = layers.GaussianNoise(noise_std, name=f"{name}_noise")(x)
    return x


def _he_conv(x, filters, kernel_size, **options):
    # As torchvision's DenseNet initialises its convolutions: He et al., normal, by fan-in.
    he = keras.initializers.VarianceScaling(2.0, "fan_in", "untruncated_normal")
    return conv(x, filters, kernel_size, bias=False, kernel_initializer=he, **options)
