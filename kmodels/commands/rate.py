"""`kmodels rate FOLDER`: a learning rate for `kmodels train FOLDER`."""

import inspect
import shlex
from dataclasses import dataclass, make_dataclass, replace
from pathlib import Path
from typing import Annotated

import tyro

from kmodels.backend import check_backend, device_name
from kmodels.commands.train import choose, given_settings, missing_weights, title, with_batches_that_fit
from kmodels.errors import require
from kmodels.files import require_folder
from kmodels.flags import flag_words
from kmodels.script import setting_flags

# The images are the folder's, and the learning rate is what is looked for.
WITHOUT = ("dataset", "learning_rate")


@dataclass(frozen=True, kw_only=True)
class _Rate:
    """Suggest a learning rate for `kmodels train FOLDER`, and draw the loss against it.

    A range test: a hundred training steps, each with a higher learning rate, until the loss diverges; the rate of the
    steepest descent is suggested, and the command that trains with it. Give the flags that the training will have.
    Nothing is kept but the picture. Where training would start from ImageNet weights, the test is of its second stage,
    in which all layers train, but with a newly initialised classifier: the first stage is left out.
    """

    folder: Annotated[Path, tyro.conf.Positional]
    """folder of your images, as for `kmodels train`"""
    out: Path = Path("rate.png")
    """the picture to write, a .png file"""
    lowest: float = 1e-7
    """the learning rate of the first step"""
    highest: float = 10.0
    """the learning rate of the last step"""
    steps: int = 100
    """training steps, at least 20"""
    seed: int = 0
    """decides initial weights, order and augmentation"""
    skip_unreadable: bool = False
    """leave out image files that cannot be read, instead of refusing all"""

    def run(self):
        """Does what the command is asked for; returns the exit status: 1 where nothing can be suggested."""
        check_backend()
        require_folder(self.folder, "the folder of photographs")
        require(self.out.suffix == ".png", "the picture to write must end in .png", str(self.out))
        require(self.steps >= 20, "steps must be at least 20", self.steps)
        given = given_settings(self, WITHOUT)
        for name, values in given.items():
            require(len(values) == 1, f"{name} must have one value: the rate may be another for each", values)
        experiment = self._experiment(given)
        found = self._test(experiment)
        from kmodels import plots
        from kmodels.report.pictures import save

        figure = plots.learning_rate_test(found.rates, found.losses, found.smoothed, found.suggestion)
        print(f"loss against learning rate: {save(figure, self.out)}")
        if found.suggestion is None:
            print(f"no suggestion: {found.reason}")
            return 1
        rate = f"{found.suggestion:.2g}"
        print(f"suggested learning rate: {rate}, where the loss falls fastest\n{self._command(given, rate)}")
        return 0

    def _experiment(self, given):
        """What `kmodels train` would train, or the second of its two stages."""
        on_cpu = device_name().startswith("cpu")
        *first, experiment = choose(title(self.folder), given, not missing_weights(given), on_cpu)
        rule = "head must be left out, or crt: other heads are fitted without a learning rate"
        require(not experiment.is_fitted, rule, experiment.head)
        if "batch_size" not in given:
            experiment = with_batches_that_fit(experiment, self.folder, (self.seed,), self.skip_unreadable)
        if first:
            print(
                f"ImageNet weights of {experiment.model} with a newly initialised classifier: this is the rate of the "
                "second stage, in which all layers train"
            )
            options = {**experiment.model_options, **first[0].model_options}
            return replace(experiment, init_from=None, model_options=options)
        return experiment

    def _test(self, experiment):
        from kmodels.learning_rate import find_learning_rate
        from kmodels.training.job import Job
        from kmodels.training.run import arguments

        start = experiment.init_from
        # Where `kmodels train` leaves the networks that a name may mean; else a folder that is written into anyway.
        out = Path("runs") if start and not start.endswith(".keras") else self.out.parent
        job = Job(experiment, self.seed, out, self.folder, self.skip_unreadable)
        network, dataset, settings = arguments(job)
        known = inspect.signature(find_learning_rate).parameters
        settings = {name: value for name, value in settings.items() if name in known}
        return find_learning_rate(
            network, dataset, lowest=self.lowest, highest=self.highest, steps=self.steps, **settings
        )

    def _command(self, given, rate):
        """The `kmodels train` with these settings and this rate."""
        words = ["kmodels", "train", self.folder]
        for name, (value,) in given.items():
            words += flag_words(name, value)
        words += ["--skip-unreadable"] if self.skip_unreadable else []
        words += ["--seeds", self.seed] if self.seed else []
        return shlex.join(map(str, [*words, "--learning-rate", rate]))


RateCommand = make_dataclass(
    "RateCommand", setting_flags(several=True, without=WITHOUT), bases=(_Rate,), frozen=True, kw_only=True
)
RateCommand.__doc__ = _Rate.__doc__
