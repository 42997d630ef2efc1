"""The RFCs' nouns, pure and synchronous: no socket, no clock, no file, no environment."""
