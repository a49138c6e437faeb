"""Towers, preprocessing and files of ImageBind (Girdhar et al. 2023), written from a description of the official code.

`image.py`, `text.py`, `audio.py`, `maps.py` (depth, thermal) and `imu.py` hold the six implementations, `towers.py`
their arithmetic, `keys.py` the names of the official state dict, and `format.py` the format `imagebind`.
"""
