"""Migrations of the store, run by Alembic; each file in versions is one step, numbered."""
