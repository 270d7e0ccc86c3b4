"""A page on which an image is dropped: its classes with their probabilities, and Grad-CAM, which shows why.

    pip install gradio
    python experiments/serving/gradio_app.py runs/photos
    Running on local URL:  http://127.0.0.1:7860

Images are answered one after the other, as Gradio does unless it is told otherwise.
"""

import io
import sys

import gradio
from PIL import Image

import kmodels
from kmodels.analysis import grad_cam
from kmodels.plots import grad_cam_panels


def build(file):
    """The page for a network.

    Args:
        file: its .keras file, or a folder of runs, whose best network it is then.

    Returns:
        A gradio.Interface; `launch` serves it, and its `fn` takes the path of an image file.
    """
    classifier = kmodels.Classifier(file)

    def explain(path):
        if path is None:
            raise gradio.Error("choose an image first")
        try:
            (prediction,) = classifier.predict([path])
        except kmodels.InputError as error:
            # The network was not trained on images as files have them.
            raise gradio.Error(str(error)) from error
        if prediction.error:
            raise gradio.Error(f"the image cannot be read: {prediction.error}")
        pixels = classifier.pixels(path)
        shown = pixels.repeat(3, axis=-1) if pixels.shape[-1] == 1 else pixels
        try:
            maps = grad_cam(classifier.network, pixels[None])
        except kmodels.InputError:
            # A network of dense layers only has nothing to show.
            return dict(prediction.likeliest(5)), None
        picture = io.BytesIO()
        grad_cam_panels(shown[None], maps, [prediction.name]).savefig(picture, dpi=200)
        return dict(prediction.likeliest(5)), Image.open(picture)

    # As a path: the pixels are those of the file, not what the page has made of it.
    image = gradio.Image(type="filepath", image_mode=None, label="image")
    outputs = [gradio.Label(label="class"), gradio.Image(label="Grad-CAM")]
    return gradio.Interface(explain, image, outputs, title="Image classifier", flagging_mode="never")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(f"give a .keras file or a folder of runs: python {sys.argv[0]} runs/photos")
    try:
        page = build(sys.argv[1])
    except kmodels.InputError as error:
        sys.exit(f"error: {error}")
    page.launch()
