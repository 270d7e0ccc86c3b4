"""Numbers to matplotlib figures. Nothing here trains, or reads or writes a file.

Figures are built without pyplot: no window opens, no global state grows, and the caller says where they go:
`figure.savefig("curves.png")`.

curves.py: over epochs, learning rates or the values of another setting; evaluation.py: what a network gets right and
how sure it is; classes.py: single classes and groups of them; images.py: pictures with a network's predictions;
grids.py: pictures side by side; features.py: embeddings and feature maps; pixels.py: images as they are shown.
"""

from kmodels.packages import public

# Name -> the file it is in; imported when first used.
_HOME = {
    "class_comparison": "classes",
    "confusion_matrix": "evaluation",
    "embedding": "features",
    "feature_maps": "features",
    "grad_cam_layers": "images",
    "grad_cam_panels": "images",
    "image_grid": "grids",
    "learning_rate_test": "curves",
    "long_tail": "classes",
    "long_tail_accuracy": "classes",
    "mistakes": "images",
    "per_class_accuracy": "evaluation",
    "predictions": "images",
    "reliability_diagram": "evaluation",
    "sweep": "curves",
    "training_curves": "curves",
}

__all__ = sorted(_HOME)


def __getattr__(name):
    return public("kmodels.plots", {name: f"kmodels.plots.{file}" for name, file in _HOME.items()}, name)
