"""The `kmodels` command: what each of its commands is, and those that have no file of their own."""

import gc
import inspect
import shutil
import sys
import textwrap
from pathlib import Path
from typing import Annotated

from kmodels.backend import check_backend
from kmodels.command_line import tyro, with_flowing_help
from kmodels.commands.data import data
from kmodels.commands.doctor import doctor
from kmodels.commands.kaggle import KaggleCommand
from kmodels.commands.photographs import evaluate, export, predict
from kmodels.commands.rate import RateCommand
from kmodels.commands.records import compare, features, gradcam, mistakes, show, tsne
from kmodels.commands.run import RunCommand
from kmodels.commands.train import TrainCommand
from kmodels.errors import InputError, unknown
from kmodels.exit_status import leave, run_command
from kmodels.flags import parse_options

DESCRIPTION = "Train, compare and explain image classifiers in Keras 3."

Name = tyro.conf.Positional


def main():
    """Entry point."""

    def command():
        if sys.argv[1:] in ([], ["-h"], ["--help"]):
            print(_overview())
            return 0 if sys.argv[1:] else 2
        commands = [name for group in GROUPS.values() for name in group]
        if not sys.argv[1].startswith("-") and sys.argv[1] not in commands:
            raise unknown("command", sys.argv[1], commands)
        done = tyro.extras.subcommand_cli_from_dict(
            {name: with_flowing_help(found) for group in GROUPS.values() for name, found in group.items()},
            prog="kmodels",
            description=DESCRIPTION,
            config=(tyro.conf.FlagCreatePairsOff,),
        )
        return done.run() if isinstance(done, TrainCommand | RateCommand | RunCommand | KaggleCommand) else done

    # Importing Keras makes half a million objects that stay: to look through them again and again takes half a second.
    gc.set_threshold(50_000)
    leave(run_command(command))


def _overview():
    """Every command with the first paragraph of its help text."""
    width = max(60, min(shutil.get_terminal_size().columns, 100))
    lines = ["usage: kmodels COMMAND ...", "", DESCRIPTION, "What a command takes: kmodels COMMAND --help"]
    for title, group in GROUPS.items():
        lines += ["", f"{title}:"]
        for name, command in group.items():
            what = inspect.getdoc(command).split("\n\n")[0]
            lines += textwrap.wrap(f"  {name:<10}{what}", width, subsequent_indent=" " * 12)
    return "\n".join(lines)


def models(name: Name[str] = "", /, image_size: int = 32, num_classes: int = 10, draw: Path | None = None) -> int:
    """Show the layers of a network; without a name, list the networks.

    Args:
        name: name of the network.
        image_size: height and width of its input.
        num_classes: number of classes.
        draw: also draw it into this .png, .svg or .pdf file.
    """
    check_backend()
    from kmodels.models import MODELS, build_model, builder, trainable_parameters
    from kmodels.report.architecture import check_drawing, layer_table
    from kmodels.report.architecture import draw as draw_network
    from kmodels.text import aligned

    if not name:
        rows = [("network", "what", "file")]
        for known, file in MODELS.items():
            rows.append((known, builder(known).__doc__.splitlines()[0], f"kmodels/models/{file}.py"))
        print(aligned(rows))
        print("also any network of keras.applications, as applications:NAME (applications:MobileNetV2)")
        return 0
    if draw:
        check_drawing(draw)
    network = build_model(name, (image_size, image_size, 3), num_classes)
    print(aligned(layer_table(network), right=(3,)))
    print(f"{trainable_parameters(network):,} trainable parameters")
    if draw:
        print(draw_network(network, draw))
    return 0


