"""``python -m medai_engine.examples.lesson``, the same as ``medai learn``."""

import sys

from ...cli import main

if __name__ == "__main__":
    sys.exit(main(["learn", *sys.argv[1:]]))
