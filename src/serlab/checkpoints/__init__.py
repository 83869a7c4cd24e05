"""Pretrained weights and folders of models: found, identified, read as plain tensors and JSON, and only then built."""
