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


def test_a_folder_of_runs_stands_for_its_best_network(trained, capsys):
    file, folder, record = trained
    out = file.parents[len(record.stem.split("/")) - 1]
    classifier = Classifier(out)
    assert str(file) in capsys.readouterr().err
    assert classifier.class_names == record.class_names
    assert classifier.predict(folder / "red" / "0.png")[0].name == "red"


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


def test_images_are_classified_alike_in_whatever_form_they_come(trained):
    file, folder, _ = trained
    classifier, paths = Classifier(file), [folder / "red" / "0.png", folder / "blue" / "0.png"]
    expected = classifier.predict(paths)
    pictures = [Image.open(path) for path in paths]
    arrays = [np.asarray(picture) for picture in pictures]
    fitted = [classifier.pixels(path) for path in paths]
    ways = {
        "Pillow images": pictures,
        "arrays of files": arrays,
        "one array of them": np.stack(arrays),
        "arrays of the network's size": fitted,
        "floats": [image.astype("float32") for image in fitted],
        "large integers": np.stack(fitted).astype("int64"),
        "bytearrays": [bytearray(path.read_bytes()) for path in paths],
        "a column of paths": np.array([str(path) for path in paths]),
        "different kinds": [pictures[0], fitted[1].astype("float64")],
    }
    for way, images in ways.items():
        found = classifier.predict(images)
        assert [one.name for one in found] == ["red", "blue"], way
        for one, known in zip(found, expected, strict=True):
            np.testing.assert_allclose(one.probabilities, known.probabilities, atol=1e-5, err_msg=way)
    for one in (pictures[0], arrays[0], fitted[0], bytearray(paths[0].read_bytes())):
        (found,) = classifier.predict(one)
        assert (found.name, found.file) == ("red", None)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (None, "give one or a list of them. Received: 'NoneType'"),
        ({"a.png": 1}, "give one or a list of them. Received: 'dict'"),
        ([None], "an image must be a path, .*Received: 'NoneType'"),
        (np.array(3), r"an image must be a path, .*Received: 'an array of the shape \(\)'"),
        ([[[0, 0, 0]]], "an image must be a path, .*Received: 'list'"),
        (np.zeros((2, 3, 16, 16), "uint8"), "channels come last"),
        (np.zeros((16, 16, 5), "uint8"), r"with 1, 3 or 4 channels. Received: an array of the shape \(16, 16, 5\)"),
        (np.zeros((9, 9, 3), "float32"), "an image of floats must have the network's size"),
        (np.full((16, 16, 3), np.nan), "must be finite"),
        (np.full((1, 16, 16, 3), np.inf), "must be finite"),
        ([np.full((16, 16, 3), 256)], "integers must be from 0 to 255"),
        (np.zeros((1, 16, 16, 3), bool), "integers 0..255 or floats"),
        (np.full((16, 16, 3), 0.5), "multiply those from 0 to 1 by 255.*Received: 'float64 from 0.5 to 0.5'"),
        ([np.full((16, 16, 3), -1.5, "float32")], "undo any normalisation"),
    ],
)
def test_what_is_no_image_is_refused_in_a_sentence(trained, images, message):
    with pytest.raises(InputError, match=message):
        Classifier(trained[0]).predict(images)


def test_black_floats_are_pixels(trained):
    assert Classifier(trained[0]).predict(np.zeros((2, 16, 16, 3), "float32"))[1].confidence > 0


