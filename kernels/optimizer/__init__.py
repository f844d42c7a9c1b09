"""One step of every optimiser."""
