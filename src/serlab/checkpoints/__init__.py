"""Pretrained weights and model folders: find, identify and check them as plain tensors and JSON, then build them."""
