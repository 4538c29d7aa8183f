"""Benchmarks: each file measures one promise against its peer in one interleaved run and prints ratios. `make bench` runs them all."""
