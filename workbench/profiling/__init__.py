"""What the profile view shows: where a training step of a run spends its time and memory."""
