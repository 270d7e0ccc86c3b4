"""Does convolution beat dense layers on CIFAR-100, and what does pretraining there gain on STL-10?

    python experiments/cifar100_to_stl10.py --list
    python experiments/cifar100_to_stl10.py two_layer_net conv_net --seeds 0 1 2
    python experiments/cifar100_to_stl10.py conv_net_tuned stl10_finetuned_20 stl10_finetuned_60
    python experiments/cifar100_to_stl10.py --smoke
    python experiments/cifar100_to_stl10.py --figures

First a dense and a convolutional network for ten epochs, then both improved, with the variants that the report tried
and rejected. The better one, trained on CIFAR-100, starts the networks for five classes of STL-10: its convolutions are
transferred, the dense layer (now of 96x96 pixels) and the classifier are initialised. The three stl10 rows at the end
are not in the report: from scratch, with the convolutions frozen, and those trained further.

The report has no validation images; here they are a fifth of the training images, and nothing is chosen by them: the
weights of the last epoch are tested.

The report leaves open, and this file chooses: weight decay 0.0001 wherever it says "with weight decay" (the number is
printed for STL-10 only), and also for conv_net_tuned with Adam, RMSprop and Adagrad; the learning rates of these, 0.001
for Adam and RMSprop and PyTorch's default 0.01 for Adagrad; SGD at 0.01 with momentum 0.9 for the dense network; 0.01
where the report says "higher" rates for it; as many epochs for a rejected variant as for the network it varies;
rotation by up to 15 degrees, and the strength of the other augmentations (kmodels/augment/__init__.py). Rotated images
of STL-10 are interpolated; the other rows take the nearest pixel, the default of PyTorch's RandomRotation.

For the improved dense network the report's figure shows three hidden layers of 128, its table a hidden size of 64: this
file follows the figure, so its 22 % stands beside the three layers. 64 and 512 are experiments of their own, each of
one hidden layer; the report's 15 % for 512 is probably of three.

Run so far on exact copies of CIFAR-100, five seeds each: the dense networks and conv_net, 2 to 15 minutes a run on two
CPU cores (KERAS_BACKEND=tensorflow; some runs on an H200). On substitutes (100 classes of Tiny ImageNet at 32x32 and
five kinds of scene at 96x96), keeping the weights of the lowest validation loss:

    conv_net_tuned --subset 10000 --epochs 15                              9 minutes
    stl10_finetuned_20, and the three after stl10_finetuned_60, --subset 1000   5 to 11 minutes each

The results are in results/README.md.
"""

from dataclasses import replace

from kmodels.experiment import Experiment, Published
from kmodels.report.claims import TEST_ACCURACY_OR_GUESSING, Bound, Claim, beats, epochs_to, gains
from kmodels.report.figures import ClassComparison, Curves, ImageGrid

TWO_LAYER_NET = Experiment(
    name="cifar100_to_stl10/two_layer_net",
    description="one hidden layer of 64",
    published=Published(test_accuracy=0.11, train_loss=3.649, epochs=10),
    dataset="cifar100",
    model="two_layer_net",
    augmentation="flips_rotate_sharpness_crop",
    optimizer="adam",
    learning_rate=0.001,
    batch_size=64,
    epochs=10,
    patience=None,
    keep="last",
)
CONV_NET = replace(
    TWO_LAYER_NET,
    name="cifar100_to_stl10/conv_net",
    description="LeNet-like, average pooling",
    published=Published(test_accuracy=0.22, train_loss=3.328, epochs=10),
    model="conv_net",
)

TWO_LAYER_NET_TUNED = replace(
    TWO_LAYER_NET,
    name="cifar100_to_stl10/two_layer_net_tuned",
    description="three hidden layers of 128, Adam with weight decay",
    published=Published(test_accuracy=0.22, epochs=20),
    model_options={"hidden": (128, 128, 128)},
    augmentation="flip_crop_jitter",
    weight_decay=1e-4,
    batch_size=128,
    epochs=20,
)
TWO_LAYER_NET_TUNED_HIDDEN_64 = replace(
    TWO_LAYER_NET_TUNED,
    name="cifar100_to_stl10/two_layer_net_tuned_hidden_64",
    description="hidden size 64, as the report's table has it; its 22 % stands beside two_layer_net_tuned",
    published=Published(epochs=20),
    model_options={"hidden": (64,)},
)
TWO_LAYER_NET_TUNED_HIDDEN_512 = replace(
    TWO_LAYER_NET_TUNED,
    name="cifar100_to_stl10/two_layer_net_tuned_hidden_512",
    description="hidden size 512; published: 15 % at best",
    published=Published(test_accuracy=0.15),
    model_options={"hidden": (512,)},
)
TWO_LAYER_NET_TUNED_SGD = replace(
    TWO_LAYER_NET_TUNED,
    name="cifar100_to_stl10/two_layer_net_tuned_sgd",
    description="SGD with momentum; published: worse",
    published=Published(),
    optimizer="sgd",
    momentum=0.9,
    learning_rate=0.01,
)
TWO_LAYER_NET_TUNED_BATCH_64 = replace(
    TWO_LAYER_NET_TUNED,
    name="cifar100_to_stl10/two_layer_net_tuned_batch_64",
    description="batch 64; published: worse",
    published=Published(),
    batch_size=64,
)
TWO_LAYER_NET_TUNED_50 = replace(
    TWO_LAYER_NET_TUNED,
    name="cifar100_to_stl10/two_layer_net_tuned_50",
    description="50 epochs; published: no gain",
    published=Published(epochs=50),
    epochs=50,
)
TWO_LAYER_NET_TUNED_1E2 = replace(
    TWO_LAYER_NET_TUNED,
    name="cifar100_to_stl10/two_layer_net_tuned_1e-2",
    description="learning rate 0.01; published: worse",
    published=Published(),
    learning_rate=0.01,
)
TWO_LAYER_NET_TUNED_TRIED = (
    TWO_LAYER_NET_TUNED_BATCH_64,
    TWO_LAYER_NET_TUNED_HIDDEN_64,
    TWO_LAYER_NET_TUNED_HIDDEN_512,
    TWO_LAYER_NET_TUNED_SGD,
    TWO_LAYER_NET_TUNED_50,
    TWO_LAYER_NET_TUNED_1E2,
)

