"""Records that were edited, damaged or made by somebody else: named and left out, and nothing is written elsewhere."""

import json
from copy import deepcopy

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kmodels import InputError, Record, read_record, read_records, run
from kmodels.exit_status import run_command
from kmodels.report import tables


@pytest.fixture(scope="module")
def recorded(tiny, tmp_path_factory):
    """The path of a record, and what is in it."""
    out = tmp_path_factory.mktemp("recorded")
    path = out / f"{run(tiny, 0, out, verbose=0).stem}.json"
    return path, json.loads(path.read_text())


def places(value, path=()):
    """The path of keys and indices to every value in nested JSON."""
    yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inner:
        yield from places(one, (*path, key))


def changed(content, path, value):
    """The JSON with another value at a path."""
    content = deepcopy(content)
    if not path:
        return value
    inner = content
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return content


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("backend",), "../../../../tmp/x", "backend must be one of"),
        (("precision",), "../x", "precision must be a word"),
        (("experiment", "name"), "../../x", "name must be <report>/<name>"),
        (("experiment", "name"), "/tmp/x", "name must be <report>/<name>"),
        (("source", "sha256"), "../" + "a" * 61, "sha256 must be 64 hexadecimal digits"),
        (("code_sha256",), {"model": "x"}, "model must be 64 hexadecimal digits"),
        (("test", "accuracy"), "0.5", "accuracy must be float"),
        (("test", "accuracy"), 1.5, "accuracies must be 0 to 1"),
        (("test", "accuracy"), float("nan"), "numbers in a record must be finite"),
        (("test", "confusion_matrix", 0), [1, 2], "confusion_matrix must be 10 rows of 10"),
        (("test", "confusion_matrix"), [[1] * 10] * 10, "confusion_matrix must count"),
        (("train_seconds",), "long", "train_seconds must be float"),
        (("train_seconds",), -1, "train_seconds must be at least 0"),
        (("source", "counts"), {}, "counts must be numbers of images"),
        (("source", "counts", "train"), True, "counts must be numbers of images"),
        (("class_names",), ["a"], "class_names must be two or more"),
        (("history", "loss"), [1.0], "columns of history must be equally long"),
        (("best_epoch",), 3, "best_epoch must be 1 to 2"),
        (("seed",), -1, "seed must be an integer of at least 0"),
        (("seed",), True, "seed must be"),
        (("started",), "yesterday", "yesterday"),
    ],
)
def test_an_edited_record_is_refused_by_name(recorded, tmp_path, path, value, message):
    file = tmp_path / "one-seed0.json"
    file.write_text(json.dumps(changed(recorded[1], path, value)))
    with pytest.raises(InputError, match=message) as refused:
        read_record(file)
    assert str(file) in str(refused.value)


def test_an_unreadable_record_is_counted_and_left_out(recorded, tmp_path, capsys):
    good = tmp_path / recorded[0].name
    good.write_text(recorded[0].read_text())
    for number, text in enumerate(("", "[" * 100_000, '{"schema": 1}', "null", '{"schema": "' + "x" * 10_000 + '"}')):
        (tmp_path / f"bad{number}-seed0.json").write_text(text)
    assert list(read_records(tmp_path)) == [good]
    printed = capsys.readouterr().err
    assert "5 of 6 records cannot be read" in printed
    assert max(map(len, printed.splitlines())) < 600


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["../x", "/tmp/x"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


@settings(
    max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_whatever_is_in_a_record_it_is_read_or_refused_and_stays_in_its_folder(recorded, tmp_path, data):
    _, content = recorded
    for _ in range(data.draw(st.integers(1, 3))):
        path = data.draw(st.sampled_from(list(places(content))))
        content = changed(content, path, data.draw(JSON))
    text = json.dumps(content)
    text = text[: data.draw(st.sampled_from([len(text), len(text) // 2]))]
    file = tmp_path / "one-seed0.json"
    file.write_text(text)
    try:
        record = read_record(file)
    except InputError:
        return
    assert isinstance(record, Record)
    assert (tmp_path / record.stem).resolve().is_relative_to(tmp_path.resolve())
    # What was accepted can be shown.
    assert run_command(lambda: tables.record_text(record) and 0) == 0
    assert tables.published_against_measured([record])


def test_a_network_of_a_killed_repeat_is_noticed_and_the_run_repeated(tiny, tmp_path, capsys):
    import keras

    from kmodels.models.saving import load_network, save_network

    record = run(tiny, 0, tmp_path, verbose=0)
    path = tmp_path / f"{record.stem}.keras"
    network = load_network(path)
    network.set_weights([keras.ops.convert_to_numpy(weight) * 2 for weight in network.weights])
    save_network(network, path)
    again = run(tiny, 0, tmp_path, verbose=0)
    assert "is not the network of" in capsys.readouterr().out
    assert again.network_sha256 == record.network_sha256
    assert again.test == record.test
