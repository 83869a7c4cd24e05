"""Front ends: pure functions from a clip's samples to features."""
