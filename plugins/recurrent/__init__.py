"""Recurrent mixers: a state is carried from token to token."""
