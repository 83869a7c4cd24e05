"""Models for others: ONNX files that run without serlab and torch, and publication on the Hugging Face hub."""
