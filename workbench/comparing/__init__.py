"""The parts of the compare view: the table of figures and verdicts, and the scatter."""
