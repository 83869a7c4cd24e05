"""Export of models to ONNX: from samples to probabilities in one file, without serlab or torch at run time."""
