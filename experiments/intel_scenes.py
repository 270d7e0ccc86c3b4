"""Which network and which settings recognise six kinds of scene best, and what do missing images cost?

    python experiments/intel_scenes.py --list
    python experiments/intel_scenes.py mlp mobilenet --data-dir archive.zip --seeds 0 1 2
    python experiments/intel_scenes.py --smoke
    python experiments/intel_scenes.py --figures --data-dir archive.zip

Four architectures; AlexNet with six settings of the optimizer, ten dropout rates, with and without batch normalisation
and with four class distributions; and a MobileNet. The images are Intel Image Classification (Kaggle): --data-dir is
the zip file or the unpacked folder; in a Kaggle kernel with the dataset attached it can be left out.

The report leaves open, and this file chooses: batches of 64; images of 150x150 pixels, as they are (48x48 for the MLP);
pixels normalised by ImageNet's mean and deviation (0.5 and 0.5 for the MLP); no augmentation; SGD without momentum and
AdamW with weight decay 0.01, PyTorch's defaults. The layers of the MLP and of MobileNet are not printed: they are
reconstructed from the number of parameters. The report trains for all epochs and says nothing of selecting weights: so
do these, and the weights of the last epoch are tested.

The ImageNet weights of ResNet50 are those of Keras: blocks stride in the 1x1 convolution, and pixels are not divided by
the deviation. Those of torchvision, presumably the report's, stride in the 3x3 convolution. Frozen, ResNet50 also keeps
its batch-norm statistics.

Some rows are one experiment under two names, because two tables of the report show it: adam, without_bn and dropout_50
are alexnet (0.5 is its usual dropout rate), full is with_bn.

Run so far, all on two busy CPU cores, from part of the images at 128x128, and keeping the weights of the lowest
validation loss (`--keep best`; results/README.md has the results):

    mlp --seeds 0 1 2                                                       half a minute each
    mobilenet --image-size 64 --epochs 20                                   19 minutes, KERAS_BACKEND=tensorflow
    without_bn with_bn first3_02 --image-size 64 --subset 3000 --epochs 12  4 to 9 minutes each
    dropout_00 ... dropout_90 --image-size 64 --subset 1500 --epochs 8      2 minutes each

On a CPU, JAX is several times as slow as TensorFlow at MobileNet's depthwise convolutions. At 64x64, AlexNet's last map
is one cell, repeated 36 times before the dense layers: such runs test the code and say little about AlexNet at 150x150.
"""

from dataclasses import replace

from kmodels.experiment import Experiment, Published
from kmodels.report.claims import (
    PARAMETERS,
    TEST_ACCURACY_OR_GUESSING,
    Bound,
    Claim,
    beats,
    epochs_to,
    equals,
    gains,
)
from kmodels.report.figures import Curves, Sweep


def published(train, val, test, epochs=50, **more):
    """The report's percentages as fractions; it trained for 50 epochs unless a row says otherwise."""
    accuracies = {"train_accuracy": train / 100, "val_accuracy": val / 100, "test_accuracy": test / 100}
    return Published(**accuracies, epochs=epochs, **more)


ALEXNET = Experiment(
    name="intel_scenes/alexnet",
    description="torchvision's AlexNet, Adam",
    published=published(97.5, 84.3, 83.5),
    dataset="intel_scenes",
    image_size=150,
    model="alexnet",
    optimizer="adam",
    learning_rate=0.001,
    batch_size=64,
    epochs=50,
    patience=None,
    keep="last",
)
MLP = replace(
    ALEXNET,
    name="intel_scenes/mlp",
    description="dense layers 96 and 32",
    published=published(80.0, 62.6, 61.8),
    model="mlp",
    image_size=48,
)
RESNET50_FINETUNED = replace(
    ALEXNET,
    name="intel_scenes/resnet50_finetuned",
    description="ResNet50 from ImageNet's weights, nothing frozen",
    published=published(99.9, 93.1, 92.9),
    model="resnet50",
    model_options={"weights": "imagenet"},
)
RESNET50_FROZEN = replace(
    RESNET50_FINETUNED,
    name="intel_scenes/resnet50_frozen",
    description="ResNet50 with ImageNet's weights, only the classifier trained",
    published=published(96.2, 93.3, 92.5),
    frozen=True,
)
ARCHITECTURES = (MLP, ALEXNET, RESNET50_FINETUNED, RESNET50_FROZEN)

