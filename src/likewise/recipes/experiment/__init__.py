"""What all recipes share: configuration, cells, the runner over seeds, the page of results."""

from likewise.recipes.experiment.config import RecipeConfig, config_from_mapping
from likewise.recipes.experiment.fitting import embedded, fit, thread_seconds
from likewise.recipes.experiment.outcome import Claim, Outcome, Paper, Scores, Table
from likewise.recipes.experiment.runner import Finding, Result, experiment

__all__ = [
    "Claim",
    "Finding",
    "Outcome",
    "Paper",
    "RecipeConfig",
    "Result",
    "Scores",
    "Table",
    "config_from_mapping",
    "embedded",
    "experiment",
    "fit",
    "thread_seconds",
]
