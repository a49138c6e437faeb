"""Checks a quickstart's report against a share of its floors: `floors.py report.json 0.8`. Exits with 1 below one."""

import json
import sys

RETRIEVAL = {  # pool, query, gallery -> R@k in 0..1
    ("main", "audio", "text"): {"1": 0.15, "10": 0.60},
    ("main", "text", "audio"): {"1": 0.18, "10": 0.65},
    ("held_out", "audio", "text"): {"10": 0.35},
    ("held_out", "text", "audio"): {"10": 0.35},
}
ZERO_SHOT = {"material": 0.45, "motion": 0.80}  # accuracy of audio
CONTROLS = ("colour", "temperature")  # what no sound can know


def main(path: str, share: float) -> list[str]:
    """What fails, one line each; prints every comparison."""
    with open(path, encoding="utf-8") as file:
        report = json.load(file)
    pools = {"main": report, **report["pools"]}
    lines = []

    def check(passed: bool, line: str) -> None:
        print(f"{'ok  ' if passed else 'FAIL'} {line}")
        if not passed:
            lines.append(line)

    for (pool, query, gallery), floors in RETRIEVAL.items():
        cell = find(pools[pool]["pairs"], query=query, gallery=gallery)
        check(cell["status"] == "emergent", f"{pool}: {query} -> {gallery} is {cell['status']}")
        for k, floor in floors.items():
            value, least = cell["recall"][k], share * floor
            check(value >= least, f"{pool}: {query} -> {gallery} R@{k} {value:.3f}, at least {least:.3f}")
        low, high = cell["shuffled95"]["10"]
        chance = cell["chance"]["10"]
        check(
            low <= chance <= high, f"{pool}: {query} -> {gallery} chance {chance:.3f} in shuffled {low:.3f}..{high:.3f}"
        )
    for attribute, floor in ZERO_SHOT.items():
        value = find(report["zero_shot"], modality="audio", attribute=attribute)["accuracy"]
        check(value >= share * floor, f"zero-shot of audio on {attribute} {value:.3f}, at least {share * floor:.3f}")
    for attribute in CONTROLS:
        cell = find(report["zero_shot"], modality="audio", attribute=attribute)
        low, high = cell["control999"]
        inside = low <= cell["accuracy"] <= high
        check(inside, f"control: audio on {attribute} {cell['accuracy']:.3f} in {low:.3f}..{high:.3f}")
    check(len(report["pairs"]) == 30, f"{len(report['pairs'])} ordered pairs, expected 30")
    return lines


def find(cells: list[dict], **wanted: str) -> dict:
    """The one cell with these values."""
    (cell,) = [cell for cell in cells if all(cell[key] == value for key, value in wanted.items())]
    return cell


if __name__ == "__main__":
    sys.exit(1 if main(sys.argv[1], float(sys.argv[2])) else 0)
