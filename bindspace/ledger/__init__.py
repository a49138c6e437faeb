"""The ledger: what the weights of a space have seen. NumPy only.

`bindspace.ledger.file` says how it is kept, `bindspace.ledger.observer` how it comes about (torch).
"""

from bindspace.ledger.ledger import Ledger, said

__all__ = ["Ledger", "said"]
