"""Attention mixers: a token reads the tokens before it."""