def augment(
    policy: Name[str] = "",
    /,
    dataset: str = "digits",
    image_size: int = 32,
    data_dir: Path | None = None,
    skip_unreadable: bool = False,
    seed: int = 0,
    out: Path | None = None,
) -> int:
    """Draw what an augmentation policy does: an image of each of four classes, and seven draws of each.

    Without a policy, list the policies.

    Args:
        policy: name of the augmentation policy.
        dataset: where the images are from, as `kmodels data list` has them; digits are grey.
        image_size: height and width in pixels.
        data_dir: the folder of images, or of the archive you already have; left out: downloaded where that can be.
        skip_unreadable: leave out image files that cannot be read, instead of refusing all.
        seed: random seed for the choice of classes and images, and for the draws.
        out: the .png file to write; left out: augment_POLICY.png here.
    """
    check_backend()
    from kmodels.augment import POLICIES
    from kmodels.data import load_dataset
    from kmodels.text import aligned

    if not policy:
        print(
            aligned(
                [("policy", "random changes of training images, new in each epoch")]
                + [(name, found.description) for name, found in POLICIES.items()]
            )
        )
        return 0
    if policy not in POLICIES:
        raise unknown("augmentation", policy, POLICIES)
    path = out or Path(f"augment_{policy}.png")
    if path.suffix != ".png":
        raise InputError(f"the file to write must end in .png. Received: {str(path)!r}")
    from kmodels.report.augmentation import write_examples

    print(write_examples(policy, load_dataset(dataset, image_size, data_dir, skip_unreadable), seed, path))
    return 0


def convert(
    file: Name[Path],
    /,
    model: str,
    image_size: int = 32,
    model_options: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME=VALUE ...")] = (),
    key: str | None = None,
    out: Path | None = None,
) -> int:
    """Turn PyTorch's weights (.pth, .pt, .ckpt, .safetensors) of one of our networks into a .keras file.

    Layers are matched by torchvision's names where the file has them; else by their order and shapes, whatever the
    PyTorch code calls them: it must define its layers in the order in which it uses them. A file in the order of the
    alphabet, as .safetensors are, is matched by shapes, equal shapes in the natural order of names. Strides, pooling
    and normalisation of the pixels are in no state_dict: whether they agree cannot be checked.

    Args:
        file: what torch.save wrote, the state_dict itself or a checkpoint with it at any depth; needs torch.
        model: name of the network.
        image_size: height and width of its input.
        model_options: options of the network, as batch_norm=true for alexnet or hidden=128,128 for two_layer_net.
        key: which weights of a checkpoint with several networks, "ema" for instance; left out: the only ones, or those
            of a usual key (state_dict, model, net, ...).
        out: the file to write; left out: beside FILE, with the ending .keras.
    """
    check_backend()
    from kmodels.models import build_model
    from kmodels.models.saving import save_network
    from kmodels.models.torch_files import read_state_dict
    from kmodels.models.torch_weights import class_count, load_torch_weights

    state_dict, notes = read_state_dict(file, key)
    path = out or file.with_suffix(".keras")
    if path.suffix != ".keras":
        raise InputError(f"the file to write must end in .keras. Received: {str(path)!r}")
    options = {name: value for name, value in parse_options(model_options).items() if value is not None}
    network = build_model(model, (image_size, image_size, 3), class_count(state_dict), **options)
    rule = load_torch_weights(network, state_dict)
    print(*notes, f"matched by {rule}", sep="\n")
    print(
        f"{save_network(network, path)}: {model}, {network.output_shape[-1]} classes, {image_size}x{image_size} pixels"
    )
    scale = network.get_layer("scale")
    print(f"it takes pixels 0..255 and gives its first layer pixels * {scale.scale} + {scale.offset}")
    return 0


