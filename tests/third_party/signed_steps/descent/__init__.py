"""Plugins for the Efficiency Workbench: descent directions."""
