"""``train`` and ``evaluate``: what the library offers in one call each."""

from likewise.api.fitting import train
from likewise.api.judging import TASKS, Evaluation, evaluate
from likewise.training import METHODS

__all__ = ["METHODS", "TASKS", "Evaluation", "evaluate", "train"]
