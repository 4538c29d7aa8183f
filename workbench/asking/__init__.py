"""What a finished model can be asked: to write and judge text, and which words are near each other."""
