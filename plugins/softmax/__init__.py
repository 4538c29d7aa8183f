"""Heads: hidden states become probabilities over a vocabulary."""