@pytest.mark.parametrize(
    ("scaling", "about", "noted"),
    [
        (None, None, True),
        (keras.layers.Rescaling(1 / 255), None, False),
        (keras.layers.TimeDistributed(keras.layers.Rescaling(1 / 255)), None, False),
        (keras.layers.Normalization(mean=0, variance=1), None, False),
        (None, About(class_names=("a", "b"), image_shape=(8, 8, 3)), False),
    ],
)
def test_what_pixels_a_network_takes_is_said_where_nothing_tells(scaling, about, noted, tmp_path, capsys):
    image = keras.Input((8, 8, 3))
    x = scaling(image) if scaling else image
    model = keras.Model(image, keras.layers.Dense(2)(keras.layers.Flatten()(x)))
    save_network(model, tmp_path / "network.keras", about)
    Classifier(tmp_path / "network.keras")
    assert ("given pixels 0..255, and no layer of it scales them; if it was" in capsys.readouterr().err) == noted


def test_floats_of_0_to_1_are_refused_where_a_nested_network_divides_pixels(tmp_path):
    layers = keras.layers
    start = keras.Sequential([layers.Rescaling(1 / 255), layers.Rescaling(2.0, offset=-1.0)])
    keras.Sequential([layers.Input((8, 8, 1)), start, layers.Flatten(), layers.Dense(2)]).save(tmp_path / "own.keras")
    with pytest.raises(InputError, match="multiply those from 0 to 1 by 255"):
        Classifier(tmp_path / "own.keras").predict(np.full((1, 8, 8), 0.5, "float32"))


def test_a_network_that_does_not_divide_pixels_may_take_other_floats(tmp_path):
    layers = keras.layers
    network = keras.Sequential([layers.Input((8, 8, 1)), layers.Flatten(), layers.Dense(2)])
    network.save(tmp_path / "own.keras")
    pixels = np.full((1, 8, 8), 0.5, "float32")
    with pytest.warns(UserWarning, match="unless the network was trained on such"):
        (found,) = Classifier(tmp_path / "own.keras").predict(pixels)
    expected = keras.ops.convert_to_numpy(keras.ops.softmax(network(pixels[..., None])))[0]
    np.testing.assert_allclose(found.confidence, expected.max(), atol=1e-5)


NORMALISED = """
import keras
import numpy as np
from kmodels import Dataset

def network(input_shape, num_classes):
    image = keras.Input(input_shape)
    return keras.Model(image, keras.layers.Dense(num_classes)(keras.layers.Flatten(name="embedding")(image)))

def images():
    rng, labels = np.random.default_rng(0), np.arange(60) % 3
    pixels = rng.uniform(-1, 0, (60, 8, 8, 3))
    pixels[np.arange(60), ..., labels] += 1
    return Dataset.from_arrays(train=(pixels.astype("float32"), labels))
"""


def test_a_network_that_was_trained_on_other_values_than_pixels_refuses_pixels(tmp_path, monkeypatch, colours):
    (tmp_path / "normalised.py").write_text(NORMALISED)
    monkeypatch.syspath_prepend(tmp_path)
    experiment = Experiment(
        name="tests/floats", dataset="normalised:images", model="normalised:network", epochs=1, batch_size=12
    )
    record = run(experiment, 0, tmp_path, verbose=0)
    file = tmp_path / f"{record.stem}.keras"
    least, most = read_about(file).value_range
    assert -1 <= least < -0.99
    assert 0.99 < most <= 1
    assert keras.models.load_model(file).output_shape == (None, 3)
    classifier, path = Classifier(file), next(colours.rglob("*.png"))
    ones = np.ones((8, 8, 3), "float32")
    # New images may have slightly larger values than those of the training.
    assert classifier.predict([ones, -1.2 * ones])[1].confidence > 0
    assert classifier.predict(np.stack([ones, -ones]))[1].confidence > 0
    for images in (path, path.read_bytes(), Image.open(path), [ones.astype("uint8")], np.ones((2, 8, 8, 3), "int64")):
        with pytest.raises(
            InputError, match=r"trained on floats from -0.9\d* to 0.9\d*, not on pixels.*give.* arrays of"
        ):
            classifier.predict(images)
    for images in ([255 * ones], np.stack([ones, -2 * ones])):
        with pytest.raises(InputError, match=r"Received: 'float32 from"):
            classifier.predict(images)


