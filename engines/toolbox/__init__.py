"""Torch pieces that several plugins share, one file per family."""
