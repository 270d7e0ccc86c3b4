"""Tables: published beside measured, other pixels apart, and a README that is never stale."""

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from test_records import make

from kmodels import InputError, Published
from kmodels.cli import readme_sections
from kmodels.records import read_records, write_record
from kmodels.report import tables

FOLDER = {
    "kind": "folder",
    "name": "cifar10",
    "formats": {"JPEG": 6},
    "sha256": "ef" * 32,
    "counts": {"train": 4000},
    "notes": [],
}


def test_a_part_of_the_published_data_is_not_the_published_data():
    part = {**make().source, "subset": 5000}
    section = tables.results_section([make(source=part)])
    assert "No record yet." in section.split("**On other pixels**")[0]
    row = tables.published_against_measured([make(source=part)]).splitlines()[2]
    assert row.split()[3:5] == ["(n=1)", "-"]


def test_the_settings_stand_beside_every_result():
    sgd = replace(make().experiment, optimizer="sgd", momentum=0.9, augmentation="crop", batch_size=512)
    assert tables.recipe(sgd) == "model4, crop, sgd 0.001, momentum 0.9, batch 512, at most 50 epochs"
    assert tables.recipe(sgd) in tables.results_section([make(experiment=sgd)])
    thin = replace(make().experiment, model="alexnet", dropout=0.0, batch_norm=True, class_fractions=(1, 0.02))
    assert tables.recipe(thin).startswith("alexnet, dropout 0.0, batch norm True, class fractions 1 0.02, adam 0.001")


def test_percentages_and_spreads():
    assert tables.percent(0.79294) == "79.29"
    assert tables.percent(None) == "-"
    (one,) = tables.summarise([make(0, 0.5)])
    (two,) = tables.summarise([make(0, 0.5), make(1, 0.7)])
    assert tables.mean_and_spread(one) == "50.00 (n=1)"
    assert tables.mean_and_spread(two) == "60.00 ± 14.14 (n=2)"


def test_published_and_measured_stand_side_by_side():
    text = tables.published_against_measured([make(0, 0.5), make(1, 0.7)])
    head, _, row = text.splitlines()
    assert "published test %" in head
    assert row.split()[:6] == ["one", "60.00", "60.00", "±", "14.14", "(n=2)"]
    assert "+0.00" in row


def test_a_diverged_run_and_one_without_published_number_have_dashes():
    diverged = make(status="diverged", test=None)
    row = tables.published_against_measured([diverged]).splitlines()[2]
    assert row.split()[:4] == ["one", "60.00", "-", "-"]
    assert "diverged" in row
    own = replace(make().experiment, published=None)
    assert tables.published_against_measured([make(experiment=own)]).splitlines()[2].split()[1] == "-"


def test_a_published_zero_is_a_number():
    zero = replace(make().experiment, published=Published(test_accuracy=0.0))
    row = tables.published_against_measured([make(experiment=zero)]).splitlines()[2]
    assert row.split()[1] == "0.00"
    assert "+50.00" in row


def test_other_pixels_stand_apart_from_the_published_data():
    section = tables.results_section([make(), make(source=FOLDER)])
    ours, others = section.split("**On other pixels**")
    assert "cifar10 (tfds" in ours
    assert "cifar10 (image folder, JPEG, 4,000 training images)" in others
    assert "cifar10 (tfds" not in others
    assert "No record yet." in tables.results_section([make(source=FOLDER)])


@pytest.fixture
def readme(tmp_path):
    path = tmp_path / "README.md"
    begin, end = tables.MARKERS["results"]
    path.write_text(f"# Title\n\n{begin}\nold\n{end}\n\nend\n")
    return path


def test_the_readme_is_rewritten_between_its_markers(readme, tmp_path):
    write_record(make(), tmp_path / "results")
    sections = {"results": tables.results_section(read_records(tmp_path / "results").values()), "speed": "fast"}
    assert not tables.update_readme(readme, sections, check=True)
    assert "old" in readme.read_text()
    assert not tables.update_readme(readme, sections)
    text = readme.read_text()
    assert text.startswith("# Title\n")
    assert text.endswith("\n\nend\n")
    assert "| `report/one` |" in text
    assert "old" not in text
    assert tables.update_readme(readme, sections, check=True)
    assert "fast" not in text


def test_a_readme_without_markers_is_refused(tmp_path):
    with pytest.raises(InputError, match="no README at"):
        tables.update_readme(tmp_path / "README.md", {})
    (tmp_path / "README.md").write_text("nothing")
    with pytest.raises(InputError, match="must have the lines"):
        tables.update_readme(tmp_path / "README.md", {"results": ""})


def test_our_own_readme_shows_the_committed_records(tmp_path):
    root = Path(__file__).parents[2]
    listed = subprocess.run(["git", "ls-files", "results"], cwd=root, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not in a git checkout")
    # Only what is committed: somebody's own runs in results/ make no README stale.
    for name in listed.stdout.split():
        if name.endswith(".json"):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(root / name, tmp_path / name)
    sections = readme_sections(tmp_path / "results")
    assert tables.update_readme(root / "README.md", sections, check=True), "run: kmodels report"


def test_classes_are_listed_as_the_report_lists_them():
    matrix = ((487, 513, 0), (0, 0, 0), (1, 0, 999))
    test = replace(make().test, confusion_matrix=matrix, examples=2000)
    assert tables.class_listing(make(test=test, class_names=("cat", "dog", "ship"))).splitlines() == [
        "Test Accuracy of cat: 48% (487/1000)",
        "Test Accuracy of dog: no image",
        "Test Accuracy of ship: 99% (999/1000)",
        "Test Accuracy (Overall): 74% (1486/2000)",
    ]


def test_a_record_as_text_shows_published_beside_measured():
    text = tables.record_text(make())
    assert text.startswith("report/one, seed 0: completed\nmodel4, adam 0.001")
    row = next(line for line in text.splitlines() if line.startswith("test "))
    assert row.split() == ["test", "4", "0.7000", "50.00", "60.00", "-"]
    failed = tables.record_text(make(status="failed", error="MemoryError: no", train=None, val=None, test=None))
    assert failed.endswith("MemoryError: no")
