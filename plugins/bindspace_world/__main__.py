"""`python -m bindspace_world out.png [seed] [seen|held_out|all]`: a contact sheet for people."""

from __future__ import annotations

import sys
from pathlib import Path

from bindspace_world.contact import contact_sheet

if __name__ == "__main__":
    if not 2 <= len(sys.argv) <= 4:
        sys.exit(__doc__)
    options = dict(zip(("out", "seed", "combinations"), sys.argv[1:]))
    print(contact_sheet(Path(options["out"]), int(options.get("seed", 7)), options.get("combinations", "seen")))
