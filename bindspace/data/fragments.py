"""Media fragments: a part of a file, named after `#` (W3C, Media Fragments URI 1.0, section 4.2)."""

from __future__ import annotations

import math
import re

from bindspace.contract import BadSample

Fragment = dict[str, tuple[float, ...]]

_SECONDS = r"\d+(?:\.\d*)?"
_CLOCK = r"(?:(\d+):)?([0-5]?\d):([0-5]?\d(?:\.\d*)?)"


def split_fragment(cell: str) -> tuple[str, Fragment]:
    """A cell's path and its fragment: `t` = (start, end) in seconds, `xywh` = (x, y, width, height) in pixels.

    What follows the last `#` is a fragment if one of its `&` parts begins with `t=` or `xywh=`, and belongs to the file
    name otherwise; other parts are ignored. An open end is infinity. Raises `BadSample` for a malformed one.

    >>> split_fragment("a.flac#t=12,22")
    ('a.flac', {'t': (12.0, 22.0)})
    """
    path, mark, text = cell.rpartition("#")
    parts = [part.partition("=") for part in text.split("&")] if mark else []
    known = {name: value for name, equals, value in parts if equals and name in ("t", "xywh")}
    if not known:
        return cell, {}
    parse = {"t": _time, "xywh": _region}
    return path, {name: parse[name](value) for name, value in sorted(known.items())}


def canonical(fragment: Fragment) -> str:
    """One text for each fragment, however it was written; empty for none.

    >>> canonical(split_fragment("a.flac#t=,5")[1])
    't=0.0,5.0'
    """
    return "&".join(f"{name}={','.join(map(repr, values))}" for name, values in sorted(fragment.items()))


def _time(text: str) -> tuple[float, float]:
    start_text, comma, end_text = text.removeprefix("npt:").partition(",")
    start = 0.0 if comma and not start_text else _seconds(start_text, text)
    end = math.inf if not comma else _seconds(end_text, text)
    if not start < end:
        raise BadSample(f"expected a fragment t=start,end with start before end, got t={text}")
    return start, end


def _seconds(text: str, whole: str) -> float:
    if re.fullmatch(_SECONDS, text, re.ASCII):
        return float(text)
    if clock := re.fullmatch(_CLOCK, text, re.ASCII):
        hours, minutes, seconds = clock.groups()
        return 3600.0 * int(hours or 0) + 60.0 * int(minutes) + float(seconds)
    raise BadSample(f"expected a fragment t=start,end in seconds, got t={whole}")


def _region(text: str) -> tuple[float, ...]:
    if text.startswith("percent:"):
        raise BadSample(f"expected a fragment xywh=x,y,width,height in pixels, got percent: xywh={text}")
    numbers = text.removeprefix("pixel:").split(",")
    if len(numbers) != 4 or not all(re.fullmatch(r"\d+", number, re.ASCII) for number in numbers):
        raise BadSample(f"expected a fragment xywh=x,y,width,height in whole pixels, got xywh={text}")
    x, y, width, height = map(float, numbers)
    if not width or not height:
        raise BadSample(f"expected a fragment xywh=x,y,width,height of some width and height, got xywh={text}")
    return x, y, width, height
