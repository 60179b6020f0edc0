"""``python -m mimplug`` is the command ``mimplug``."""
from __future__ import annotations

import sys

from mimplug.cli import main

if __name__ == '__main__':
    sys.exit(main())
