"""The verbs of the command line, one file per group; engines.cli imports only the one that is asked for."""
