"""Search for the rows of an output matrix with the largest inner product."""