CONV_NET_TUNED = replace(
    CONV_NET,
    name="cifar100_to_stl10/conv_net_tuned",
    description="wider, batch norm, SGD with momentum and weight decay",
    published=Published(test_accuracy=0.56, epochs=50),
    model="conv_net_tuned",
    augmentation="flip_crop_jitter",
    optimizer="sgd",
    learning_rate=0.01,
    momentum=0.9,
    weight_decay=1e-4,
    batch_size=128,
    epochs=50,
)
CONV_NET_TUNED_OPTIMIZERS = tuple(
    replace(
        CONV_NET_TUNED,
        name=f"cifar100_to_stl10/conv_net_tuned_{optimizer}",
        description=f"{label}; published: worse",
        published=Published(),
        optimizer=optimizer,
        learning_rate=rate,
        momentum=0.0,
    )
    for optimizer, label, rate in (
        ("adam", "Adam", 0.001),
        ("rmsprop", "RMSprop", 0.001),
        ("adagrad", "Adagrad", 0.01),
    )
)
CONV_NET_TUNED_RATES = tuple(
    replace(
        CONV_NET_TUNED,
        name=f"cifar100_to_stl10/conv_net_tuned_{name}",
        description=f"learning rate {rate:g}; published: {outcome}",
        published=Published(),
        learning_rate=rate,
    )
    for name, rate, outcome in (("1e-3", 0.001, "slow"), ("1e-1", 0.1, "diverges"), ("5e-1", 0.5, "diverges"))
)
CONV_NET_TUNED_TRIED = (
    replace(
        CONV_NET_TUNED,
        name="cifar100_to_stl10/conv_net_tuned_everything",
        description="all augmentations at once; published: worse",
        published=Published(),
        augmentation="everything",
    ),
    replace(
        CONV_NET_TUNED,
        name="cifar100_to_stl10/conv_net_tuned_20",
        description="20 epochs; published: not converged",
        published=Published(epochs=20),
        epochs=20,
    ),
    replace(
        CONV_NET_TUNED,
        name="cifar100_to_stl10/conv_net_5x5",
        description="two 5x5 convolutions, max-pooling; published: worse",
        published=Published(),
        model="conv_net_5x5",
    ),
)

STL10_FINETUNED_20 = replace(
    CONV_NET_TUNED,
    name="cifar100_to_stl10/stl10_finetuned_20",
    description="five classes of STL-10, from conv_net_tuned, 20 epochs",
    published=Published(train_accuracy=0.9860, test_accuracy=0.8258, epochs=20),
    dataset="stl10_5",
    augmentation="rotate_flip",
    init_from=CONV_NET_TUNED.name,
    epochs=20,
)
STL10_FINETUNED_60 = replace(
    STL10_FINETUNED_20,
    name="cifar100_to_stl10/stl10_finetuned_60",
    description="five classes of STL-10, from conv_net_tuned, 60 epochs",
    published=Published(train_accuracy=0.9956, test_accuracy=0.8267, epochs=60),
    epochs=60,
)
STL10_SCRATCH_20 = replace(
    STL10_FINETUNED_20,
    name="cifar100_to_stl10/stl10_scratch_20",
    description="the same, from random weights; not in the report",
    published=Published(),
    init_from=None,
)
STL10_FROZEN_20 = replace(
    STL10_FINETUNED_20,
    name="cifar100_to_stl10/stl10_frozen_20",
    description="the same, transferred layers frozen; not in the report",
    published=Published(),
    frozen=True,
)
STL10_UNFROZEN_20 = replace(
    STL10_FINETUNED_20,
    name="cifar100_to_stl10/stl10_unfrozen_20",
    description="from stl10_frozen_20, all layers trained; not in the report",
    published=Published(),
    init_from=STL10_FROZEN_20.name,
)
STL10 = (STL10_FINETUNED_20, STL10_FINETUNED_60, STL10_SCRATCH_20, STL10_FROZEN_20, STL10_UNFROZEN_20)

