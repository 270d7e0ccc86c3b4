"""A network in use: what its file says of itself, and what it says of image files."""

import zipfile
from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
import pytest
from PIL import Image

from kmodels import Classifier, Experiment, InputError, build_model, load_dataset, run
from kmodels.analysis import predict_logits
from kmodels.models.about import MEMBER, About, read_about
from kmodels.models.saving import save_network


@pytest.fixture(scope="module")
def trained(colours, tmp_path_factory):
    """The .keras file of a run on three colours, and the folder of its images."""
    experiment = Experiment(
        name="tests/colours", dataset="folder", image_size=16, model="mlp", batch_size=12, epochs=12, patience=None
    )
    out = tmp_path_factory.mktemp("out")
    record = run(experiment, 0, out, data_dir=colours, verbose=0)
    return out / f"{record.stem}.keras", colours, record


def test_a_network_of_a_run_knows_its_classes_and_plain_keras_loads_it(trained):
    file, _, record = trained
    about = read_about(file)
    assert about.class_names == ("blue", "green", "red")
    assert about.image_shape == (16, 16, 3)
    assert (about.record, about.data_sha256) == (record.stem, record.source["sha256"])
    assert keras.models.load_model(file).output_shape == (None, 3)


def test_files_are_classified_in_their_order_and_as_in_training(trained):
    file, folder, record = trained
    classifier = Classifier(file)
    paths = sorted(folder.rglob("*.png"))
    predictions = classifier.predict(map(str, paths))
    assert [one.file for one in predictions] == paths
    right = np.mean([one.name == path.parent.name for one, path in zip(predictions, paths, strict=True)])
    assert right > 0.9
    assert all(one.confidence == one.probabilities.max() for one in predictions)
    test = load_dataset("folder", 16, folder).test
    logits = predict_logits(classifier.network, test.images)
    expected = [classifier.class_names[i] for i in logits.argmax(axis=1)]
    assert [one.name for one in classifier.predict(test.images)] == expected
    assert np.mean(np.array(expected) == np.array(classifier.class_names)[test.labels]) == record.test.accuracy


def test_threads_share_a_classifier_and_bytes_are_files(trained):
    file, folder, _ = trained
    classifier, paths = Classifier(file), sorted(folder.rglob("*.png"))[::6]
    expected = classifier.predict(paths)
    ways = (lambda path: path, lambda path: path.read_bytes(), lambda path: classifier.pixels(path)[None])
    with ThreadPoolExecutor(8) as pool:
        for way in ways:
            found = list(pool.map(lambda path, way=way: classifier.predict(way(path))[0], paths * 3))
            for one, known in zip(found, expected * 3, strict=True):
                assert one.name == known.name
                np.testing.assert_allclose(one.probabilities, known.probabilities, atol=1e-6)


def test_one_image_costs_the_network_one_image(trained, monkeypatch):
    file, folder, _ = trained
    classifier, paths, rows = Classifier(file), sorted(folder.rglob("*.png")), []
    predict = classifier.logits_model.predict_on_batch
    monkeypatch.setattr(classifier.logits_model, "predict_on_batch", lambda x: rows.append(len(x)) or predict(x))
    for images in (paths[0], paths[:3], paths):
        classifier.predict(images)
    assert rows == [1, 4, 64]


def test_a_file_that_cannot_be_read_has_an_error_and_the_others_their_classes(trained, tmp_path):
    file, folder, _ = trained
    (tmp_path / "broken.png").write_bytes(b"no image")
    good = folder / "red" / "0.png"
    one, two, three = Classifier(file).predict([tmp_path / "broken.png", good, tmp_path / "missing.png"])
    assert (one.name, one.error) == (None, "not an image format that Pillow knows")
    assert (two.name, two.error) == ("red", None)
    assert "No such file" in three.error


def test_a_stream_has_no_end_in_memory(trained):
    file, folder, _ = trained
    taken = []

    def paths():
        while True:
            taken.append(folder / "red" / f"{len(taken) % 20}.png")
            yield taken[-1]

    stream = Classifier(file).stream(paths())
    assert [next(stream).name for _ in range(600)] == ["red"] * 600
    assert len(taken) < 2000


def test_any_network_of_keras_is_a_classifier(tmp_path):
    layers = keras.layers
    network = keras.Sequential(
        [layers.Input((8, 8, 1)), layers.Rescaling(1 / 255), layers.Flatten(), layers.Dense(2, activation="softmax")]
    )
    network.save(tmp_path / "own.keras")
    Image.fromarray(np.full((9, 9, 3), 200, np.uint8)).save(tmp_path / "grey.png")
    (prediction,) = Classifier(tmp_path / "own.keras", ["no", "yes"]).predict(tmp_path / "grey.png")
    expected = keras.ops.convert_to_numpy(network(np.full((1, 8, 8, 1), 200, "float32")))[0]
    assert prediction.name == ("no", "yes")[expected.argmax()]
    np.testing.assert_allclose(prediction.confidence, expected.max(), atol=1e-5)
    assert Classifier(tmp_path / "own.keras").class_names == ("class 0", "class 1")
    with pytest.raises(InputError, match="class_names must be 2"):
        Classifier(tmp_path / "own.keras", ["a", "b", "c"])


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"class_names": [1, 2], "image_shape": [8, 8, 3]}', '{"class_names": 3}']
)
def test_what_a_file_says_of_itself_is_checked(content, tmp_path):
    file = save_network(build_model("mlp", (8, 8, 3), 2), tmp_path / "network.keras")
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr(MEMBER, content)
    with pytest.raises(InputError, match=MEMBER):
        Classifier(file)


def test_names_of_classes_must_differ():
    with pytest.raises(ValueError, match="different"):
        About(class_names=("a", "a"), image_shape=(8, 8, 3))
