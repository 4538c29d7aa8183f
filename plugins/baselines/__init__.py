"""Simple models that a neural one has to beat."""
