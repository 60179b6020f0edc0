"""``mimplug.utils`` as tools of OpenMMLab use it."""
from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.unit


def run(code):
    """Output of a fresh process."""
    return subprocess.run([sys.executable, '-W', 'ignore', '-c', code],
                          text=True, check=True,
                          capture_output=True).stdout.split()


def test_register_all_modules_fills_and_sets_the_scope():
    assert run(
        'from mimplug.utils import register_all_modules\n'
        'from mmengine.registry import DefaultScope, MODELS\n'
        'register_all_modules()\n'
        'register_all_modules()\n'
        'print(DefaultScope.get_current_instance().scope_name)\n'
        "print(MODELS.children['mimplug'].module_dict['IBOT'].__name__)"
    )[-2:] == ['mmpretrain', 'IBOT']


def test_register_all_modules_can_leave_the_scope_alone():
    assert run(
        'from mimplug.utils import register_all_modules\n'
        'from mmengine.registry import DefaultScope\n'
        'register_all_modules(init_default_scope=False)\n'
        'print(DefaultScope.get_current_instance())')[-1] == 'None'
