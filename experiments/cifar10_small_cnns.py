"""Which small network, optimizer, batch size and augmentation do best on CIFAR-10?

    python experiments/cifar10_small_cnns.py --list
    python experiments/cifar10_small_cnns.py model4 --seeds 0 1 2
    python experiments/cifar10_small_cnns.py --smoke

Model 1 is trained eight ways (m1 to m8), then five networks of five convolutions (model2 to model6) in one way. A
fifth of the training images is split off for validation; training stops when val_loss has not fallen for ten epochs,
and the weights of the lowest val_loss are tested.

The report leaves open, and this file chooses: at most 500 epochs (the longest published run took 320); pixels from 0
to 1, without normalisation; rotation by up to 15 degrees; momentum 0.9 for SGD (an assumption: the report says only
SGD); and in kmodels/models/small_cnns.py the widths of model 1, the dropout rate and the position of the layers of
model 6. Rotated pixels are interpolated; PyTorch's RandomRotation takes the nearest ones by default.

Cost on two CPU cores, with 4,000 training images (`--subset 5000`): an epoch of model 1 takes about 3 s, of models 2
to 6 about 30 s. The results are in results/README.md.
"""

from dataclasses import replace

from kmodels.experiment import Experiment, Published
from kmodels.report.claims import Claim, beats, gains
from kmodels.report.figures import Curves

M1 = Experiment(
    name="cifar10_small_cnns/m1",
    description="Model 1, no augmentation, Adam",
    published=Published(
        epochs=70,
        train_loss=0.602,
        train_accuracy=0.7855,
        val_loss=1.000,
        val_accuracy=0.6808,
        test_accuracy=0.6797,
    ),
    dataset="cifar10",
    model="model1",
    augmentation="none",
    optimizer="adam",
    learning_rate=0.001,
    batch_size=256,
    epochs=500,
    patience=10,
)
M2 = replace(
    M1,
    name="cifar10_small_cnns/m2",
    description="M1 with learning rate 0.003",
    learning_rate=0.003,
    published=Published(
        epochs=27,
        train_loss=0.714,
        train_accuracy=0.7463,
        val_loss=0.981,
        val_accuracy=0.6748,
        test_accuracy=0.6812,
    ),
)
M3 = replace(
    M1,
    name="cifar10_small_cnns/m3",
    description="M1 with learning rate 0.005",
    learning_rate=0.005,
    published=Published(
        epochs=39,
        train_loss=0.712,
        train_accuracy=0.7441,
        val_loss=0.999,
        val_accuracy=0.6676,
        test_accuracy=0.6624,
    ),
)
M4 = replace(
    M1,
    name="cifar10_small_cnns/m4",
    description="M1 with learning rate 0.01",
    learning_rate=0.01,
    published=Published(
        epochs=34,
        train_loss=0.864,
        train_accuracy=0.6989,
        val_loss=1.047,
        val_accuracy=0.6533,
        test_accuracy=0.6448,
    ),
)
M5 = replace(
    M1,
    name="cifar10_small_cnns/m5",
    description="M1 with rotation and mirroring",
    augmentation="rotate_flip",
    published=Published(
        epochs=65,
        train_loss=0.818,
        train_accuracy=0.7112,
        val_loss=0.849,
        val_accuracy=0.703,
        test_accuracy=0.7074,
    ),
)
M6 = replace(
    M5,
    name="cifar10_small_cnns/m6",
    description="M5 with batch 512",
    batch_size=512,
    published=Published(
        epochs=136,
        train_loss=0.778,
        train_accuracy=0.7257,
        val_loss=0.785,
        val_accuracy=0.7274,
        test_accuracy=0.7256,
    ),
)
M7 = replace(
    M6,
    name="cifar10_small_cnns/m7",
    description="M6 with RMSprop",
    optimizer="rmsprop",
    published=Published(
        epochs=123,
        train_loss=0.963,
        train_accuracy=0.6617,
        val_loss=0.928,
        val_accuracy=0.6776,
        test_accuracy=0.6745,
    ),
)
M8 = replace(
    M6,
    name="cifar10_small_cnns/m8",
    description="M6 with SGD",
    optimizer="sgd",
    momentum=0.9,
    published=Published(
        epochs=320,
        train_loss=0.988,
        train_accuracy=0.6509,
        val_loss=0.989,
        val_accuracy=0.6529,
        test_accuracy=0.6587,
    ),
)
MODEL2 = replace(
    M6,
    name="cifar10_small_cnns/model2",
    description="five convolutions, dropout, four batch norms",
    model="model2",
    published=Published(
        epochs=30,
        train_loss=0.698,
        train_accuracy=0.7543,
        val_loss=0.791,
        val_accuracy=0.7393,
        test_accuracy=0.7255,
    ),
)
MODEL3 = replace(
    MODEL2,
    name="cifar10_small_cnns/model3",
    description="five convolutions, dropout, no batch norm",
    model="model3",
    published=Published(
        epochs=95,
        train_loss=0.7299,
        train_accuracy=0.7431,
        val_loss=0.701,
        val_accuracy=0.7545,
        test_accuracy=0.7534,
    ),
)
MODEL4 = replace(
    MODEL2,
    name="cifar10_small_cnns/model4",
    description="five convolutions, dropout, two batch norms",
    model="model4",
    published=Published(
        epochs=91,
        train_loss=0.595,
        train_accuracy=0.7899,
        val_loss=0.578,
        val_accuracy=0.8005,
        test_accuracy=0.7929,
    ),
)
MODEL5 = replace(
    MODEL4,
    name="cifar10_small_cnns/model5",
    description="Model 4 without dropout",
    model="model5",
    published=Published(
        epochs=59,
        train_loss=0.5628,
        train_accuracy=0.8026,
        val_loss=0.6177,
        val_accuracy=0.7917,
        test_accuracy=0.78,
    ),
)
MODEL6 = replace(
    MODEL4,
    name="cifar10_small_cnns/model6",
    description="Model 4 with dropout and batch norm after other layers",
    model="model6",
    published=Published(
        epochs=78,
        train_loss=0.6841,
        train_accuracy=0.7587,
        val_loss=0.644,
        val_accuracy=0.779,
        test_accuracy=0.7781,
    ),
)

EXPERIMENTS = (M1, M2, M3, M4, M5, M6, M7, M8, MODEL2, MODEL3, MODEL4, MODEL5, MODEL6)

FIGURES = (
    Curves("Without and with augmentation", (M1, M5)),
    Curves("Adam, RMSprop and SGD", (M6, M7, M8)),
    Curves("Batch 256 and 512", (M5, M6)),
    Curves("Models 2 to 6", (MODEL2, MODEL3, MODEL4, MODEL5, MODEL6)),
)

CLAIMS = (
    Claim("Augmentation gains two to five percentage points.", (gains(M5, M1, about=(2, 5)),)),
    Claim("Adam beats RMSprop, which beats SGD.", (beats(M6, M7), beats(M7, M8))),
    Claim("A batch of 512 beats one of 256.", (beats(M6, M5),)),
    Claim(
        "Two well-placed batch normalisations (model 4) beat four (model 2) and none (model 3).",
        (beats(MODEL4, MODEL2), beats(MODEL4, MODEL3)),
    ),
    Claim("Leaving out dropout (model 5) costs about one percentage point.", (gains(MODEL4, MODEL5, about=1),)),
)

if __name__ == "__main__":
    from kmodels.script import main

    main(EXPERIMENTS, __doc__, figures=FIGURES, claims=CLAIMS)
