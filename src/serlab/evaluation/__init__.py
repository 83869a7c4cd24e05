"""What judges predictions: reads prediction tables, never imports torch."""
