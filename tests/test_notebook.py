"""kmodels in a notebook: what a cell shows, and that its stop button leaves a kernel that can go on."""

import asyncio
import base64
import io
import re
from dataclasses import replace

import numpy as np
import pytest
from conftest import make_record
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_notebook
from PIL import Image

import kmodels
from kmodels.cell_output import InPlace
from kmodels.classifier import Prediction, PredictionList
from kmodels.records import RecordList, write_record

EVIL = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def cell(tmp_path_factory):
    """Executes code in a cell of one notebook, and returns the cell's outputs; may press the stop button meanwhile."""
    folder = tmp_path_factory.mktemp("notebook")
    notebook = new_notebook()
    client = NotebookClient(notebook, timeout=120, allow_errors=True, resources={"metadata": {"path": str(folder)}})

    async def stop(file):
        while not file.exists():
            await asyncio.sleep(0.01)
        await client.km.interrupt_kernel()

    def execute(code, stop_at=None):
        """Executes the code; presses the stop button when there is a file of the name stop_at."""

        async def both():
            stopping = [stop(folder / stop_at)] if stop_at else []
            await asyncio.gather(client.async_execute_cell(notebook.cells[-1], len(notebook.cells) - 1), *stopping)

        if stop_at:
            (folder / stop_at).unlink(missing_ok=True)
        notebook.cells.append(new_code_cell(code))
        runner.run(both())
        return notebook.cells[-1].outputs

    with asyncio.Runner() as runner:
        kernel = client.async_setup_kernel()
        runner.run(kernel.__aenter__())
        failed = execute(
            "import kmodels, numpy as np, pathlib, threading, gc\n"
            "tiny = kmodels.Experiment(name='tests/tiny', dataset='synthetic', image_size=16, model='mlp', epochs=30,\n"
            "                          batch_size=16, patience=None)\n"
            "data = kmodels.load_dataset('synthetic', 16)"
        )
        assert not failed, failed
        yield execute
        runner.run(kernel.__aexit__(None, None, None))


def test_a_cell_that_ends_in_a_figure_shows_one_picture(cell):
    code = (
        "history = dict.fromkeys(('loss', 'val_loss', 'accuracy', 'val_accuracy'), (0.5, 0.4))\n"
        "image = np.zeros((8, 8, 3), np.uint8)\n"
        "kmodels.plots.image_grid([[image, image]])"
    )
    for before in ("", "import matplotlib.pyplot as plt\n", "%matplotlib inline\n"):
        outputs = cell(before + code)
        assert [list(output.data).count("image/png") for output in outputs] == [1], before
        picture = Image.open(io.BytesIO(base64.b64decode(outputs[0].data["image/png"])))
        assert min(picture.size) > 50
    (counted,) = cell("len(plt.get_fignums())")
    assert counted.data["text/plain"] == "0"


def test_training_shows_a_line_an_epoch_in_one_output_and_a_repeat_says_that_it_is_recorded(cell):
    progress, said, record = cell("kmodels.run(tiny, out='here')")
    lines = progress.data["text/plain"].splitlines()
    assert len(lines) == 21
    assert "10 earlier lines" in lines[0]
    assert re.match(r"epoch 30/30: loss \d.*, accuracy .*, val_loss .*, val_accuracy .* s$", lines[-1])
    assert "test accuracy" in said.text
    assert record.data["text/plain"].startswith("<Record tests/tiny, seed 0: completed, 30 epochs, test accuracy")
    said, again = cell("kmodels.run(tiny, out='here')")
    assert "again=True" in said.text
    assert again.data == record.data


READY = """
import keras
from dataclasses import replace

class Ready(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        if epoch >= 3:
            pathlib.Path("ready").touch()

long = replace(tiny, name="tests/long", epochs=100_000)
threads = threading.active_count()
"""


def test_the_stop_button_leaves_a_kernel_that_goes_on_and_resumes(cell):
    *_, error = cell(READY + "kmodels.run(long, out='here', callbacks=[Ready()])", "ready")
    assert error.ename == "KeyboardInterrupt"
    found = re.search(r"the (\d+) finished epochs are in .*; .*resume=True .* epochs? (\d+)", error.evalue)
    assert int(found[1]) >= 4
    assert sum(line.count("\n") for line in error.traceback) < 30
    (left,) = cell(
        "gc.collect()\n"
        "[threading.active_count() - threads, len([o for o in gc.get_objects() if type(o).__name__ == 'Training']),"
        " [path.name for path in pathlib.Path('here').rglob('*') if path.suffix not in ('.json', '.keras', '.npz',"
        " '.checkpoint', '.previous', '')]]"
    )
    assert left.data["text/plain"] == "[0, 0, []]"
    outputs = cell(READY + "kmodels.run(long, out='here', callbacks=[Ready()], resume=True)", "ready")
    assert f"resuming from epoch {found[2]}," in outputs[0].text
    assert outputs[-1].ename == "KeyboardInterrupt"
    (record,) = cell("kmodels.run(replace(tiny, epochs=1), 5, out='here', verbose=0).status")
    assert record.data["text/plain"] == "'completed'"


def test_an_interrupted_train_says_how_to_resume(cell):
    code = "network = kmodels.build_model('mlp', data.image_shape, 10)\nkmodels.train(network, data, epochs=100_000, "
    *_, error = cell(READY + code + "callbacks=[Ready()])", "ready")
    assert "checkpoint=FILE" in error.evalue
    *_, error = cell(READY + code + "callbacks=[Ready()], checkpoint='c.checkpoint')", "ready")
    assert re.search("resume=True (continues from|repeats) epochs? [1-9]", error.evalue)


