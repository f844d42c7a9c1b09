"""Small programs to read and to run: ``python -m medai_engine.examples.<name>``."""
