"""The benchmark's lines: each compares two things that were measured in turn in one process.

measure.py has the rounds and the rows, setting.py what is measured on, every other module a line or two; hands/benchmark
needs a packed set and the dataset that it was made of, and writes nothing but below a folder that it is given.
"""
