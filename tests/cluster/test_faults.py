#!/usr/bin/env python3
"""A few of the random faults (faults.py), each kind once and one of them twice."""
import sys

import faults

if __name__ == "__main__":
    sys.argv[1:] = sys.argv[1:] or ["--count", "5", "--seed", "2"]
    faults.main()
