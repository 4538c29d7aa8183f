"""The parts of the experiment editor: the draft being edited and the panels that show it."""
