"""Networks and classical models: registry, training targets, save and load."""
