"""What the studies view shows: one study, as it is measured and as it was."""
