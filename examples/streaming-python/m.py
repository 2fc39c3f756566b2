#!/usr/bin/python3
"""Word count, the mapper: one line `word TAB 1` for each word of its input."""

import sys

# Bytes, not text: what is in a file need not be UTF-8, and keys are compared as bytes anyway. One dictionary
# for the whole split would save most of the lines, but a combiner does the same without being asked.
out = sys.stdout.buffer
for line in sys.stdin.buffer:
    for word in line.split():
        out.write(word + b"\t1\n")
