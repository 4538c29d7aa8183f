"""Noise and penalties that keep a model from memorising."""
