"""results/README.md and the README's tables: every number with its settings and pixels, and never stale."""

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
from conftest import make_record

from kmodels import Experiment, InputError, Published, cli
from kmodels.records import read_records, write_record
from kmodels.records.descriptions import recipe
from kmodels.report import headline, markdown
from kmodels.report.agreement import agreements
from kmodels.report.claim_tables import Report, judge_reports, report_markdown
from kmodels.report.claims import Claim, beats
from kmodels.report.pictures import picture_path

FOLDER = {
    "kind": "folder",
    "name": "cifar10",
    "formats": {"JPEG": 6},
    "sha256": "ef" * 32,
    "counts": {"train": 4000},
    "notes": [],
}


def test_the_rules_for_claims_are_a_list(tmp_path):
    assert "claims are judged" not in markdown.results_page([make_record()], tmp_path)
    page = markdown.results_page([make_record()], tmp_path, {"report": Report((), (), ())})
    rules = page.split("How claims are judged:\n\n")[1].split("\n\n")[0].splitlines()
    assert len(rules) == len(markdown.CLAIMS_ARE_JUDGED)
    assert all(line.startswith("- ") for line in rules)
    assert "all 5 planned seeds" in rules[3]


def test_settings_and_pixels_stand_beside_every_result(tmp_path):
    sgd = replace(make_record().experiment, optimizer="sgd", momentum=0.9)
    page = markdown.results_page([make_record(experiment=sgd), make_record(source=FOLDER)], tmp_path)
    ours, others = page.split("**cifar10 (image folder, JPEG, 4,000 training images)")
    assert recipe(sgd) in ours
    assert "**cifar10 (tfds" in ours
    assert "(the published data)" in ours
    assert "(other pixels)" in others
    assert "No record yet." in markdown.results_page([], tmp_path)


def test_a_published_number_stands_only_beside_runs_with_the_listed_settings(tmp_path):
    one = make_record().experiment
    two, small = (replace(one, name=f"report/{name}", patience=n) for name, n in (("two", 7), ("small", 8)))
    changed = {"experiment": replace(two, epochs=3, learning_rate=0.1)}
    records = [
        make_record(),
        make_record(**changed),
        make_record(source=FOLDER, **changed),
        make_record(experiment=replace(small, image_size=8)),
    ]
    judged = judge_reports([Claim("One beats two.", (beats(one, two),))], [one, two, small], records)
    page = markdown.results_page(records, tmp_path, judged)
    first, second, third, fourth = [line for line in page.splitlines() if "(n=1) | " in line and "model4" in line]
    assert " epochs | 50.00 (n=1) | 60.00 | " in first
    assert "; not the listed settings: learning_rate=0.1, epochs=3 | 50.00 (n=1) | - | " in second
    assert " epochs; not the listed settings | 50.00 (n=1) | - | " in third
    # On other pixels, as the heading says.
    assert " epochs | 50.00 (n=1) | 60.00 | " in fourth


def test_text_of_users_is_only_text(tmp_path):
    source = {**make_record().source, "name": "my <img src=x> *ph* | `a`"}
    one = make_record().experiment
    two = replace(Experiment(name="report/two", model="__main__:tiny"), published=one.published)
    records = [
        make_record(seed, experiment=experiment, source=source) for experiment in (one, two) for seed in range(3)
    ]
    judged = judge_reports([Claim("One *beats* two.", (beats(one, two),))], [one, two], records)
    page = markdown.results_page(records, tmp_path, judged)
    # In the headings of the tables, in the verdict, and in two published numbers beside measured ones.
    assert page.count(r"my \<img src=x\> \*ph\* ") == page.count("<img") == 4
    assert r"| \`a\`" in page.replace(r"\|", "|")
    assert r"| One \*beats\* two. |" in page
    assert r"| `two` | \_\_main\_\_:tiny, " in page


def test_the_weights_that_were_tested_are_named_for_mixed_tables(tmp_path):
    last = replace(make_record().experiment, name="report/last", keep="last")
    best = "weights of the epoch with the lowest validation loss"
    assert f"{best}." in markdown.results_page([make_record()], tmp_path)
    assert "weights of the last epoch." in markdown.results_page([make_record(experiment=last)], tmp_path)
    assert "keep last" in markdown.results_page([make_record(experiment=last)], tmp_path)
    assert f"{best.removeprefix('weights ')} or of the last epoch" in markdown.results_page(
        [make_record(), make_record(experiment=last)], tmp_path
    )


