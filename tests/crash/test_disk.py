"""The model of the disk itself: what may be lost of a few calls, and what may not."""
import os
import random
import unittest

import disk

NEW = os.O_CREAT | os.O_WRONLY


def call(kind, path="", to="", ino=0, at=0, data=b"", flags=0, error=0):
    return disk.Call(kind, error, 1, flags, ino, at, path, to, data)


def sync(ino, error=0):
    return call("sync", ino=ino, error=error)


WRITE_ASIDE = [call("open", "/a.tmp", ino=1, flags=NEW), call("write", "/a.tmp", ino=1, data=b"x" * 1000)]
RENAME = [call("rename", "/a.tmp", "/a")]
ROOT = [call("open", "/", ino=9)]
OLD = [call("open", "/a", ino=8, flags=NEW), call("write", "/a", ino=8, data=b"old"), sync(8), sync(9)]


def outcomes(calls, kinds=disk.KINDS_OF_STATES, tries=40):
    """What may be found under /a at the end, over all kinds of states: a set of bytes and None."""
    history = disk.History(calls)
    cut = len(history.events)
    return {history.state(cut, kind, random.Random(k)).get("a") for kind in kinds for k in range(tries)}


class Disk(unittest.TestCase):
    def test_synced_and_renamed_and_synced(self):
        self.assertEqual(outcomes([*ROOT, *OLD, *WRITE_ASIDE, sync(1), *RENAME, sync(9)]), {b"x" * 1000})

    def test_without_the_last_sync_the_old_or_the_new_one(self):
        self.assertEqual(outcomes([*ROOT, *OLD, *WRITE_ASIDE, sync(1), *RENAME]), {b"old", b"x" * 1000})

    def test_without_the_first_sync_anything(self):
        found = outcomes([*ROOT, *OLD, *WRITE_ASIDE, *RENAME, sync(9)])
        self.assertTrue({b"", b"x" * 1000, bytes(1000), b"x" * 512 + bytes(488)} <= found, {len(f) for f in found})
        self.assertNotIn(b"old", found)

    def test_ext4_keeps_order(self):
        # the sync of a later file commits the names before it, and leaves no holes in bytes
        later = [call("open", "/b", ino=2, flags=NEW), sync(2)]
        found = outcomes([*ROOT, *OLD, *WRITE_ASIDE, *RENAME, *later], ["ext4"])
        self.assertTrue(all(f == b"x" * len(f) for f in found), sorted(map(len, found)))
        self.assertTrue(b"" in found, sorted(map(len, found)))

    def test_a_failed_sync_promises_nothing_later(self):
        found = outcomes([*ROOT, *OLD, *WRITE_ASIDE, sync(1, error=5), sync(1), *RENAME, sync(9)])
        self.assertIn(b"", found)

    def test_a_sync_that_is_left_out(self):
        history = disk.History([*ROOT, *WRITE_ASIDE, sync(1), *RENAME, sync(9)])
        cut = len(history.events)
        self.assertEqual(history.state(cut, "least", None), {"a": b"x" * 1000})
        history.find_durable({cut - 1})
        self.assertEqual(history.state(cut, "least", None), {})

    def test_folders(self):
        calls = [*ROOT, call("mkdir", "/d"), call("open", "/d", ino=3), call("open", "/d/f", ino=4, flags=NEW), sync(3)]
        history = disk.History(calls)
        cut = len(history.events)
        self.assertEqual(history.state(cut, "least", None), {})  # its own name is its parent's
        self.assertEqual(history.state(cut, "ext4", random.Random(1)), {"d": None, "d/f": b""})
        self.assertEqual(history.state(cut, "kill", None), {"d": None, "d/f": b""})
        moved = disk.History([*calls, sync(9), call("mkdir", "/e"), call("rename", "/d", "/e/g"), sync(9)])
        cut = len(moved.events)
        self.assertEqual(moved.state(cut, "least", None), {"e": None, "e/g": None, "e/g/f": b""})
        names = {tuple(sorted(moved.state(cut - 1, "posix", random.Random(k)))) for k in range(60)}
        self.assertEqual(names, {("d", "d/f"), ("d", "d/f", "e"), ("e", "e/g", "e/g/f"), ()})

    def test_unknown_calls_are_refused(self):
        with self.assertRaises(ValueError):
            disk.History([call("other")])
        with self.assertRaises(ValueError):
            disk.History([call("open", "/was-there", ino=1)])


unittest.main(verbosity=2)
