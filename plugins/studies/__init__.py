"""Studies: one operation measured over sizes."""
