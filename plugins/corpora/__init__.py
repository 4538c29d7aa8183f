"""Corpora: real text, how it is split and tokenised, its fingerprint."""
