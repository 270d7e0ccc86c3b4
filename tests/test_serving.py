"""The examples of serving answer as the Classifier does, also several requests at once, and refuse in a sentence."""

import json
import runpy
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kmodels import Classifier, build_model
from kmodels.models.about import About
from kmodels.models.saving import save_network

# Starlette's test client, with the httpx that older versions of it need.
pytestmark = pytest.mark.filterwarnings("ignore:Using `httpx` with `starlette.testclient`")
SERVING = Path(__file__).parents[1] / "experiments" / "serving"


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("network") / "network.keras"
    network = build_model("conv_net", (32, 32, 3), 3)
    return save_network(network, path, About(class_names=("cat", "dog", "ei"), image_shape=(32, 32, 3)))


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    for number in range(8):
        Image.fromarray(rng.integers(0, 256, (40, 36 + number, 3), np.uint8)).save(folder / f"{number}.png")
    return sorted(folder.iterdir())


@pytest.fixture(scope="module")
def client(file):
    pytest.importorskip("fastapi")
    pytest.importorskip("httpx")
    pytest.importorskip("python_multipart")
    from fastapi.testclient import TestClient

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NETWORK", str(file))
        app = runpy.run_path(str(SERVING / "fastapi_server.py"))["app"]
    with TestClient(app) as client:
        yield client


def post(client, path):
    return client.post("/predict", files={"image": (path.name, path.read_bytes())})


def test_the_server_answers_many_at_once_as_the_classifier_does(client, file, pictures):
    expected = [dict(one.likeliest(3)) for one in Classifier(file).predict(pictures)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda path: post(client, path), pictures * 3))
    for answer, probabilities in zip(answers, expected * 3, strict=True):
        assert answer.status_code == 200
        assert answer.json()["class"] == next(iter(probabilities))
        assert answer.json()["probabilities"] == pytest.approx(probabilities, abs=1e-5)


def test_the_server_refuses_what_is_no_image_in_a_sentence(client, tmp_path):
    for content in (b"no image", b"", b"\x89PNG\r\n\x1a\n damaged"):
        (tmp_path / "bad.png").write_bytes(content)
        answer = post(client, tmp_path / "bad.png")
        assert answer.status_code == 422
        assert answer.json()["detail"].startswith("'bad.png' cannot be read: ")
    with (tmp_path / "large.png").open("wb") as large:
        large.truncate(2**25 + 1)
    assert post(client, tmp_path / "large.png").status_code == 413
    assert client.post("/predict").status_code == 422


def test_the_server_says_that_its_network_was_not_trained_on_pixels(tmp_path, pictures, monkeypatch):
    pytest.importorskip("fastapi")
    pytest.importorskip("httpx")
    pytest.importorskip("python_multipart")
    from fastapi.testclient import TestClient

    about = About(class_names=("cat", "dog", "ei"), image_shape=(32, 32, 3), value_range=(0.0, 1.0))
    path = save_network(build_model("conv_net", (32, 32, 3), 3), tmp_path / "network.keras", about)
    monkeypatch.setenv("NETWORK", str(path))
    with TestClient(runpy.run_path(str(SERVING / "fastapi_server.py"))["app"]) as client:
        answer = post(client, pictures[0])
    assert answer.status_code == 422
    assert "0 to 1" in answer.json()["detail"]


def test_a_server_without_a_network_ends_in_a_sentence(tmp_path, monkeypatch):
    pytest.importorskip("fastapi")
    monkeypatch.setenv("NETWORK", str(tmp_path / "nothing.keras"))
    with pytest.raises(SystemExit, match="NETWORK must name a folder of runs or"):
        runpy.run_path(str(SERVING / "fastapi_server.py"))


def test_behind_uvicorn(client, file, pictures):
    uvicorn = pytest.importorskip("uvicorn")
    server = uvicorn.Server(uvicorn.Config(client.app, port=0, log_level="critical"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            time.sleep(0.01)
        (address,) = (socket.getsockname() for socket in server.servers[0].sockets)
        body = b"--x\r\nContent-Disposition: form-data; name=image; filename=a.png\r\n\r\n%b\r\n--x--\r\n"
        request = urllib.request.Request(
            "http://{}:{}/predict".format(*address),
            body % pictures[0].read_bytes(),
            {"Content-Type": "multipart/form-data; boundary=x"},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            assert json.load(answer)["class"] == Classifier(file).predict(pictures[0])[0].name
    finally:
        server.should_exit = True
        thread.join()


# Gradio opens event loops that it does not close.
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_the_page_has_classes_and_grad_cam(file, pictures, tmp_path):
    gradio = pytest.importorskip("gradio")
    page = runpy.run_path(str(SERVING / "gradio_app.py"))["build"](file)
    assert isinstance(page, gradio.Interface)
    classes, picture = page.fn(str(pictures[0]))
    assert classes == pytest.approx(dict(Classifier(file).predict(pictures[0])[0].likeliest(3)), abs=1e-5)
    assert picture.width > picture.height > 100
    # As it travels to the browser.
    label, image = (
        part.postprocess(value) for part, value in zip(page.output_components, (classes, picture), strict=True)
    )
    assert (label.label, Image.open(image.path).size) == (next(iter(classes)), picture.size)
    (tmp_path / "bad.png").write_bytes(b"no image")
    for bad, message in ((str(tmp_path / "bad.png"), "cannot be read"), (None, "choose an image")):
        with pytest.raises(gradio.Error, match=message):
            page.fn(bad)
