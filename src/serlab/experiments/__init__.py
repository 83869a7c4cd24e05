"""Experiments: comparisons, their runs, parallel runs, and models for deployment."""
