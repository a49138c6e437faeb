"""Files and media, for plugin authors too: `files`, `progress`, `pictures`, `sounds`, `sequences`, `fingerprints`.

Each is imported by its own name, since each needs other libraries.
"""
