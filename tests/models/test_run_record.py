"""What is recorded of a run, and what is compared later."""
from __future__ import annotations

import pytest
from torch import nn

from mimplug.errors import CheckpointError
from mimplug.models.run_record import (
    MARK,
    check_filter,
    make_record,
    mark_filtered,
    run_record,
    saved_record,
)
from mimplug.models.targets import HighPass, SpectralResidual

pytestmark = pytest.mark.unit
NOTHING = dict(input_filter=None, saliency=None)


def test_the_record_of_parts():
    assert make_record() == NOTHING
    record = make_record(HighPass(), SpectralResidual())
    assert record['input_filter'] == dict(
        type='mimplug.HighPass', kernel_size=11, sigma=5.0)
    assert record['saliency']['supervised'] is False


def test_who_says_it():
    model = nn.Sequential(nn.Identity())
    assert run_record(model) == NOTHING
    mark_filtered(model, None)
    assert not hasattr(model, MARK)
    mark_filtered(model, HighPass())
    assert getattr(model[0], MARK) == HighPass().record
    assert run_record(model) == make_record(HighPass())
    model.data_preprocessor = nn.Identity()
    model.data_preprocessor.run_record = lambda: make_record(HighPass(3, 1.0))
    assert run_record(model) == make_record(HighPass(3, 1.0))
    model.run_record = make_record
    assert run_record(model) == NOTHING


@pytest.mark.parametrize('content', [
    {}, None, 3, dict(meta=None), dict(meta={}), dict(meta=dict(mimplug=1))])
def test_files_that_do_not_say(content):
    assert saved_record(content) is None
    check_filter(saved_record(content), HighPass().record, 'x.pth')


def test_the_same_filter_passes():
    for part in (None, HighPass()):
        record = make_record(part)
        check_filter(saved_record(dict(meta=dict(mimplug=record))),
                     part and part.record, 'x.pth')


@pytest.mark.parametrize('saved, present, message', [
    (HighPass(), None,
     r"x\.pth was trained on filtered.*no input filter.*InputFilterHook"),
    (HighPass(), HighPass(3, 1.0), r'kernel_size=11.*kernel_size=3'),
    (None, HighPass(), 'trained on unfiltered images, but'),
])
def test_another_filter_is_refused(saved, present, message):
    with pytest.raises(CheckpointError, match=message):
        check_filter(make_record(saved), present and present.record, 'x.pth')


def test_the_message_holds_the_line_to_add():
    with pytest.raises(CheckpointError) as caught:
        check_filter(make_record(HighPass(5, 2.0)), None, 'x.pth')
    assert ("input_filter=dict(type='mimplug.HighPass', kernel_size=5, "
            'sigma=2.0)') in str(caught.value)
