"""How much does AlexNet gain over a basic network on CIFAR-10, and Adam with dropout over SGD?

    python experiments/cifar10_alexnet.py --list
    python experiments/cifar10_alexnet.py baseline --seeds 0 1 2
    python experiments/cifar10_alexnet.py --smoke
    python experiments/cifar10_alexnet.py --figures

Three runs of 300 epochs in batches of 10; the weights of the last epoch are tested. The report's 50,000 training images
are divided here: a fifth is validated on, where its curves call the test set validation.

The report prints epochs and batch size for the baseline only; here both AlexNets have the same. It does not show its
basic network (see kmodels/models/lenet.py) and does not print a learning rate for Adam: here it is 0.0001, as for SGD.

Cost: on two CPU cores the baseline takes 2 to 4 s per epoch of 8,000 images (`--subset 10000`); the two others need a
GPU. The results are in results/README.md.
"""

from dataclasses import replace

from kmodels.experiment import Experiment, Published
from kmodels.report.claims import BEST_EPOCH, Bound, Claim, gains, lead_of_others
from kmodels.report.figures import Curves

BASELINE = Experiment(
    name="cifar10_alexnet/baseline",
    description="a basic CNN, SGD with momentum",
    published=Published(test_accuracy=0.67, epochs=300),
    dataset="cifar10",
    model="basic_cnn",
    optimizer="sgd",
    learning_rate=0.0001,
    momentum=0.9,
    batch_size=10,
    epochs=300,
    patience=None,
    keep="last",
)
ALEXNET_SGD = replace(
    BASELINE,
    name="cifar10_alexnet/alexnet_sgd",
    description="AlexNet for 32x32, SGD with momentum",
    published=Published(
        test_accuracy=0.7199,
        per_class_accuracy=(0.762, 0.853, 0.619, 0.449, 0.697, 0.628, 0.801, 0.813, 0.792, 0.785),
    ),
    model="alexnet_cifar",
)
ALEXNET_ADAM_DROPOUT = replace(
    ALEXNET_SGD,
    name="cifar10_alexnet/alexnet_adam_dropout",
    description="AlexNet for 32x32, Adam, dropout 0.5",
    published=Published(
        test_accuracy=0.7430,
        per_class_accuracy=(0.787, 0.840, 0.662, 0.487, 0.744, 0.661, 0.851, 0.731, 0.841, 0.826),
    ),
    optimizer="adam",
    momentum=0.0,
    model_options={"dropout": 0.5},
)

EXPERIMENTS = (BASELINE, ALEXNET_SGD, ALEXNET_ADAM_DROPOUT)

FIGURES = (
    Curves("The basic network and AlexNet", (BASELINE, ALEXNET_SGD)),
    Curves("SGD against Adam with dropout", (ALEXNET_SGD, ALEXNET_ADAM_DROPOUT)),
)

HARD = lead_of_others("cat", "bird", "dog")
CLAIMS = (
    Claim("AlexNet beats the basic network by about five percentage points.", (gains(ALEXNET_SGD, BASELINE, about=5),)),
    Claim(
        "Adam with dropout beats SGD by two to three percentage points.",
        (gains(ALEXNET_ADAM_DROPOUT, ALEXNET_SGD, about=(2, 3)),),
    ),
    Claim(
        "Cat, bird and dog are the hard classes: every other one is easier.",
        tuple(Bound(of=one, measure=HARD, least=0) for one in (ALEXNET_SGD, ALEXNET_ADAM_DROPOUT)),
    ),
    Claim(
        "The validation loss of the basic network stops falling near epoch 150 of 300.",
        # A free choice: a third more or less is near.
        (Bound(of=BASELINE, measure=BEST_EPOCH, least=100, most=200),),
    ),
)

if __name__ == "__main__":
    from kmodels.script import main

    main(EXPERIMENTS, __doc__, figures=FIGURES, claims=CLAIMS)
