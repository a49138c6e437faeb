"""Lightning's advice that does not apply here is kept off the terminal."""

import logging
import warnings

ADVICE = (
    r".*does not have many workers.*",  # data.workers is a setting, and vectors of frozen towers need none
    r".*module\(s\) in eval mode at the start of training.*",  # frozen towers are
    r".*You're resuming from a checkpoint that ended before the epoch ended.*",  # the sampler starts where it stopped
    r".*LeafSpec.*",  # Lightning 2.6 beside torch 2.11
    r".*The number of training batches .* is smaller than the logging interval.*",
)


def quiet() -> None:
    """Filters what Lightning says about frozen towers and workers, and its lines on devices; errors stay."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    for message in ADVICE:
        warnings.filterwarnings("ignore", message=message)
