"""``python -m medai_engine`` is the ``medai`` command."""

import sys

from .cli import main

sys.exit(main())
