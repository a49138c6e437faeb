import json
import re
from itertools import permutations

import numpy as np
import pytest
import torch
from PIL import Image

from bindspace import Source
from bindspace.benchmark.cell import Kept, Side
from bindspace.benchmark.report.html import EXAMPLES, FOUND, Page, space_map
from bindspace.data import load_pool
from bindspace.data.tables import write_manifest
from bindspace.metrics.retrieval import match, ranks

EIGHT = torch.eye(8)


@pytest.fixture
def pool(install_toys, tmp_path):
    """Eight events that hold words and a vector; a word tries to end the script."""
    rows = []
    for i in range(8):
        np.save(tmp_path / f"{i}.npy", np.full(6, i, np.float32))
        rows.append({"id": f"e{i}", "vector": f"{i}.npy", "words": f"</script><b>word{i}</b>"})
    source = Source(str(write_manifest(rows, tmp_path / "manifest.jsonl")))

    class Shown(install_toys.VectorConfig):
        def show(self, sample):
            return Image.new("L", (400, 100), int(sample[0]))

        def play(self, sample):
            return bytes([int(sample[0])]), "audio/flac"

    return load_pool([source], {"vector": Shown(), "words": install_toys.WordsConfig()})


def sides(wrong=()):
    rows = EIGHT.clone()
    for i in wrong:
        rows[i] = EIGHT[(i + 1) % 8]
    own = [[i] for i in range(8)]
    return {name: Side(name, each, own, torch.arange(8)) for name, each in (("vector", rows), ("words", EIGHT))}


def kept(wrong=()):
    measured = Kept(sides(wrong))
    for a, b in permutations(measured.sides.values(), 2):
        rank = ranks(a.vectors, b.vectors, match(a.events, b.events))
        measured.ranks[f"{a.name}>{b.name}"] = torch.stack([rank, a.clusters])
    return measured


def report(name="main"):
    return {"protocol": {"modalities": ["vector", "words"]}, "pairs": [], "name": name}


def data_of(page):
    (text,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    return json.loads(text)


def test_the_best_and_the_worst_queries_are_shown_with_what_they_found(pool):
    page = Page()
    page.add("main", pool, kept(wrong=[5]))
    shown = page.examples["main"]["vector>words"]
    assert len(shown) == 2 * EXAMPLES
    assert [each["rank"] for each in shown[:EXAMPLES]] == [1] * EXAMPLES
    worst = shown[-1]
    assert (worst["query"], worst["rank"]) == ("main/vector/5", 8)  # the others tie with it, and ties stand against it
    assert worst["found"][0] == ["main/words/6", False]
    assert len(worst["found"]) == FOUND
    assert worst["right"] in (None, "main/words/5")
    assert set(page.items["main/vector/5"]) == {"name", "picture", "sound"}
    assert page.items["main/words/6"]["words"] == "</script><b>word6</b>"


def test_a_page_fetches_nothing_and_no_value_ends_its_script(pool):
    page = Page()
    page.add("main", pool, kept())
    text = page.render({"main": report()})
    assert not re.search(r"(src|href)\s*=\s*[\"']?(https?:)?//", text)
    assert "default-src 'none'" in text
    assert text.count("</script>") == 2  # its own two
    assert data_of(text)["items"]["main/words/0"]["words"].startswith("</script>")
    assert data_of(text)["pools"]["main"]["name"] == "main"


def test_pictures_are_small_and_a_plugin_without_show_gets_none(pool):
    page = Page()
    page.add("main", pool, kept())
    assert all(len(item.get("picture", "")) < 3000 for item in page.items.values())
    assert all("picture" not in item for key, item in page.items.items() if "/words/" in key)


def test_the_map_lies_in_the_unit_square_and_says_what_it_holds(pool):
    found = space_map(sides(), pool)
    assert len(found["points"]) == 16
    assert all(0 <= x <= 1 and 0 <= y <= 1 for x, y, *_ in found["points"])
    assert re.match(r"The first two principal components \(PCA\), \d+ % of the variance", found["words"])
    assert {point[2] for point in found["points"]} == {0, 1}


def test_a_page_without_examples_is_a_page_still():
    assert data_of(Page().render({"main": report(), "other": report("other")}))["pools"]["other"]["examples"] == {}
