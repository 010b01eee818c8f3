"""Settings of a training: one list of names and defaults, and TOML text to keep them in."""

from likewise.settings.fields import Rule, setting
from likewise.settings.toml import read_toml, toml_text, toml_value
from likewise.settings.training import (
    TrainingSettings,
    merged_settings,
    settings_from_assignments,
    settings_from_mapping,
)

__all__ = [
    "Rule",
    "TrainingSettings",
    "merged_settings",
    "read_toml",
    "setting",
    "settings_from_assignments",
    "settings_from_mapping",
    "toml_text",
    "toml_value",
]
