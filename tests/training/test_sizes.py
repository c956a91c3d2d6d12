"""Sizes are written width first."""

from argparse import ArgumentTypeError

import pytest

from data.sizes import read_size, write_size


def test_sizes_are_read_width_first():
    assert read_size("1280x720") == (1280, 720)
    assert read_size("768x768", least=32) == (768, 768)
    assert read_size("720wx1280h") == (720, 1280)
    assert read_size("1280wx720h") == (1280, 720)
    for size in ((1280, 720), (768, 768), (720, 1280)):
        assert read_size(write_size(*size)) == size


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("768x1280", "write 1280x768, or for an upright picture 768wx1280h"),
        ("16x16", "expected WIDTHxHEIGHT from 32x32 up, got '16x16'"),
        ("1280", "expected WIDTHxHEIGHT"),
        ("1280x720p", "expected WIDTHxHEIGHT"),
    ],
)
def test_what_may_mean_two_things_is_refused(text, message):
    with pytest.raises(ArgumentTypeError, match=message):
        read_size(text, least=32)
