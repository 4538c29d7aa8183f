"""The steps, one a file; the tables as they were are written out in each, since tables.py moves on."""
