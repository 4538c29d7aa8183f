"""What the machine view shows: facts, gauges, findings."""
