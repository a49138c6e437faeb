import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bindspace import BadSample
from bindspace.data.fragments import canonical, split_fragment


@pytest.mark.parametrize(
    ("cell", "path", "fragment"),
    [
        ("a.flac", "a.flac", {}),
        ("a.flac#t=12,22", "a.flac", {"t": (12.0, 22.0)}),
        ("a.flac#t=,5", "a.flac", {"t": (0.0, 5.0)}),
        ("a.flac#t=12", "a.flac", {"t": (12.0, math.inf)}),
        ("a.flac#t=npt:1.5,2.25", "a.flac", {"t": (1.5, 2.25)}),
        ("a.flac#t=0:02:00,121.5", "a.flac", {"t": (120.0, 121.5)}),
        ("a.flac#t=02:00,02:01", "a.flac", {"t": (120.0, 121.0)}),
        ("a.png#xywh=1,2,3,4", "a.png", {"xywh": (1.0, 2.0, 3.0, 4.0)}),
        ("a.png#xywh=pixel:1,2,3,4", "a.png", {"xywh": (1.0, 2.0, 3.0, 4.0)}),
        ("a.mp4#track=1&xywh=0,0,3,4&t=1,2", "a.mp4", {"t": (1.0, 2.0), "xywh": (0.0, 0.0, 3.0, 4.0)}),
        ("a.flac#t=1,2&t=3,4", "a.flac", {"t": (3.0, 4.0)}),
        ("take#2.flac", "take#2.flac", {}),
        ("take#2.flac#t=1,2", "take#2.flac", {"t": (1.0, 2.0)}),
        ("a.flac#rate=8", "a.flac#rate=8", {}),
    ],
)
def test_a_fragment_is_told_from_a_file_name(cell: str, path: str, fragment: dict) -> None:
    assert split_fragment(cell) == (path, fragment)


TIMES = [
    "t=",
    "t=a",
    "t=5,2",
    "t=2,2",
    "t=1,2,3",
    "t=-1,2",
    "t=1,",
    "t=,",
    "t=smpte:1,2",
    "t=1e3,2e3",
    "t=nan",
    "t=٣,٥",
]
REGIONS = ["", "1,2,3", "1,2,0,4", "1.5,2,3,4", "-1,2,3,4", "percent:1,2,3,4", "a,b,c,d"]


@pytest.mark.parametrize("text", [*TIMES, *(f"xywh={region}" for region in REGIONS)])
def test_a_malformed_fragment_is_refused_with_what_it_was(text: str) -> None:
    with pytest.raises(BadSample, match="expected a fragment") as error:
        split_fragment(f"a.flac#{text}")
    assert text in str(error.value)


@given(st.floats(0, 1e6), st.floats(1e-3, 1e6))
def test_a_canonical_fragment_reads_back_as_itself(start: float, length: float) -> None:
    fragment = {"t": (start, start + length), "xywh": (1.0, 2.0, 3.0, 4.0)}
    written = f"a#t={start:.9f},{start + length:.9f}&xywh=1,2,3,4"
    parsed = split_fragment(written)[1]
    assert parsed["t"] == pytest.approx(fragment["t"], abs=1e-8)
    assert parsed["xywh"] == fragment["xywh"]


def test_spellings_of_one_fragment_have_one_canonical_text() -> None:
    spellings = ["t=0,5&xywh=1,2,3,4", "xywh=pixel:1,2,3,4&t=,5.0", "t=npt:0:00:00,5&xywh=1,2,3,4"]
    assert {canonical(split_fragment(f"a#{text}")[1]) for text in spellings} == {"t=0.0,5.0&xywh=1.0,2.0,3.0,4.0"}
    assert canonical({}) == ""
