"""Makes sure that ``import cv2`` works in this environment.

MMCV depends on the GUI build of OpenCV, which needs libGL. Machines without
a desktop often lack it; there the build without a GUI, of the same version,
takes its place. Run it with the Python of the environment.
"""
from __future__ import annotations

import subprocess
import sys
from importlib import metadata

GUI, HEADLESS = 'opencv-python', 'opencv-python-headless'


def import_error() -> str:
    """Returns why cv2 cannot be imported, or an empty string if it can."""
    result = subprocess.run([sys.executable, '-c', 'import cv2'],
                            capture_output=True, text=True)
    return result.stderr.strip() if result.returncode else ''


def pip(*arguments: str) -> None:
    """Runs pip in this environment; a failure raises."""
    subprocess.run(
        [sys.executable, '-m', 'pip', '--disable-pip-version-check', '-qq',
         *arguments], check=True)


def swap_to_headless() -> str:
    """Replaces the GUI build by the headless one; returns its version."""
    version = metadata.version(GUI)
    # Both own the folder cv2/: remove what is there, then install one.
    pip('uninstall', '-y', GUI, HEADLESS)
    pip('install', '--no-deps', f'{HEADLESS}=={version}')
    return version


def main() -> int:
    """Checks, swaps if that can help, checks again."""
    error = import_error()
    if not error:
        return 0
    last_line = error.splitlines()[-1]
    try:
        version = swap_to_headless()
    except (metadata.PackageNotFoundError, subprocess.CalledProcessError):
        print(f'cv2 cannot be imported: {last_line}', file=sys.stderr)
        return 1
    error = import_error()
    if error:
        print(f'cv2 still cannot be imported:\n{error}\nInstall the missing '
              'system library, e.g. `apt-get install libgl1 libglib2.0-0`.',
              file=sys.stderr)
        return 1
    print(f'cv2: the GUI build does not load here ({last_line}); replaced '
          f'by {HEADLESS} {version}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
