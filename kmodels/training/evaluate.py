"""Old names of kmodels/analysis/evaluation.py."""

from kmodels.analysis.evaluation import evaluate_logits as evaluation_of_logits
from kmodels.analysis.evaluation import evaluate_predictions as evaluation

__all__ = ["evaluation", "evaluation_of_logits"]
