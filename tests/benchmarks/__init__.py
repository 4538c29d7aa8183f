"""Benchmarks: each file measures one promise against its peer in one interleaved run and prints ratios.

`make bench` runs those of the foundation, whose reaches stand in `reaches.py`; `make bench-all` runs all.
"""
