"""One short file for each published system, composed of what is below; and the demo."""

from likewise.recipes.registry import Recipe, load_recipe, recipe_summaries

__all__ = ["Recipe", "load_recipe", "recipe_summaries"]
