"""serlab: train, compare and judge speech emotion recognition models on speakers they have never heard."""
