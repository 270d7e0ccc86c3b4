"""A network behind HTTP: POST an image file, get its class and the probabilities of all classes as JSON.

    pip install fastapi uvicorn python-multipart
    kmodels train photos/                                          # writes the network
    NETWORK=runs/photos uvicorn --app-dir experiments/serving fastapi_server:app
    curl -F image=@sea.jpg http://127.0.0.1:8000/predict
    {"class":"sea","probabilities":{"sea":0.913,"forest":0.052,"street":0.035}}

NETWORK is a folder of runs, whose best network is served, or a .keras file. What is no image that can be read is
answered with status 422 and a sentence. Requests are decoded side by side, and
take turns at the network. http://127.0.0.1:8000/docs has a form to try it.
"""

import os
import sys

from fastapi import FastAPI, HTTPException, UploadFile

import kmodels

# A photograph of 24 megapixels has 10 MB as JPEG.
MOST_BYTES = 32 * 2**20

try:
    classifier = kmodels.Classifier(os.environ.get("NETWORK", ""))
except kmodels.InputError as error:
    sys.exit(f"NETWORK must name a folder of runs or the .keras file to serve: {error}")
app = FastAPI(title="Image classifier", description=f"Classes: {', '.join(classifier.class_names)}")


@app.post("/predict")
def predict(image: UploadFile) -> dict:
    """The likeliest class, and the probabilities of all classes, the largest first."""
    content = image.file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise HTTPException(413, f"{image.filename!r} has more than {MOST_BYTES:,} bytes")
    try:
        (prediction,) = classifier.predict([content])
    except kmodels.InputError as error:
        # The network was not trained on images as files have them.
        raise HTTPException(422, str(error)) from error
    if prediction.error:
        raise HTTPException(422, f"{image.filename!r} cannot be read: {prediction.error}")
    return {"class": prediction.name, "probabilities": dict(prediction.likeliest(len(prediction.names)))}
