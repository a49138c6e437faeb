"""Manifests that cannot be trained or measured on: said before the first step, and nothing is left."""

from __future__ import annotations

import json
import re

import pytest

A, B = {"id": "a", "image": "0.png", "text": "a"}, {"id": "b", "image": "1.png", "text": "b"}
MANIFESTS = {
    "empty": ("", r"is empty: a manifest needs at least one row, see `bindspace manifest --help`"),
    "blank": ("\n \n", r"is empty: a manifest needs at least one row"),
    "cut off": (json.dumps(A)[:-1], r"line 1 is not JSON .*: each line is one object"),
    "duplicate ids": (
        [A, {**B, "id": "a"}],
        r"ids must be unique, but .* has 'a' in rows 1 and 2: give each event its own",
    ),
    "without any column": (
        [{"id": "a", "imgae": "0.png", "words": "a"}],
        r"needs columns image or text.*; unknown column 'image': did you mean 'imgae'\? \(available: imgae, words\); "
        "the name of a column is the modality that it holds",
    ),
}


@pytest.fixture(params=MANIFESTS)
def bad(request, tmp_path):
    """A bad manifest as a list of sources, and the sentence that it gets."""
    content, sentence = MANIFESTS[request.param]
    path = tmp_path / "manifest.jsonl"
    path.write_text(content if isinstance(content, str) else "".join(json.dumps(row) + "\n" for row in content))
    return f"[{{path: '{path}'}}]", sentence


def test_a_bad_manifest_is_not_trained_on(refused, train, bad, place):
    path, sentence = bad
    assert re.search(sentence, refused(*train[:-1], f"data.train={path}", "out=mine"))
    assert re.search(sentence, refused(*train[:-1], f"data.train={path}"))
    assert list(place.iterdir()) == []


def test_a_bad_manifest_is_not_measured_on(refused, train, space, bad, place):
    path, sentence = bad
    assert re.search(sentence, refused("benchmark", f"space={space}", f"data.test={path}", "out=report"))
    assert re.search(sentence, refused(*train, f"data.test={path}"))  # before training, not after
    assert list(place.iterdir()) == []


def test_a_manifest_that_is_missing_is_named_with_the_folder_that_was_looked_in(refused, train, space, place):
    sentence = r"no manifest at nowhere\.jsonl: looked in .*here; `bindspace manifest` writes one"
    sources = "[{path: nowhere.jsonl}]"
    assert re.search(sentence, refused(*train[:-1], f"data.train={sources}"))
    assert re.search(sentence, refused("benchmark", f"space={space}", f"data.test={sources}", "out=report"))
    assert re.search(sentence, refused("embed", f"space={space}", "data=nowhere.jsonl", "out=z.npz"))
    assert list(place.iterdir()) == []


def test_a_manifest_without_one_side_of_a_pair_is_told_which_columns_to_add(refused, train, source, space, place):
    path = f"[{source([A, B])}]"
    said = refused(*train[:-1], "modality=[image,text,audio]", f"data.train={path}")
    assert "no source in data.train holds both sides of the pair image-audio: add one with the columns" in said
    said = refused(
        "benchmark", f"space={space}", f"data.test={path}", "benchmark.modalities=[image,audio]", "out=report"
    )
    assert "unknown column 'audio'" in said
    assert "leave the modality out, or add its column" in said
    assert list(place.iterdir()) == []