ADAM = replace(ALEXNET, name="intel_scenes/adam", description="Adam 0.001; the same as alexnet")
ADAMW = replace(
    ADAM,
    name="intel_scenes/adamw",
    description="AdamW 0.001",
    published=published(96.1, 82.8, 83.0),
    optimizer="adamw",
)
SGD_1E3 = replace(
    ADAM,
    name="intel_scenes/sgd_1e-3",
    description="SGD 0.001",
    published=published(43.8, 42.7, 42.6),
    optimizer="sgd",
)
SGD_1E3_150 = replace(
    SGD_1E3,
    name="intel_scenes/sgd_1e-3_150",
    description="SGD 0.001 for 150 epochs",
    published=published(63.1, 62.1, 63.6, epochs=150),
    epochs=150,
)
SGD_3E2_150 = replace(
    SGD_1E3_150,
    name="intel_scenes/sgd_3e-2_150",
    description="SGD 0.03 for 150 epochs",
    published=published(98.8, 87.4, 87.5, epochs=150),
    learning_rate=0.03,
)
ADAM_3E2 = replace(
    ADAM,
    name="intel_scenes/adam_3e-2",
    description="Adam 0.03",
    published=published(18.1, 17.4, 17.4),
    learning_rate=0.03,
)
OPTIMIZERS = (ADAM, ADAMW, SGD_1E3, SGD_1E3_150, SGD_3E2_150, ADAM_3E2)

MOBILENET = replace(
    ALEXNET,
    name="intel_scenes/mobilenet",
    description="MobileNet with 0.7 M parameters; published: essentially AlexNet's accuracy",
    # No accuracy is printed.
    published=Published(epochs=50),
    model="mobilenet",
)

DROPOUT = tuple(
    replace(
        ALEXNET,
        name=f"intel_scenes/dropout_{10 * tenth:02d}",
        description=f"dropout rate 0.{tenth}",
        published=Published(test_accuracy=test / 100, epochs=50),
        model_options={"dropout": tenth / 10},
    )
    for tenth, test in enumerate((83.30, 83.53, 80.01, 84.21, 82.77, 84.24, 83.77, 81.54, 84.12, 79.42))
)

WITH_BN = replace(
    ALEXNET,
    name="intel_scenes/with_bn",
    description="batch normalisation after each convolution",
    published=published(99.4, 89.8, 89.2),
    model_options={"batch_norm": True},
)
WITHOUT_BN = replace(
    ALEXNET,
    name="intel_scenes/without_bn",
    description="no batch normalisation; the same as alexnet",
    published=published(98.7, 83.2, 83.5),
)
BATCH_NORM = (WITH_BN, WITHOUT_BN)

FULL = replace(
    WITH_BN,
    name="intel_scenes/full",
    description="all training images; the same as with_bn",
    published=published(
        99.4,
        89.8,
        89.2,
        confusion_matrix=(
            (473, 1, 8, 6, 15, 45),
            (4, 531, 1, 6, 2, 6),
            (5, 3, 499, 61, 28, 3),
            (1, 0, 53, 520, 20, 0),
            (5, 1, 17, 13, 513, 5),
            (52, 3, 2, 0, 3, 502),
        ),
    ),
)
CLASS2_30 = replace(
    FULL,
    name="intel_scenes/class2_30",
    description="30 % of glacier",
    published=published(
        98.7,
        89.6,
        88.6,
        confusion_matrix=(
            (491, 3, 4, 5, 11, 34),
            (8, 534, 0, 4, 1, 3),
            (9, 3, 468, 82, 33, 4),
            (2, 3, 40, 529, 20, 0),
            (9, 5, 14, 14, 506, 6),
            (56, 4, 2, 0, 5, 495),
        ),
    ),
    class_fractions=(1, 1, 0.3, 1, 1, 1),
)
FIRST3_50 = replace(
    FULL,
    name="intel_scenes/first3_50",
    description="50 % of buildings, forest and glacier",
    published=published(
        98.8,
        89.2,
        89.2,
        confusion_matrix=(
            (484, 3, 3, 6, 9, 43),
            (4, 535, 2, 6, 0, 3),
            (7, 3, 493, 68, 22, 6),
            (0, 0, 46, 529, 19, 0),
            (6, 5, 21, 16, 498, 8),
            (47, 8, 2, 0, 4, 501),
        ),
    ),
    class_fractions=(0.5, 0.5, 0.5, 1, 1, 1),
)
FIRST3_02 = replace(
    FULL,
    name="intel_scenes/first3_02",
    description="2 % of buildings, forest and glacier",
    published=published(
        99.2,
        79.9,
        79.8,
        confusion_matrix=(
            (305, 10, 2, 44, 35, 152),
            (3, 513, 0, 10, 1, 23),
            (3, 2, 266, 263, 55, 10),
            (0, 0, 3, 570, 19, 2),
            (3, 0, 3, 18, 524, 6),
            (7, 2, 1, 4, 7, 541),
        ),
    ),
    class_fractions=(0.02, 0.02, 0.02, 1, 1, 1),
)
CLASS_DISTRIBUTIONS = (FULL, CLASS2_30, FIRST3_50, FIRST3_02)

