"""Captions of an event: six sentence templates, a few synonyms per word, and omitted attributes."""

from __future__ import annotations

from collections.abc import Iterator

from .attributes import ATTRIBUTES, Events

SAID = {
    "shape": 0.95,
    "material": 0.92,
    "size": 0.60,
    "motion": 0.95,
    "vigour": 0.55,
    "surface": 0.70,
    "colour": 0.75,
    "temperature": 0.60,
}
# The attribute's own word comes first, and is the most frequent one.
WORDS = {
    "sphere": ("sphere", "ball", "globe", "orb"),
    "cube": ("cube", "block", "box"),
    "cylinder": ("cylinder", "drum", "can"),
    "cone": ("cone", "funnel"),
    "torus": ("torus", "ring", "donut", "hoop"),
    "pyramid": ("pyramid", "tetrapod"),
    "metal": ("metal", "steel", "iron"),
    "wood": ("wood", "wooden", "timber"),
    "glass": ("glass", "glassy", "crystal"),
    "rubber": ("rubber", "rubbery"),
    "ceramic": ("ceramic", "porcelain", "china"),
    "stone": ("stone", "rock", "granite"),
    "small": ("small", "little", "tiny"),
    "medium": ("medium", "average", "middling"),
    "large": ("large", "big", "huge"),
    "bouncing": ("bouncing", "hopping", "jumping"),
    "rolling": ("rolling", "tumbling"),
    "spinning": ("spinning", "whirling", "twirling"),
    "shaking": ("shaking", "jiggling", "rattling"),
    "sliding": ("sliding", "gliding", "skidding"),
    "swinging": ("swinging", "dangling", "swaying"),
    "gently": ("gently", "slowly", "softly"),
    "vigorously": ("vigorously", "wildly", "fast"),
    "grass": ("grass", "lawn", "meadow"),
    "sand": ("sand", "dune", "beach"),
    "tile": ("tile", "tiles", "tiled"),
    "planks": ("planks", "boards", "decking"),
    "red": ("red", "crimson", "scarlet"),
    "orange": ("orange", "amber"),
    "yellow": ("yellow", "golden"),
    "green": ("green", "emerald"),
    "blue": ("blue", "navy", "azure"),
    "purple": ("purple", "violet"),
    "cold": ("cold", "icy", "frozen"),
    "mild": ("mild", "tepid", "lukewarm"),
    "hot": ("hot", "burning", "glowing"),
}
_UNSAID = {"shape": ("object", "thing", "item"), "motion": ("moving", "in motion")}
_ARTICLES = ("a", "the", "one", "some")
_PLACES = ("on the", "over the", "across the", "on some")
TEMPLATES = (
    "{thing} {motion} {vigour} {place}",
    "{thing} is {motion} {vigour} {place}",
    "{vigour} {motion} , {thing} {place}",
    "{place} {thing} is {motion} {vigour}",
    "we see {thing} {motion} {vigour} {place}",
    "{motion} {vigour} {place} : {thing}",
)


def captions(events: Events, alternatives: int = 1) -> list[list[str]]:
    """This many sentences for each event; a sentence does not depend on their number."""
    written = [_sentences(events, number) for number in range(alternatives)]
    return [list(sentences) for sentences in zip(*written)]


def _sentences(events: Events, number: int) -> list[str]:
    """The sentence of this number for each event."""
    draws = events.draws(f"text {number}")
    units = draws.uniform(0, 1, len(ATTRIBUTES) * 2 + 4)
    return [_sentence(events.labels(i), iter(units[i].tolist())) for i in range(len(events))]


def _pick(options: tuple[str, ...], unit: float) -> str:
    """One of the options; the first is the likeliest."""
    return options[int(unit * unit * len(options))]


def _sentence(labels: dict[str, str], units: Iterator[float]) -> str:
    """One sentence from the labels and a run of uniform numbers."""
    said = {}
    for name, label in labels.items():
        keep, which = next(units), next(units)
        options = WORDS[label] if keep < SAID[name] else _UNSAID.get(name, ("",))
        said[name] = _pick(options, which)
    template = TEMPLATES[int(next(units) * len(TEMPLATES))]
    article = _ARTICLES[int(next(units) * len(_ARTICLES))]
    place = _PLACES[int(next(units) * len(_PLACES))]
    order = ("size", "temperature", "colour", "material", "shape")
    if next(units) < 0.5:
        order = ("temperature", "size", "colour", "material", "shape")
    thing = " ".join([article, *(said[name] for name in order)])
    place = f"{place} {said['surface']}" if said["surface"] else ""
    text = template.format(thing=thing, place=place, motion=said["motion"], vigour=said["vigour"])
    words = [word for word in text.split() if word]
    return _tidy(words)


def _tidy(words: list[str]) -> str:
    """Joins words; no punctuation at the ends, `an` before a vowel."""
    while words and words[0] in ",:":
        words = words[1:]
    words = [
        "an" if word == "a" and after[:1] in tuple("aeiou") else word for word, after in zip(words, [*words[1:], ""])
    ]
    return " ".join(words).replace(" ,", ",").replace(" :", ":")
