"""Read and prepare datasets with tensorflow-datasets: what all of our sources from tfds share."""

import numpy as np

from kmodels.backend import import_tensorflow
from kmodels.data.pixel_digests import image_digests
from kmodels.data.progress import progress
from kmodels.data.resizing import resize_arrays
from kmodels.errors import InputError

# Decoded pixels held at once while a dataset is copied. Blocks are faster than single images: half the time for CIFAR.
BLOCK_BYTES = 2**24


def download_and_prepare(builder, folder=None):
    """Lets tfds write its files.

    Args:
        builder: a tfds builder.
        folder: of archives that the user already has; None downloads them.

    Raises:
        InputError: if tfds fails, with its message.
    """
    import tensorflow_datasets as tfds

    config = tfds.download.DownloadConfig(manual_dir=folder, try_download_gcs=False)
    try:
        builder.download_and_prepare(download_config=config)
    except Exception as error:
        raise InputError(
            f"tfds could not prepare {builder.info.full_name}: {type(error).__name__}: {one_line(error)}; give a "
            "data_dir of tfds that has it prepared, or the folder of the archives that it wants (--data-dir)"
        ) from error


def one_line(error):
    """The message of an error on one line: its first paragraph, at most 300 characters."""
    text = " ".join(str(error).strip().split("\n\n")[0].split())
    return text if len(text) <= 300 else f"{text[:297]}..."


def read_labels(builder, part):
    """The labels of one part (a split of tfds), int64 (n,), without decoding its images."""
    import tensorflow_datasets as tfds

    image_key, _ = builder.info.supervised_keys
    encoded = _examples(builder, part, decoders={image_key: tfds.decode.SkipDecoding()})
    blocks = encoded.map(lambda _, label: label).batch(1000).as_numpy_iterator()
    return np.concatenate([np.zeros(0, np.int64), *blocks]).astype(np.int64)


def copy_images(builder, part, labels, indices, image_size, writer, digests=None):
    """Copies one part into our splits, block by block, so that memory does not grow with the dataset.

    Args:
        builder: a prepared tfds builder.
        part: the name of the split of tfds.
        labels: ints (n,), of the part.
        indices: {name of our split: its sorted indices in the part}; together all of the part, each once.
        image_size: height and width to resize to, in pixels; None if all images have the same size.
        writer: a cache.Writer.
        digests: a list that gets the `image_digest` of each image as it is stored, before it is resized; or None.

    Raises:
        InputError: if the images differ in size and `image_size` is None, or cannot be read.
    """
    splits, start = {}, 0
    with progress(f"reading {builder.name} {part}", len(labels)) as bar:
        for block in _blocks(builder, part):
            images = to_rgb(block, image_size)
            if digests is not None:
                digests += image_digests(block)
            for name, chosen in indices.items():
                if name not in splits:
                    splits[name] = writer.split(name, len(chosen), *images.shape[1:3])
                    splits[name].labels[:], splits[name].index[:] = labels[chosen], chosen
                _check_size(builder.name, splits[name].images, images)
                first, last = np.searchsorted(chosen, (start, start + len(images)))
                splits[name].images[first:last] = images[chosen[first:last] - start]
            start += len(images)
            bar.update(len(images))


def _blocks(builder, part):
    """Images of one part, uint8 (n, height, width, channels): many at once if all have the same shape, else one."""
    tf = import_tensorflow()
    examples = _examples(builder, part)
    shape = examples.element_spec[0].shape
    images_at_once = max(1, BLOCK_BYTES // shape.num_elements()) if shape.is_fully_defined() else 1
    try:
        for block, _ in examples.batch(images_at_once).as_numpy_iterator():
            yield block
    except tf.errors.OpError as error:
        raise InputError(f"tfds could not read {builder.info.full_name}: {one_line(error)}") from error


def _check_size(name, written, images):
    (height, width), (other_height, other_width) = written.shape[1:3], images.shape[1:3]
    if (height, width) != (other_height, other_width):
        raise InputError(
            f"the images of {name} differ in size: {width}x{height} and {other_width}x{other_height} pixels; give "
            "image_size (--image-size) to resize them"
        )


def to_rgb(images, image_size=None):
    """Converts images as tfds decodes them.

    Args:
        images: uint8 (n, height, width, channels). 1 channel is repeated three times; of 4, the alpha channel is
            dropped.
        image_size: height and width to resize to, in pixels; None keeps the size.

    Returns:
        uint8 (n, height, width, 3).

    Raises:
        InputError: for another number of channels.
    """
    channels = images.shape[3]
    if channels not in (1, 3, 4):
        raise InputError(f"images must have 1, 3 or 4 channels. Received: {channels}")
    rgb = np.repeat(images, 3, axis=3) if channels == 1 else np.ascontiguousarray(images[..., :3])
    return resize_arrays(rgb, image_size)


def stream(builder, part, image_size):
    """One part as a tf.data.Dataset of (image, label), with the pixels that `copy_images` writes, in the same order.

    Args:
        builder: a prepared tfds builder.
        part: the name of the split of tfds.
        image_size: as for `copy_images`.
    """
    examples = _examples(builder, part)
    height, width, channels = examples.element_spec[0].shape
    if image_size is None and channels == 3:
        return examples
    tf = import_tensorflow()

    def convert(image, label):
        rgb = tf.numpy_function(lambda pixels: to_rgb(pixels[None], image_size)[0], [image], tf.uint8)
        return tf.ensure_shape(rgb, (image_size or height, image_size or width, 3)), label

    return examples.map(convert, num_parallel_calls=tf.data.AUTOTUNE)


def _examples(builder, part, **options):
    """(image, label) pairs in the one order that the indices of our splits count in."""
    import tensorflow_datasets as tfds

    # Without it, tfds keeps datasets of up to 250 MB in memory.
    config = tfds.ReadConfig(try_autocache=False)
    return builder.as_dataset(split=part, as_supervised=True, shuffle_files=False, read_config=config, **options)
