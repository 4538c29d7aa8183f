"""A comparison as text, tables, figures and pages."""
