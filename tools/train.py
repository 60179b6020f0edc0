"""Trains from a config; the same as ``mimplug train``."""
import sys

from mimplug.cli import main

if __name__ == '__main__':
    sys.exit(main(['train', *sys.argv[1:]]))
