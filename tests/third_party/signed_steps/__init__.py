"""Plugins for the Efficiency Workbench."""
