"""The kmodels command."""

import subprocess
import sys

import pytest

from kmodels import cli, run


@pytest.fixture
def kmodels_command(monkeypatch, capsys):
    """Runs the command in this process; returns exit status, output and errors."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["kmodels", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        captured = capsys.readouterr()
        return ended.value.code, captured.out, captured.err

    return call


def test_help_names_every_command_without_importing_keras():
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "kmodels", "--help"], capture_output=True, text=True
    )
    assert done.returncode == 0
    for command in ("doctor", "data", "models", "gradcam", "report"):
        assert command in done.stdout
    assert not [line for line in done.stderr.splitlines() if line.endswith((" keras", " tensorflow", " jax"))]


def test_doctor_names_backend_device_and_cache(kmodels_command, backend):
    status, out, _ = kmodels_command("doctor")
    assert status == 0
    assert f"KERAS_BACKEND {backend}" in out
    assert "device" in out
    assert "data cache" in out


def test_data_lists_the_sets_and_counts_the_classes_of_one(kmodels_command):
    _, out, _ = kmodels_command("data")
    assert [line.split()[0] for line in out.splitlines()] == ["cifar10", "digits", "folder", "made_up"]
    status, out, _ = kmodels_command("data", "digits", "--image-size", "16")
    assert status == 0
    assert "16x16x3 pixels" in out
    assert "all    1,078  360   359" in out


def test_models_lists_networks_and_shows_one(kmodels_command):
    _, out, _ = kmodels_command("models")
    assert "model4        42,314  kmodels/models/small_cnns.py" in out
    _, out, _ = kmodels_command("models", "model4", "--num-classes", "3")
    assert out.splitlines()[-1] == "38,275 trainable parameters"


def test_gradcam_draws_beside_the_record(kmodels_command, tiny, tmp_path):
    record = run(tiny, 0, tmp_path, verbose=0)
    status, out, _ = kmodels_command("gradcam", str(tmp_path / f"{record.stem}.json"))
    assert status == 0
    assert out.strip().endswith("_grad_cam.png")
    assert (tmp_path / f"{record.stem}_grad_cam.png").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["data", "digit"], "error: unknown dataset 'digit'; did you mean digits"),
        (["models", "model7"], "error: unknown model 'model7'; did you mean model"),
        (["gradcam", "none.json"], "error: cannot read the record none.json"),
        (["report", "--readme", "none.md"], "error: no README at none.md"),
        (["docter"], "doctor"),
    ],
)
def test_a_mistake_is_named_without_a_traceback(kmodels_command, arguments, message):
    status, out, err = kmodels_command(*arguments)
    assert status == 2
    assert message in out + err
    assert "Traceback" not in err
