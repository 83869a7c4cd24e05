"""Using a trained model on files."""
