"""The parts of the runs view: the tables and the curves that follow runs."""
