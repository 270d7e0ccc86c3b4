"""Analysis of trained networks: takes a model and images, or arrays, and knows nothing of experiments."""

from kmodels.packages import public

# Name -> the file it is in; imported when first used.
_HOME = {
    "Evaluation": "evaluation",
    "LogisticHead": "heads",
    "NearestClassMean": "heads",
    "SVMHead": "heads",
    "balanced_accuracy": "metrics",
    "calibration": "metrics",
    "cam_layers": "cam",
    "choose_tau": "heads",
    "confusion_matrix": "metrics",
    "embed": "predict",
    "evaluate_logits": "evaluation",
    "evaluate_predictions": "evaluation",
    "feature_maps": "predict",
    "features": "predict",
    "grad_cam": "cam",
    "label_issues": "data_problems",
    "log_softmax": "metrics",
    "macro_f1": "metrics",
    "near_duplicates": "data_problems",
    "per_class_accuracy": "metrics",
    "predict_logits": "predict",
    "shot_accuracy": "metrics",
    "silhouette": "embeddings",
    "tau_normalised": "heads",
    "tsne": "embeddings",
}

__all__ = sorted(_HOME)


def __getattr__(name):
    return public("kmodels.analysis", {name: f"kmodels.analysis.{file}" for name, file in _HOME.items()}, name)
