"""The static site: its files, links and words, when it is stale, and the command that repeats a run."""

import html.parser
import os
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
import tyro
from conftest import make_record
from PIL import Image

from kmodels import Experiment, InputError, Published
from kmodels.analysis import calibration
from kmodels.catalogue import reports
from kmodels.cli import report
from kmodels.records import Evaluation, write_record
from kmodels.report.claims import Claim, beats
from kmodels.report.figures import ClassComparison, Curves, ImageGrid, Sweep
from kmodels.report.markdown import CLAIMS_ARE_JUDGED
from kmodels.report.pictures import picture_path
from kmodels.report.site import charts, write_site
from kmodels.report.site.commands import repeat_command
from kmodels.report.site.figures import over_runs
from kmodels.report.site.material import Material, ReportSource

EVIL = '<b>$5 & "x"'
ONE = replace(
    make_record().experiment, name="report/one", description="the <i>first</i>", published=Published(test_accuracy=0.6)
)
TWO = replace(ONE, name="report/two", description="", learning_rate=0.1, published=Published(test_accuracy=0.5))
THREE = replace(ONE, name="report/three", published=None)
OTHER = Experiment(name="mine/many_classes", dataset="synthetic", model="mlp")
REPORT = ReportSource(
    name="report",
    text="Is one <better>?\n\n    python experiments/report.py\n\nIt leaves `much <here>` open.\n",
    experiments=(ONE, TWO, THREE),
    figures=(
        Curves("Both", (ONE, TWO)),
        Sweep("By rate", "learning_rate", (ONE, TWO)),
        ClassComparison("Class by class", (ONE, TWO)),
        ImageGrid("Images", (ONE,)),
        Curves("Not yet", (TWO, THREE)),
    ),
    claims=(Claim("One beats <two>.", (beats(ONE, TWO),)), Claim("One beats three.", (beats(ONE, THREE),))),
)


def evaluation(classes, accuracy, rng):
    """An Evaluation of ten images of each class, about so many of them right."""
    labels = np.repeat(np.arange(classes), 10)
    right = rng.random(labels.size) < accuracy
    predicted = np.where(right, labels, (labels + 1) % classes)
    matrix = np.zeros((classes, classes), int)
    np.add.at(matrix, (labels, predicted), 1)
    return Evaluation(
        examples=labels.size,
        loss=0.5,
        accuracy=float(right.mean()),
        per_class_accuracy=tuple(float(matrix[i, i] / 10) for i in range(classes)),
        confusion_matrix=tuple(tuple(map(int, row)) for row in matrix),
        calibration=calibration(rng.random(labels.size), right),
    )


def record(experiment, seed, accuracy, names=("a", EVIL, "c_d"), **changes):
    rng, epochs = np.random.default_rng(seed), 4 + seed
    results = {split: evaluation(len(names), accuracy, rng) for split in ("train", "val", "test")}
    columns = ("loss", "accuracy", "val_loss", "val_accuracy")
    history = {name: tuple(rng.random(epochs).tolist()) for name in columns}
    history["learning_rate"] = (0.1,) * 2 + (0.01,) * (epochs - 2)
    values = {"class_names": names, "history": history, "best_epoch": 2, **results}
    return make_record(seed, experiment=experiment, **{**values, **changes})


def example(out):
    """A results folder of two reports, with a picture; returns {path: Record}."""
    lost = {"status": "diverged", "train": None, "val": None, "test": None, "best_epoch": None}
    found = [record(ONE, seed, 0.7) for seed in range(3)] + [record(TWO, seed, 0.4) for seed in range(3)]
    found.append(record(replace(TWO, epochs=7), 0, 0, **lost))
    found.append(record(OTHER, 0, 0.5, tuple(f"class {i}" for i in range(25))))
    records = {write_record(one, out): one for one in found}
    Image.new("RGB", (40, 30)).save(picture_path(found[0], out, "grad_cam"))
    return records