def test_seeds_that_diverged_are_named_beside_every_mean(tmp_path):
    thin = replace(make_record().experiment, class_fractions=(1, 0.1))
    lost = make_record(1, experiment=thin, status="diverged", train=None, val=None, test=None)
    alone = replace(lost, experiment=replace(thin, name="report/alone"), backend="tensorflow")
    records = [make_record(experiment=thin), lost, alone]
    page = markdown.results_page(records, tmp_path)
    assert page.count("50.00 (n=1, 1 diverged)") == 1
    assert page.count("`one` (n=1, 1 diverged)") == 1
    (row,) = [line for line in page.splitlines() if line.startswith("| `alone` | ")]
    assert "| diverged (1) |" in row
    assert row.endswith(f"| {alone.epochs_run} | {alone.parameters} |")


def test_a_completed_run_that_was_repeated_and_interrupted_still_counts(tmp_path):
    again = make_record(status="interrupted", train=None, val=None, test=None, started="2027-01-01T00:00:00+00:00")
    write_record(make_record(), tmp_path)
    write_record(again, tmp_path)
    records = list(read_records(tmp_path).values())
    assert [record.status for record in records] == ["interrupted", "completed"]
    assert "50.00 (n=1)" in markdown.results_page(records, tmp_path)


def test_the_page_shows_the_pictures_that_are_there(tmp_path):
    record = make_record()
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "all_of_them.webp").touch()
    assert "<details>" not in markdown.results_page([record], tmp_path)
    path = picture_path(record, tmp_path, "grad_cam")
    path.parent.mkdir()
    path.touch()
    page = markdown.results_page([record], tmp_path)
    assert "![all of them](report/all_of_them.webp)" in page
    assert page.count("<details>") == 1
    assert f"\n\n![grad cam]({path.relative_to(tmp_path).as_posix()})\n\n" in page


def test_classes_of_unequal_size_have_a_table_of_groups(tmp_path):
    thin = replace(make_record().experiment, class_fractions=(1, 0.1))
    assert "many means" in markdown.results_page([make_record(experiment=thin)], tmp_path)
    assert "many means" not in markdown.results_page([make_record()], tmp_path)


@pytest.fixture
def readme(tmp_path):
    path = tmp_path / "README.md"
    begin, end = markdown.MARKERS["results"]
    path.write_text(f"# Title\n\n{begin}\nold\n{end}\n\nend\n")
    return path


def test_the_readme_is_rewritten_between_its_markers(readme, tmp_path):
    out = tmp_path / "results"
    write_record(make_record(), out)
    assert markdown.write([make_record()], "fast", out, readme, check=True) == [readme, out / "README.md"]
    assert "old" in readme.read_text()
    assert not (out / "README.md").exists()
    assert markdown.write([make_record()], "fast", out, readme) == [readme, out / "README.md"]
    text = readme.read_text()
    assert text.startswith("# Title\n")
    assert text.endswith("\n\nend\n")
    assert "All results are in [results/README.md](results/README.md)." in text
    assert "old" not in text
    # It has no place for the benchmarks.
    assert "fast" not in text
    assert not (out / "bench" / "README.md").exists()
    assert "| `one` |" in (out / "README.md").read_text()
    assert markdown.write([make_record()], "fast", out, readme) == []


def test_benchmarks_have_a_page_of_their_own(readme, tmp_path):
    page = tmp_path / "results" / "bench" / "README.md"
    page.parent.mkdir(parents=True)
    page.write_text("Speed\n" + "\nold\n".join(markdown.MARKERS["speed"]) + "\nend")
    assert page in markdown.write([make_record()], "fast", tmp_path / "results", readme)
    assert page.read_text().splitlines() == [
        "Speed",
        markdown.MARKERS["speed"][0],
        "fast",
        markdown.MARKERS["speed"][1],
        "end",
    ]