def test_a_file_without_a_range_of_values_is_of_pixels(tmp_path):
    file = save_network(build_model("mlp", (8, 8, 3), 2), tmp_path / "network.keras")
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr(MEMBER, '{"class_names": ["a", "b"], "image_shape": [8, 8, 3]}')
    assert read_about(file).value_range is None
    assert Classifier(file).predict(np.full((8, 8, 3), 200, "uint8"))[0].confidence > 0


@pytest.mark.parametrize("names", ["abc", ("a", "a", "b"), ("a", "b", 3), ()])
def test_names_must_be_different_strings(trained, names):
    with pytest.raises(InputError, match="class_names must be a list of different strings"):
        Classifier(trained[0], names)


@keras.saving.register_keras_serializable("tests")
class Certain(keras.layers.Dense):
    """A Dense layer whose activation kmodels does not leave out."""


ENDS = {
    "sigmoid": lambda x: keras.ops.sigmoid(keras.layers.Dense(1)(x)),
    "softmax": lambda x: keras.activations.softmax(keras.layers.Dense(3)(x)),
    "dropout": lambda x: keras.layers.Dropout(0.5)(keras.layers.Dense(3, activation="softmax")(x)),
    "bfloat16": lambda x: keras.layers.Activation("linear", dtype="float32")(
        keras.layers.Dense(3, activation="softmax", dtype="mixed_bfloat16")(x)
    ),
}


def ending(end):
    image = keras.Input((8, 8, 3))
    return keras.Model(image, end(keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(image))))


@pytest.mark.parametrize("end", ENDS)
def test_probabilities_are_those_of_the_network_whatever_it_ends_in(end, tmp_path):
    network = ending(ENDS[end])
    network.save(tmp_path / "network.keras")
    classifier = Classifier(tmp_path / "network.keras")
    pixels = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), np.uint8)
    expected = keras.ops.convert_to_numpy(network(pixels))
    for found in (classifier.predict(pixels), list(classifier.stream(pixels))):
        probabilities = [dict(one.likeliest(3)) for one in found]
        known = (
            [{f"class {i}": row[i] for i in range(3)} for row in expected]
            if expected.shape[1] > 1
            else [{"class 0": 1 - p, "class 1": p} for (p,) in expected]
        )
        for one, other in zip(probabilities, known, strict=True):
            assert one == pytest.approx(other, abs=0.01 if end == "bfloat16" else 1e-5)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (lambda: Certain(3, activation="softmax"), "look like probabilities"),
        (lambda: Certain(1, activation="sigmoid"), "look like probabilities"),
        (lambda: keras.layers.Dense(3, activation="sigmoid"), "must be of one class"),
        (lambda: lambda x: [keras.layers.Dense(3)(x), keras.layers.Dense(2)(x)], "must have one output, logits"),
    ],
)
def test_a_network_without_logits_is_refused_at_once(layer, message, tmp_path):
    ending(layer()).save(tmp_path / "network.keras")
    with pytest.raises(InputError, match=message):
        Classifier(tmp_path / "network.keras")


RANGE = '{"class_names": ["a", "b"], "image_shape": [8, 8, 3], "value_range": [1, 0]}'


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"class_names": [1, 2], "image_shape": [8, 8, 3]}', '{"class_names": 3}', RANGE]
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


def test_an_image_of_no_finite_output_is_of_no_class(tmp_path):
    network = build_model("mlp", (8, 8, 3), 2)
    network.get_layer("logits").bias.assign([np.nan, 0])
    classifier = Classifier(save_network(network, tmp_path / "nan.keras"))
    for images in (np.zeros((2, 8, 8, 3), np.uint8), [np.zeros((20, 9, 3), np.uint8)] * 2):
        for one in classifier.predict(images):
            assert (one.name, one.confidence) == (None, None)
            assert one.error == "the network's outputs are not finite numbers"
