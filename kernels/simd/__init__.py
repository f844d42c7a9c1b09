"""Vector texts, one source for every instruction set."""
