#!/usr/bin/env python3
"""A few of the random faults (faults.py), of each kind and in each phase; or as many as the arguments say."""
import sys

import faults

if __name__ == "__main__":
    sys.argv[1:] = sys.argv[1:] or ["--count", "6", "--seed", "20"]
    faults.main()