@pytest.fixture
def results(tmp_path):
    return tmp_path, example(tmp_path)


class Parsed(html.parser.HTMLParser):
    """The tags, addresses, ids and text of a page."""

    def __init__(self, path):
        super().__init__()
        self.tags, self.addresses, self.ids, self.text, self.images = [], [], [], "", []
        self.feed(path.read_text())

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.tags.append(tag)
        self.addresses += [attrs[name] for name in ("href", "src") if name in attrs]
        self.ids += [attrs["id"]] if "id" in attrs else []
        self.images += [attrs] if tag == "img" else []

    def handle_data(self, data):
        self.text += data


def site_pages(out):
    return {path.relative_to(out / "site").as_posix(): path for path in (out / "site").rglob("*.html")}


def test_there_is_a_page_for_each_report_and_for_each_experiment_with_records(results):
    out, records = results
    write_site(records, [REPORT], out)
    pages = site_pages(out)
    assert set(pages) == {
        "index.html",
        "reports/report.html",
        "reports/mine.html",
        "experiments/report/one.html",
        "experiments/report/two.html",
        "experiments/mine/many_classes.html",
    }
    report = Parsed(pages["reports/report.html"]).text
    assert "python experiments/report.py three --seeds 0 1 2" in report
    assert "It leaves much <here> open." in report
    assert "<code>much &lt;here&gt;</code>" in pages["reports/report.html"].read_text()
    for title in ("Both", "By rate", "Class by class"):
        assert title in report.split("Figures that cannot be drawn yet")[0]
    assert "Not yet" in report.split("Figures that cannot be drawn yet")[1]


def test_every_address_is_a_file_of_the_results_and_every_picture_has_words(results):
    out, records = results
    write_site(records, [REPORT], out)
    pages = {path: Parsed(path) for path in site_pages(out).values()}
    assert any("grad_cam.webp" in address for page in pages.values() for address in page.addresses)
    for path, page in pages.items():
        assert len(page.ids) == len(set(page.ids)), path
        for address in page.addresses:
            if address.startswith("data:"):
                continue
            file, _, fragment = unquote(address).partition("#")
            target = Path(os.path.normpath(path.parent / file)) if file else path
            assert target.is_file(), (path, address)
            assert target.is_relative_to(out), (path, address)
            assert not fragment or fragment in (pages[target].ids if target in pages else ()), (path, address)
        assert all("alt" in image for image in page.images)


def test_text_of_users_is_only_text(results):
    out, records = results
    write_site(records, [REPORT], out)
    for path in site_pages(out).values():
        page = Parsed(path)
        assert "i" not in page.tags
        assert page.tags.count("script") == 1
        assert not {"better", "two"} & set(page.tags)
    one = Parsed(site_pages(out)["experiments/report/one.html"])
    assert EVIL in one.text
    assert "the <i>first</i>" in one.text


def test_numbers_are_means_over_the_seeds_beside_the_published_ones(results):
    out, records = results
    write_site(records, [REPORT], out)
    mean = 100 * np.mean([r.test.accuracy for r in records.values() if r.experiment == ONE])
    one = Parsed(site_pages(out)["experiments/report/one.html"]).text
    assert f"Published 60.00\xa0%, measured {mean:.2f}\xa0%" in one
    index = Parsed(site_pages(out)["index.html"]).text
    assert "1 claims confirmed 1 provisional" in " ".join(index.split())
    assert "confirmed so far (3 of 5 seeds)" in index
    assert Parsed(site_pages(out)["index.html"]).tags.count("li") >= len(CLAIMS_ARE_JUDGED)
    assert all(rule in index for rule in CLAIMS_ARE_JUDGED)
    two = Parsed(site_pages(out)["experiments/report/two.html"]).text
    assert "Seed 0: diverged" in two
    assert "It was run in 2 ways" in two


