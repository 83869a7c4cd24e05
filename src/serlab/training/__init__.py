"""One run: a recipe, a fold and a seed become a model and a prediction table."""
