"""Networks for plugin authors: `trunks`, `timm_trunk`, `picture_config`, `heads`, `adapters`.

Each is imported by its own name, since each needs other libraries.
"""