def test_the_images_of_a_head_are_those_of_the_run_whose_network_still_has_a_record():
    network = make_record(network_sha256="bb" * 32)
    head = replace(ONE, name="report/head", head="svm", init_from=ONE.name)
    start = {"network": f"{network.stem.split('/')[-1]}.keras", "taken": (), "drawn": ()}
    of = [make_record(0, experiment=head, started_from=start, weights_sha256=digest * 32) for digest in ("aa", "bb")]
    for heads in (of, of[::-1]):
        material = Material(dict(enumerate([network, *heads])), [REPORT], "results")
        (group,) = material.groups["report/head"]
        assert "without a record" not in group.images
        assert group.completed == (of[1],)


def test_seeds_that_are_all_equal_have_no_interval_for_one_more_run(tmp_path):
    records = {
        write_record(one, tmp_path): one for one in (make_record(seed, 0.6, experiment=ONE) for seed in range(3))
    }
    write_site(records, [REPORT], tmp_path)
    page = Parsed(site_pages(tmp_path)["experiments/report/one.html"]).text
    assert "reproduced is unknown" in page
    assert "One more run" not in page


def test_curves_are_those_of_one_run_of_each_seed_that_trained(tmp_path):
    lost = {"train": None, "val": None, "test": None, "best_epoch": None}
    runs = [
        record(ONE, 0, 0.7),
        record(ONE, 0, 0, status="interrupted", history={"loss": (0.5,), "cross_entropy": (0.5,)}, **lost),
        record(ONE, 1, 0.7),
        record(ONE, 2, 0, status="failed", history={}, **lost),
        record(ONE, 3, 0, status="diverged", history={"loss": (None,), "learning_rate": (0.1,)}, **lost),
    ]
    # Other weights to start from: the repeat has a file of its own.
    runs[1] = replace(runs[1], weights_sha256="cd" * 32)
    write_site({write_record(one, tmp_path): one for one in runs}, [REPORT], tmp_path)
    page = " ".join(Parsed(site_pages(tmp_path)["experiments/report/one.html"]).text.split())
    assert "Means over 2 seeds" in page
    assert page.count("Seed 0: interrupted") == 1
    single = {write_record(one, tmp_path): one for one in runs[1:2] + runs[3:]}
    write_site(single, [REPORT], tmp_path)
    assert "Means over" not in site_pages(tmp_path)["experiments/report/one.html"].read_text()


def test_curves_of_unequal_length_are_averaged_over_the_runs_that_got_there():
    mean, low, high = over_runs([(1.0, 2.0), (3.0, None, 5.0)])
    assert mean == (2, 2, 5)
    assert low[0] == pytest.approx(2 - 2**0.5)
    assert (low[1:], high[1:]) == ((None, None), (None, None))


def test_charts_take_single_and_equal_and_missing_numbers():
    assert charts.lines([charts.Line("none", (None, None))], "loss") == ""
    for values in ((1.0,), (0.0, 0.0), (None, 1e-9), (1e9, -1e9), tuple(range(1000))):
        chart = charts.lines([charts.Line("x", values)], "loss")
        assert "nan" not in chart
        assert chart.count('class="line') == 1
    assert len(charts.lines([charts.Line("x", tuple(range(3000)))], "loss")) < 8000
    assert "1e-06" not in charts.lines([charts.Line("x", (0.1, 0.1**5))], "rate", logarithmic=True)


def test_only_what_changed_is_written(results):
    out, records = results
    assert write_site(records, [REPORT], out)
    assert write_site(records, [REPORT], out) == []
    assert write_site(records, [REPORT], out, check=True) == []
    again = record(OTHER, 0, 0.9, tuple(f"class {i}" for i in range(25)))
    changed = {**records, write_record(again, out): again}
    stale = write_site(changed, [REPORT], out, check=True)
    assert {path.name for path in stale} <= {"index.html", "mine.html", "many_classes.html"}
    assert {path.name for path in stale} >= {"mine.html", "many_classes.html"}
    assert write_site(changed, [REPORT], out, check=True) == stale
    assert write_site(changed, [REPORT], out) == stale
    assert write_site(changed, [REPORT], out) == []


