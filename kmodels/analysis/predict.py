"""The forward pass."""

import keras


class _Batches(keras.utils.PyDataset):
    def __init__(self, images, batch_size):
        super().__init__()
        self.images, self.batch_size = images, batch_size

    def __len__(self):
        return -(-len(self.images) // self.batch_size)

    def __getitem__(self, index):
        return (self.images[index * self.batch_size : (index + 1) * self.batch_size],)


def predict_logits(model, images, batch_size=512):
    """Logits float32 (n, classes) of all images, in order.

    Args:
        model: a network from pixels to logits.
        images: (n, height, width, 3), 0..255; may be memory-mapped, only a batch is read at a time.
        batch_size: images a step.
    """
    return model.predict(_Batches(images, batch_size), verbose=0).astype("float32")