def report(out: Name[Path] = Path("results"), /, readme: Path | None = None, check: bool = False) -> int:
    """Write results/README.md, claims.md, the site and the results in the README from records and benchmarks.

    The site opens from the disk, at site/index.html. (All pictures of one report, and one page that has them and its
    networks in it: --figures of an experiment file.)

    Args:
        out: the results folder.
        readme: the file that shows results between its markers; left out: README.md here, if it has them.
        check: change nothing; fail if what is written there is not what the results say.
    """
    from kmodels.bench.tables import markdown, read_benchmarks
    from kmodels.catalogue import reports
    from kmodels.records import read_records, with_published
    from kmodels.report.claim_tables import judge_reports
    from kmodels.report.markdown import MARKERS, PAGE, shows_results, write
    from kmodels.report.site import FOLDER, write_site
    from kmodels.text import counted

    if readme is None:
        usual = Path("README.md")
        if shows_results(usual):
            readme = usual
        else:
            reason = f"it has no line {MARKERS['results'][0]!r}" if usual.is_file() else "there is no such file"
            print(f"{usual}: left out, for {reason}")
    records, modules = read_records(out), reports()
    names = {experiment.name for module in modules for experiment in module.EXPERIMENTS}
    if records and not any(record.experiment.name in names for record in records.values()):
        # Own experiments alone: the claims of reports are not about them.
        modules = []
    claims = [claim for module in modules for claim in module.CLAIMS]
    experiments = [experiment for module in modules for experiment in module.EXPERIMENTS]
    judged = judge_reports(claims, experiments, records.values())
    shown, speed = with_published(records.values(), experiments), markdown(read_benchmarks(out / "bench"))
    stale = write(shown, speed, out, readme, judged, check)
    changed = "stale: run kmodels report" if check else "written"
    for path in dict.fromkeys(filter(None, (readme, out / PAGE, *stale))):
        print(f"{path}: {changed if path in stale else 'up to date'}")
    pages = write_site(records, modules, out, check)
    files = counted(len(pages), "file")
    print(f"{out / FOLDER / 'index.html'}: {f'{files} {changed}' if pages else 'up to date'}")
    return 1 if check and (stale or pages) else 0


def bench(
    models: Name[tuple[str, ...]] = (),
    /,
    batch_sizes: tuple[int, ...] = (128, 512),
    image_size: int | None = None,
    repeats: int = 7,
    contenders: tuple[str, ...] = (),
    sections: tuple[str, ...] = ("throughput",),
    precision: str = "float32",
    out: Path = Path("results/bench"),
) -> int:
    """Measure how fast networks train here, beside hand-written JAX, Keras' own fit, PyTorch and other backends.

    Every contender is a process of its own and trains the same network on synthetic images; they take turns, a second
    each, so that a temporary load on the machine affects all equally. Contenders choose their backend, whatever
    KERAS_BACKEND is. The hand-written ones know the usual layers; a network with others is compared with the rest.

    Args:
        models: networks, as `kmodels models` lists them; left out: those usual for the device.
        batch_sizes: images a training step; each network is measured with each.
        image_size: height and width of the images; left out: 224 for photographs, else 32.
        repeats: how many times each contender is measured, in turns.
        contenders: ours, ours-epoch, deterministic (ours-epoch with deterministic operations), jax, jax-epoch,
            stock-fit, stock-fit-tensorflow, stock-fit-torch, torch, keras-tensorflow, keras-torch, input; left out:
            those usual for the device.
        sections: throughput; startup (first step, cold and warm compile cache); kernels (how many a step asks of a GPU
            and what they move; needs no GPU, only JAX's plugin for them); photographs (classifying files beside pixels
            in memory, the first prediction of a process, a head on features; on every backend).
        precision: float32 or bfloat16.
        out: the folder for the numbers (.json).
    """
    from functools import partial

    from kmodels.bench.run import bench as measure
    from kmodels.bench.settings import Settings

    settings = Settings(
        models=models,
        batch_sizes=batch_sizes,
        image_size=image_size,
        repeats=repeats,
        contenders=contenders,
        sections=sections,
        precision=precision,
    )
    print(measure(settings, out, partial(print, flush=True)))
    return 0


GROUPS = {
    "Train on your own images": {"train": TrainCommand, "rate": RateCommand},
    "Use a network": {"predict": predict, "evaluate": evaluate, "export": export, "convert": convert},
    "Look at what was trained": {
        "show": show,
        "compare": compare,
        "mistakes": mistakes,
        "gradcam": gradcam,
        "tsne": tsne,
        "features": features,
    },
    "The experiments of the reports": {"run": RunCommand, "report": report, "kaggle": KaggleCommand},
    "What there is": {"models": models, "data": data, "augment": augment},
    "This machine": {"doctor": doctor, "bench": bench},
}