def test_what_was_edited_by_hand_is_stale_and_what_has_no_record_is_deleted(results):
    out, records = results
    write_site(records, [REPORT], out)
    page = site_pages(out)["index.html"]
    page.write_text(page.read_text().replace("<h1>", "<h1>Not "))
    (out / "site" / "site.css").write_text("")
    assert {path.name for path in write_site(records, [REPORT], out, check=True)} == {"index.html", "site.css"}
    kept = {path: one for path, one in records.items() if one.experiment != OTHER}
    write_site(kept, [REPORT], out)
    assert not [name for name in site_pages(out) if "mine" in name]


def test_a_folder_of_somebody_else_is_not_changed(results):
    out, records = results
    (out / "site").mkdir()
    (out / "site" / "diary.html").write_text("mine")
    with pytest.raises(InputError, match="not written by `kmodels report`"):
        write_site(records, [REPORT], out)
    assert [path.name for path in (out / "site").iterdir()] == ["diary.html"]


def test_a_picture_that_cannot_be_read_stops_nothing(results):
    out, records = results
    next(out.rglob("*_grad_cam.webp")).write_bytes(b"")
    write_site(records, [REPORT], out)
    assert "grad_cam.webp" in site_pages(out)["experiments/report/one.html"].read_text()


def test_no_record_and_no_report_make_a_site_too(tmp_path):
    write_site({}, [], tmp_path)
    assert "No published number" in Parsed(tmp_path / "site" / "index.html").text


def test_a_site_of_own_experiments_alone_speaks_of_no_reports_and_marks_the_best(tmp_path, monkeypatch):
    other = replace(OTHER, name="mine/other")
    found = [record(OTHER, 0, 0.2), record(other, 0, 0.9)]
    for one in found:
        write_record(one, tmp_path)
    monkeypatch.chdir(tmp_path)
    assert report(tmp_path) == 0
    index, page = (Parsed(tmp_path / "site" / name) for name in ("index.html", "reports/mine.html"))
    for parsed in (index, page):
        assert "ublished" not in parsed.text
        assert "laims" not in parsed.text
    assert page.text.count("best on the validation images") == 1
    assert "best on the validation images" in page.text.split("other")[1]
    tile = Parsed(tmp_path / "site" / "experiments" / "mine" / "other.html").text
    assert "1 seed, 30 test images, 95 % interval" in tile


def test_the_command_writes_the_site_without_keras(results):
    out, _ = results
    (out / "top.md").write_text("<!-- results:begin, written by `kmodels report` -->\n<!-- results:end -->\n")
    code = "import sys; from kmodels.cli import report; from pathlib import Path\n"
    code += "status = report(Path(sys.argv[1]), Path(sys.argv[1]) / 'top.md', len(sys.argv) > 2)\n"
    code += "assert not {'keras', 'jax', 'tensorflow', 'torch'} & set(sys.modules); sys.exit(status)"
    for flags, status, said in (((), 0, "files written"), (("check",), 0, "up to date"), (("check",), 1, "stale")):
        if said == "stale":
            (out / "site" / "index.html").unlink()
        done = subprocess.run([sys.executable, "-c", code, out, *flags], capture_output=True, text=True)
        assert done.returncode == status, done.stderr
        assert said in done.stdout.splitlines()[-1]


