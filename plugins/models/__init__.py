"""Whole models: the user's own, and pretrained ones."""
