"""The forward pass."""

import keras
import numpy as np


class _Batches(keras.utils.PyDataset):
    def __init__(self, images, batch_size):
        super().__init__()
        self.images, self.batch_size = images, batch_size

    def __len__(self):
        return -(-len(self.images) // self.batch_size)

    def __getitem__(self, index):
        batch = self.images[index * self.batch_size : (index + 1) * self.batch_size]
        if index > 0 and len(batch) < self.batch_size:
            # Another size would be compiled anew, for one batch.
            batch = np.concatenate([batch, self.images[: self.batch_size - len(batch)]])
        return (batch,)


def predict_logits(model, images, batch_size=512):
    """Logits float32 (n, classes) of all images, in order.

    Args:
        model: a network from pixels to logits.
        images: (n, height, width, 3), 0..255; may be memory-mapped, only a batch is read at a time.
        batch_size: images a step.
    """
    return model.predict(_Batches(images, batch_size), verbose=0)[: len(images)].astype("float32")
