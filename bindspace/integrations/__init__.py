"""Spaces in other people's frameworks: a module each, which imports its framework only when it is used."""
