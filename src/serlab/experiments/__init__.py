"""Running many things: a comparison, one run of it, several at once, a model for deployment."""