def test_what_training_returns_shows_its_first_best_and_last_epoch(cell):
    network = "kmodels.build_model('mlp', data.image_shape, 10)"
    (fitted,) = cell(f"kmodels.train({network}, data, epochs=3, batch_size=16, verbose=0)")
    assert re.match(r"<Fitted mlp: 3 epochs, weights of epoch \d, val_loss", fitted.data["text/plain"])
    assert fitted.data["text/html"].count("<tr>") in (3, 4)


def test_a_figure_of_one_record_or_a_dict_of_records():
    history = dict.fromkeys(("loss", "val_loss", "accuracy", "val_accuracy"), (0.5, 0.4, 0.6))
    record = make_record(history=history, best_epoch=2)
    for given in (record, [record], {"path": record}):
        loss, _ = kmodels.plots.training_curves(given).axes
        assert len(loss.get_legend().get_texts()) == 2


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """Objects that a cell may end in, with text of a user that would be HTML."""
    out = tmp_path_factory.mktemp("out")
    history = dict.fromkeys(("loss", "val_loss", "accuracy", "val_accuracy"), (0.5, 0.25))
    names = (EVIL, "b")
    records = RecordList(make_record(seed, 0.5 + seed / 100, history=history, class_names=names) for seed in range(40))
    for record in records:
        write_record(record, out)
    other = replace(records[0], experiment=replace(records[0].experiment, name="report/two"))
    images = np.random.default_rng(0).integers(0, 256, (500, 70, 50, 3), np.uint8)
    classes = [f"{EVIL} {i}" for i in range(100)]
    fields = {"class_fractions": 1000 * (0.5,), "description": EVIL}
    pairs = [(f"{EVIL}{i}.png", (EVIL, "b"), np.array([0.75, 0.25])) for i in range(40)]
    return {
        "experiment": kmodels.Experiment(name="a/b", model_options={"width": EVIL}, **fields),
        "dataset": kmodels.Dataset.from_arrays((images, np.arange(500) % 100), class_names=classes),
        "record": replace(records[0], warnings=(EVIL,)),
        "list": records,
        "dict": kmodels.read_records(out),
        "comparison": kmodels.compare(list(records[:3]), [replace(other, seed=seed) for seed in (7, 8)]),
        "prediction": Prediction(*pairs[0]),
        "unreadable": Prediction(EVIL, error=EVIL),
        "predictions": PredictionList(Prediction(*pair) for pair in pairs),
        "evaluation": records[0].test,
    }


def test_nothing_fills_a_page(shown):
    for name, one in shown.items():
        text = repr(one)
        assert text.count("\n") < (10 if name != "comparison" else 16), (name, text)
        assert len(text) < 2500, (name, text)


def test_text_of_a_user_is_escaped_and_colours_are_the_pages(shown):
    for name, one in shown.items():
        if name == "evaluation":
            continue
        html = one._repr_html_()
        assert "<script" not in html, name
        assert "color" not in html, name
        assert len(html) < 60_000, (name, len(html))


def test_a_dataset_shows_an_image_of_some_classes_with_counts(shown):
    html = shown["dataset"]._repr_html_()
    pictures = [Image.open(io.BytesIO(base64.b64decode(data))) for data in re.findall(r"base64,([\w+/=]+)", html)]
    assert 6 <= len(pictures) <= 12
    assert {picture.size for picture in pictures} == {(46, 64)}
    assert "100 classes" in html
    assert "(3)" in html


@pytest.mark.parametrize("shape", [(9, 8), (9, 8, 1), (9, 8, 2), (9, 8, 5)])
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_a_dataset_of_any_channels_and_numbers_has_pictures(shape, dtype):
    images = np.random.default_rng(0).integers(0, 255, (40, *shape)).astype(dtype)
    images[0] = 0
    if dtype == "float32":
        images = images / 100 - 1
    dataset = kmodels.Dataset.from_arrays((images, np.arange(40) % 2))
    assert dataset._repr_html_().count("base64,") == 2


def test_a_class_without_images_has_a_count_and_no_picture():
    data = (np.zeros((30, 8, 8), np.uint8), np.arange(30) % 3)
    dataset = kmodels.Dataset.from_arrays(data).with_class_fractions([1, 0, 1], 0)
    html = dataset._repr_html_()
    assert html.count("base64,") == 2
    assert "class 1 (0)" in html


def test_a_list_of_seeds_shows_their_mean(shown):
    text = repr(shown["list"])
    assert "40 records, test accuracy 69.50 ±" in text
    assert "and 34 more" in text
    assert "(n=40)" in shown["dict"]._repr_html_()


def test_an_experiment_shows_itself_as_the_call_that_makes_it(tiny):
    assert eval(repr(tiny), {"Experiment": kmodels.Experiment}) == tiny
    assert "learning_rate" not in repr(tiny)
    assert "learning_rate" in tiny._repr_html_()


def test_text_in_place_is_that_of_a_terminal(monkeypatch):
    shown = []
    file = InPlace(lines=3, interval=0)
    monkeypatch.setattr(file, "_display", shown.append)
    for text in ("one", "\rtwo\n", "a\rb", "c\n", "\rstep 1", "\rstep 2"):
        file.write(text)
    file.close()
    assert shown[-1] == "two\nbc\nstep 2"
    assert shown.count("step 1") == 0
