#!/usr/bin/python3
"""Word count, the reducer, and the combiner: adds up the counts of each word.

Its input is sorted, so all lines of a word come one after the other, and only one word is held at a time.
"""

import itertools
import sys

out = sys.stdout.buffer
pairs = (line.rstrip(b"\n").split(b"\t", 1) for line in sys.stdin.buffer)
for word, group in itertools.groupby(pairs, key=lambda pair: pair[0]):
    out.write(b"%s\t%d\n" % (word, sum(int(count) for _, count in group)))