EXPERIMENTS = (
    TWO_LAYER_NET,
    CONV_NET,
    TWO_LAYER_NET_TUNED,
    *TWO_LAYER_NET_TUNED_TRIED,
    CONV_NET_TUNED,
    *CONV_NET_TUNED_OPTIMIZERS,
    *CONV_NET_TUNED_RATES,
    *CONV_NET_TUNED_TRIED,
    *STL10,
)

FIGURES = (
    ImageGrid("Classes 0 to 4", (CONV_NET,), classes=(0, 1, 2, 3, 4)),
    ImageGrid("The five classes", (STL10_FINETUNED_20,)),
    Curves("The first networks", (TWO_LAYER_NET, CONV_NET)),
    ClassComparison("The first networks class by class", (TWO_LAYER_NET, CONV_NET)),
    Curves("The improved networks", (TWO_LAYER_NET_TUNED, CONV_NET_TUNED)),
    ClassComparison("The improved networks class by class", (TWO_LAYER_NET_TUNED, CONV_NET_TUNED)),
    Curves("Variants of the dense network", (TWO_LAYER_NET_TUNED, *TWO_LAYER_NET_TUNED_TRIED)),
    Curves("Optimizers", (CONV_NET_TUNED, *CONV_NET_TUNED_OPTIMIZERS)),
    Curves("Learning rates", (CONV_NET_TUNED, *CONV_NET_TUNED_RATES)),
    Curves("Augmentation, length and architecture", (CONV_NET_TUNED, *CONV_NET_TUNED_TRIED)),
    Curves("Fine-tuned for 20 and 60 epochs", (STL10_FINETUNED_20, STL10_FINETUNED_60)),
    Curves("Fine-tuned, frozen and from scratch", STL10),
)

RATE_1E3, RATE_1E1, RATE_5E1 = CONV_NET_TUNED_RATES
EVERYTHING, AFTER_20, CONV_NET_5X5 = CONV_NET_TUNED_TRIED
# A gain under one percentage point is "nothing": most accuracies of the report are printed in whole per cent. Twice
# guessing is a free choice.
CLAIMS = (
    Claim(
        "Convolution beats dense layers: by about 11 percentage points at first, by about 34 once tuned.",
        (gains(CONV_NET, TWO_LAYER_NET, about=11), gains(CONV_NET_TUNED, TWO_LAYER_NET_TUNED, about=34)),
    ),
    Claim(
        "For the convolutional network SGD with momentum beats Adam, RMSprop and Adagrad.",
        tuple(beats(CONV_NET_TUNED, other) for other in CONV_NET_TUNED_OPTIMIZERS),
    ),
    Claim(
        "Learning rates of 0.1 and 0.5 diverge: the convolutional network does no better than twice guessing.",
        tuple(Bound(of=one, measure=TEST_ACCURACY_OR_GUESSING, most=2) for one in (RATE_1E1, RATE_5E1)),
    ),
    Claim(
        "A learning rate of 0.001 is slow for the convolutional network.",
        (Bound(of=RATE_1E3, over=CONV_NET_TUNED, measure=epochs_to(0.9), least=0),),
    ),
    Claim("All augmentations at once make the convolutional network worse.", (beats(CONV_NET_TUNED, EVERYTHING),)),
    Claim(
        "After 20 epochs instead of 50 the convolutional network has not converged.", (beats(CONV_NET_TUNED, AFTER_20),)
    ),
    Claim("Two 5x5 convolutions with max-pooling are worse.", (beats(CONV_NET_TUNED, CONV_NET_5X5),)),
    Claim("For the dense network Adam beats SGD.", (beats(TWO_LAYER_NET_TUNED, TWO_LAYER_NET_TUNED_SGD),)),
    Claim(
        "A hidden layer of 512 is worse than one of 64.",
        (beats(TWO_LAYER_NET_TUNED_HIDDEN_64, TWO_LAYER_NET_TUNED_HIDDEN_512),),
    ),
    Claim(
        "For the dense network a batch of 64 is worse than one of 128.",
        (beats(TWO_LAYER_NET_TUNED, TWO_LAYER_NET_TUNED_BATCH_64),),
    ),
    Claim(
        "For the dense network 50 epochs gain nothing over 20: less than one percentage point.",
        (Bound(of=TWO_LAYER_NET_TUNED_50, over=TWO_LAYER_NET_TUNED, most=1),),
    ),
    Claim(
        "For the dense network a learning rate of 0.01 is worse than 0.001.",
        (beats(TWO_LAYER_NET_TUNED, TWO_LAYER_NET_TUNED_1E2, measure=TEST_ACCURACY_OR_GUESSING),),
    ),
    Claim(
        "On STL-10, 60 epochs of fine-tuning add nothing over 20: less than one percentage point.",
        (Bound(of=STL10_FINETUNED_60, over=STL10_FINETUNED_20, most=1),),
    ),
)

if __name__ == "__main__":
    from kmodels.script import main

    main(EXPERIMENTS, __doc__, figures=FIGURES, claims=CLAIMS)
