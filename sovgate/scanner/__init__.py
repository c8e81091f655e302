"""Looks into files for pickles by the real unpickler, in a bounded child (`child.Scanner`).

One child looks at all files of a model. Only `child` is for the rest of sovgate, and nothing is
imported here: the other modules run in the child, which starts the sooner.
"""
