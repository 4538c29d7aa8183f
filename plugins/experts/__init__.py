"""Sparse experts: each token alone, through a few of many feed-forward blocks."""