def test_the_readme_begins_with_published_numbers_beside_measured_ones(readme, tmp_path):
    one = make_record().experiment
    better = replace(one, name="report/better", patience=7)
    records = [make_record(seed, accuracy) for seed, accuracy in enumerate((0.58, 0.6, 0.61))]
    records += [make_record(seed, 0.5, experiment=replace(better, published=None)) for seed in (0, 1, 2)]
    claims = [Claim("One beats better.", (beats(one, better),))]
    judged = judge_reports(claims, [one, replace(better, published=None)], records)
    out = tmp_path / "results"
    picture = out / "published_and_measured.svg"
    assert picture in markdown.write(records, "", out, readme, judged)
    text = readme.read_text()
    assert "**1 of 1 published numbers measured with 3 seeds or more, all of them reproduced (measured minus " in text
    assert "Claims: 1 confirmed (1 provisional), 0 refuted" in text
    assert "(results/published_and_measured.svg)" in readme.read_text()
    drawing = ElementTree.fromstring(picture.read_text())
    assert "report/one: 60.00, 59.67 (n=3)" in drawing.get("aria-label")
    assert markdown.write(records, "", out, readme, judged, check=True) == []
    for accuracy in (0.1, 1.0):
        guessing = replace(one, published=Published(test_accuracy=accuracy))
        found = agreements([guessing], [make_record(0, accuracy, experiment=guessing)])
        ElementTree.fromstring(headline.picture(found))


def test_claims_say_the_same_on_every_page_and_after_records_are_gone(readme, tmp_path):
    one = make_record().experiment
    two, far = replace(one, name="report/two", patience=7), replace(one, name="other/one", patience=8)
    claims = [Claim("One beats two.", (beats(one, two),)), Claim("Far beats two.", (beats(far, two),))]
    records = [
        make_record(seed, accuracy, experiment=e) for e, accuracy in ((one, 0.6), (two, 0.4)) for seed in range(3)
    ]
    out = tmp_path / "results"
    overview, table = out / "claims.md", out / "report" / "claims.md"

    def written(records, check=False):
        return markdown.write(records, "", out, readme, judge_reports(claims, [one, two], records), check)

    assert {overview, table} <= set(written(records))
    assert table.read_text().strip() in (out / "README.md").read_text()
    assert overview.read_text().strip() in (out / "README.md").read_text()
    assert written(records, check=True) == []
    assert {overview, table, readme, out / "README.md"} <= set(written(records[:3], check=True))
    written(records[:3])
    for path in (overview, table, readme, out / "README.md"):
        assert "0 confirmed, 0 refuted, 0 open, " in path.read_text(), path
    # Whatever was written before, the page shows what was judged.
    table.write_text("old")
    judged = judge_reports(claims, [one, two], records)
    assert report_markdown(judged["report"]) in markdown.results_page(records, out, judged)


def test_a_file_of_somebody_else_is_not_overwritten(readme, tmp_path):
    before = readme.read_text()
    with pytest.raises(InputError, match="was not written by `kmodels report` and would be lost"):
        markdown.write([make_record()], "", tmp_path, readme)
    assert readme.read_text() == before


def test_a_readme_without_markers_is_refused(tmp_path):
    out = tmp_path / "results"
    with pytest.raises(InputError, match="no README at"):
        markdown.write([], "", out, tmp_path / "README.md")
    (tmp_path / "README.md").write_text("nothing")
    with pytest.raises(InputError, match="must have the lines"):
        markdown.write([], "", out, tmp_path / "README.md")


def test_our_own_readme_shows_the_committed_records(tmp_path, monkeypatch, capsys):
    root = Path(__file__).parents[2]
    listed = subprocess.run(["git", "ls-files", "results", "README.md"], cwd=root, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not in a git checkout")
    # Only what is committed: somebody's own runs in results/ make nothing stale.
    for name in listed.stdout.split():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(root / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    assert cli.report(check=True) == 0, capsys.readouterr().out


def test_without_a_readme_for_results_the_page_and_the_site_are_written(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    out, readme = Path("runs"), Path("README.md")
    write_record(make_record(), out)
    assert cli.report(out) == 0
    assert "README.md: left out, for there is no such file" in capsys.readouterr().out
    assert not readme.exists()
    assert "| `one` |" in (out / "README.md").read_text()
    assert (out / "site" / "index.html").is_file()
    readme.write_text("mine")
    assert cli.report(out, check=True) == 0
    assert "README.md: left out, for it has no line '<!-- results:begin" in capsys.readouterr().out
    assert readme.read_text() == "mine"
    with pytest.raises(InputError, match="must have the lines"):
        cli.report(out, readme)
    begin, end = markdown.MARKERS["results"]
    readme.write_text(begin)
    with pytest.raises(InputError, match="must have the lines"):
        cli.report(out)
    readme.write_text(f"{begin}\n{end}\n")
    assert cli.report(out) == 0
    assert "runs/README.md" in readme.read_text()
