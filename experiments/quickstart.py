"""From nothing to a trained, measured and explained network in half a minute, without downloading data.

    python experiments/quickstart.py

Trains a LeNet-like network on scikit-learn's handwritten digits (1,797 real scans) and leaves under
results/quickstart/ a record, the training curves, the confusion matrix, a Grad-CAM picture and a page with them all.
Expected: 96 to 99 % of the test images, in about half a minute on two CPU cores.
"""

from kmodels.experiment import Experiment

DIGITS = Experiment(
    name="quickstart/digits",
    description="LeNet-like network on handwritten digits, Adam",
    dataset="digits",
    image_size=32,
    model="conv_net",
    learning_rate=0.002,
    batch_size=32,
    epochs=30,
    patience=8,
)

EXPERIMENTS, FIGURES, CLAIMS = [DIGITS], (), ()

NEXT = """What to try next:
  python experiments/quickstart.py --learning-rate 0.02 --seeds 1 2      another rate, two seeds
  kmodels train DIR                                                      your own photographs, DIR/<class>/<file>
  python experiments/cifar10_small_cnns.py --list                        the experiments of a report
  kmodels --help                                                         data, networks, Grad-CAM, reports"""

if __name__ == "__main__":
    from kmodels.script import main

    main([DIGITS], __doc__, draw=True, closing=NEXT)
