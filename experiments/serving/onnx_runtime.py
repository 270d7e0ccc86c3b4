"""A network without Keras and without kmodels: ONNX Runtime, NumPy and Pillow say what is on image files.

    kmodels export runs/photos --format onnx --out network.onnx                       # where kmodels is installed
    pip install numpy onnxruntime pillow                                              # where it is not
    python experiments/serving/onnx_runtime.py network.onnx new/*.jpg
     91.3 % sea     new/1.jpg

The file has the names of the classes and the size of the images. Images are scaled and cropped as kmodels does, by the
same function of Pillow, so with the same version of Pillow the pixels are the same to the last bit. The probabilities
are those of `kmodels predict`, but for rounding. Files that cannot be read are named, and the exit status is then 1.
"""

import json
import sys

import numpy as np
import onnxruntime
from PIL import Image, ImageOps


def pixels(file, height, width, channels):
    """float32 (1, height, width, channels), 0..255: an image scaled to cover this size, and cropped to its centre."""
    with Image.open(file) as image:
        if image.mode[0] in "IF":
            raise ValueError("it has more than 8 bits a channel; save it with 8 bits")
        # Cameras store the orientation beside the pixels.
        upright = ImageOps.exif_transpose(image).convert("RGB")
    if channels == 1:
        upright = upright.convert("L")
    if upright.size != (width, height):
        upright = ImageOps.fit(upright, (width, height), Image.Resampling.BILINEAR)
    return np.asarray(upright, np.float32).reshape(1, height, width, channels)


def main(network, *files):
    """Prints class, probability and name of each file; returns the exit status."""
    session = onnxruntime.InferenceSession(network, providers=["CPUExecutionProvider"])
    about = session.get_modelmeta().custom_metadata_map
    if about["input"].startswith("floats"):
        sys.exit(f"the network takes no image files but {about['input']}")
    if about["input"].startswith("unknown"):
        print("the network is given pixels 0..255, and its file does not say what it was trained on", file=sys.stderr)
    names, shape = json.loads(about["class_names"]), json.loads(about["image_shape"])
    status = 0
    for file in files:
        try:
            image = pixels(file, *shape)
        except Exception as error:  # Damaged files make Pillow raise errors of every type.
            print(f"cannot read {file}: {error}", file=sys.stderr)
            status = 1
            continue
        (probabilities,) = session.run(None, {session.get_inputs()[0].name: image})[0]
        best = int(probabilities.argmax())
        print(f"{100 * probabilities[best]:5.1f} % {names[best]:{max(map(len, names))}}  {file}")
    return status


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(f"give a network and images: python {sys.argv[0]} NETWORK.onnx IMAGES...")
    sys.exit(main(*sys.argv[1:]))
