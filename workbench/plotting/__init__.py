"""The parts of a plot of curves: lines at several scales, the picture they are drawn into, what is read off, what is written to files."""
