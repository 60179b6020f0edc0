"""Evaluates a checkpoint; the same as ``mimplug test``."""
import sys

from mimplug.cli import main

if __name__ == '__main__':
    sys.exit(main(['test', *sys.argv[1:]]))
