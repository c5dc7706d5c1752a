"""The benchmark's lines: each compares two things that were measured in turn in one process.

May import all other packages. Read lines.py first; measure.py has the rounds and the rows, setting.py what is measured on,
every other module a line or two. Nothing is written but below a folder that it is given.
"""