LISTED = {one.name: one for report in reports() for one in report.EXPERIMENTS}


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("cifar10_small_cnns/m8", {"momentum": 0.0, "subset": 500, "patience": None}),
        ("intel_scenes/dropout_10", {"model_options": {"dropout": 0.2}, "image_size": 64, "keep": "best"}),
        ("cifar100_to_stl10/two_layer_net_tuned", {"model_options": {"hidden": (64,)}, "weight_decay": None}),
        ("intel_scenes/first3_02", {"class_fractions": (1.0, 0.5, 1.0, 1.0, 1.0, 1.0)}),
        ("cifar100_to_stl10/stl10_finetuned_20", {"frozen": True, "class_weight": "balanced"}),
    ],
)
def test_the_command_of_a_page_repeats_the_settings(name, changes):
    from kmodels.experiment import deciding_fields
    from kmodels.script import _changed, arguments_class

    listed = LISTED[name]
    run = replace(listed, **changes)
    command = repeat_command([make_record(seed, experiment=run) for seed in (3, 1)], listed)
    environment, python, file, *words = shlex.split(command)
    assert (environment, python) == ("KERAS_BACKEND=jax", "python")
    assert file == f"experiments/{name.split('/')[0]}.py"
    arguments = tyro.cli(arguments_class(), args=words, config=(tyro.conf.FlagCreatePairsOff,))
    assert (arguments.names, arguments.seeds) == ((name.split("/")[1],), (1, 3))
    given = {f.name: getattr(arguments, f.name) for f in deciding_fields() if getattr(arguments, f.name) != "as-listed"}
    assert _changed(listed, given, None).fingerprint == run.fingerprint


# What a run may be given besides its settings: of a folder with a file that cannot be read, on two devices.
NEEDED = {
    "deterministic": True,
    "devices": 2,
    "source": {
        "kind": "folder",
        "name": "my photos",
        "sha256": "ab" * 32,
        "counts": {"train": 4},
        "unreadable": 1,
        "notes": ["unreadable images, left out: 1 (a/junk.png: not an image format that Pillow knows)"],
    },
}


def test_the_command_of_a_page_has_what_the_run_was_given():
    from kmodels.script import arguments_class

    listed = LISTED["cifar10_small_cnns/m8"]
    environment, _, _, *words = shlex.split(repeat_command([make_record(0, experiment=listed, **NEEDED)], listed))
    arguments = tyro.cli(arguments_class(), args=words, config=(tyro.conf.FlagCreatePairsOff,))
    assert environment == "KERAS_BACKEND=jax"
    assert (arguments.skip_unreadable, arguments.deterministic, arguments.devices) == (True, True, 2)
    assert arguments.data_dir == Path("DIR/my photos")


def test_the_python_of_a_page_has_what_the_run_was_given():
    changes = NEEDED | {"source": {**NEEDED["source"], "notes": [], "unreadable": 1}}
    code = repeat_command([make_record(0, experiment=OTHER), make_record(1, experiment=OTHER, **changes)][::-1], None)
    lines = code.splitlines()
    assert lines.index("os.environ['KERAS_BACKEND'] = 'jax'") < lines.index("import kmodels")
    assert lines.index("kmodels.make_deterministic()") < lines.index("experiment = kmodels.Experiment(")
    options = "data_dir='DIR/my photos', skip_unreadable=True, devices=2"
    assert lines[-1] == f"kmodels.run_seeds(experiment, seeds=[0, 1], {options})"


def test_the_command_of_an_experiment_of_somebody_is_python(monkeypatch):
    code = repeat_command([make_record(2, experiment=replace(OTHER, model_options={"hidden": (8,)}))], None)
    assert "kmodels.run_seeds(experiment, seeds=[2])" in code
    namespace = {}
    monkeypatch.setenv("KERAS_BACKEND", "none")
    exec(code.rsplit("\n", 1)[0], namespace)
    assert namespace["experiment"] == replace(OTHER, model_options={"hidden": (8,)})
    assert os.environ["KERAS_BACKEND"] == "jax"
    assert "deterministic" not in code


def test_names_may_be_broken_between_their_words_alone():
    broken = "long_<wbr>tail &lt;Herbaceous<wbr>Vegetation AUC"
    assert charts.breakable("long_tail <HerbaceousVegetation AUC") == broken