EXPERIMENTS = (*ARCHITECTURES, *OPTIMIZERS, MOBILENET, *DROPOUT, *BATCH_NORM, *CLASS_DISTRIBUTIONS)

FIGURES = (
    Curves("Architectures", ARCHITECTURES),
    Curves("Optimizers", OPTIMIZERS),
    Curves("AlexNet and MobileNet", (ALEXNET, MOBILENET)),
    Curves("Dropout", DROPOUT),
    Curves("Batch normalisation", BATCH_NORM),
    Curves("Class distribution", CLASS_DISTRIBUTIONS),
    Sweep("Test accuracy against dropout", "dropout", DROPOUT),
)

# Where the report says no number, the limits are its own differences, in percentage points. SGD depends "strongly" on
# its rate if that matters more than which optimizer it is: the best SGD is 4.0 above Adam. Up to 3.3 (dropout 0.2
# against none) make "no clear difference" between AlexNets, so as much may lie between two that are "as good". The two
# ResNets may differ by 1, what counts as no cost where images are missing. Free choices: up to 3 above one in six is
# guessing; "about" one per cent of AlexNet's parameters is less than two.
CLAIMS = (
    Claim(
        "Adam at a rate of 0.03 collapses: to within three percentage points of guessing.",
        (Bound(of=ADAM_3E2, measure=TEST_ACCURACY_OR_GUESSING, most=19.7),),
    ),
    Claim(
        "SGD depends strongly on its rate, and is the best of all at 0.03 for 150 epochs.",
        (
            beats(SGD_3E2_150, SGD_1E3_150, by=4.0),
            *(beats(SGD_3E2_150, other) for other in (ADAM, ADAMW, SGD_1E3)),
            beats(SGD_3E2_150, ADAM_3E2, measure=TEST_ACCURACY_OR_GUESSING),
        ),
    ),
    Claim("Batch normalisation gains about 5.7 percentage points.", (gains(WITH_BN, WITHOUT_BN, about=5.7),)),
    Claim(
        "With batch normalisation training converges faster.",
        (Bound(of=WITH_BN, over=WITHOUT_BN, measure=epochs_to(0.9), most=0),),
    ),
    Claim(
        "MobileNet, with about one per cent of the parameters, is as good as AlexNet.",
        (equals(MOBILENET, ALEXNET, within=3.3), Bound(of=MOBILENET, measure=PARAMETERS, most=1.14)),
    ),
    Claim(
        "Dropout rates of 0 to 0.8 make no clear difference: at most 3.3 percentage points.",
        tuple(equals(dropped, DROPOUT[0], within=3.3) for dropped in DROPOUT[1:9]),
    ),
    Claim("A dropout rate of 0.9 hurts.", (beats(DROPOUT[0], DROPOUT[9]),)),
    Claim(
        "Keeping 30 % of one class, or 50 % of three, costs less than one percentage point.",
        tuple(Bound(of=FULL, over=thinned, most=1) for thinned in (CLASS2_30, FIRST3_50)),
    ),
    Claim(
        "Keeping 2 % of three classes costs about ten percentage points.", (gains(FULL, FIRST3_02, about=(9.4, 10.5)),)
    ),
    Claim(
        "ResNet50 does as well frozen as fine-tuned.",
        (equals(RESNET50_FROZEN, RESNET50_FINETUNED, within=1),),
    ),
)

if __name__ == "__main__":
    from kmodels.script import main

    main(EXPERIMENTS, __doc__, figures=FIGURES, claims=CLAIMS)
