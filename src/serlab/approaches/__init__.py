"""Networks and classical models."""
