"""The disk of the crash tests: a recorded list of calls, and what a power cut may leave of it.

Files and folders are objects; a folder is a map of names to objects. A recorded call becomes events on objects: a
change of names, of a file's bytes or size, a sync. After a power cut behind the first `cut` events

  - a change that a successful sync made durable is there;
  - of the other changes of names there may be any, in any order (POSIX), or the first so many (ext4: its journal is in
    order, and a sync commits all names up to the last change of what is synced);
  - of the other bytes of a file there may be any sectors; what was never written before reads as zeros; the size is the
    old one, the new one, or between them. ext4 (data=ordered) leaves the first so many bytes, and nothing in between.

A sync that failed made nothing durable, and the bytes that it was for may be lost even if a later sync succeeds. A
rename is one change, across folders too."""
import collections
import os
import pathlib
import random
import struct

KINDS = ("", "open", "write", "truncate", "sync", "rename", "mkdir", "unlink", "rmdir", "say", "other")
HEAD = struct.Struct("<IIIIQqIIII")
END = 0x0A444E45
SECTOR = 512
Call = collections.namedtuple("Call", "kind error pid flags ino at path to data")
# kind: names, data, size, sync, say. path: what the call named, for words and for promises.
Event = collections.namedtuple("Event", "kind path to changes obj at data ok pid")


def read_log(path):
    raw, at, calls = pathlib.Path(path).read_bytes(), 0, []
    while at < len(raw):
        kind, error, pid, flags, ino, where, n1, n2, n3, end = HEAD.unpack_from(raw, at)
        if end != END:
            raise ValueError(f"{path}: damaged at byte {at}")
        at += HEAD.size
        parts = []
        for n in (n1, n2, n3):
            parts.append(raw[at:at + n])
            at += n
        calls.append(Call(KINDS[kind], error, pid, flags, ino, where, parts[0].decode(), parts[1].decode(), parts[2]))
    return calls


def mark(path, text):
    """Add what the test itself has to say to a log."""
    data = text.encode()
    with open(path, "ab") as f:
        f.write(HEAD.pack(KINDS.index("say"), 0, 0, 0, 0, 0, 0, 0, len(data), END) + data)


class History:
    """The events of a log; obj 0 is the folder that was recorded, empty at first."""

    def __init__(self, calls):
        self.events, self.folders, self.files = [], {0: {}}, set()
        self.by_ino = {}
        for call in calls:
            self.take(call)
        self.live = len(self.events)
        self.find_durable(set())

    # ---- from calls to events

    def add(self, kind, call, changes=(), obj=None, at=0, data=b""):
        self.events.append(Event(kind, call.path, call.to, tuple(changes), obj, at, data, call.error == 0, call.pid))
        for folder, name, child in changes:
            if child is None:
                self.folders[folder].pop(name, None)
            else:
                self.folders[folder][name] = child

    def look(self, path):
        """(folder, name, object or None) of a path."""
        at, parts = 0, [p for p in path.split("/") if p]
        if not parts:
            return None, "", 0
        for part in parts[:-1]:
            at = self.folders[at][part]
        return at, parts[-1], self.folders[at].get(parts[-1])

    def new(self, folder):
        obj = len(self.folders) + len(self.files)
        if folder:
            self.folders[obj] = {}
        else:
            self.files.add(obj)
        return obj

    def take(self, call):
        if call.kind == "other":
            raise ValueError("a call that the model of the disk does not know")
        if call.kind == "say":
            self.add("say", call, data=call.data)
        elif call.kind == "sync":
            self.add("sync", call, obj=self.by_ino[call.ino])
        elif call.error == 0:
            getattr(self, "take_" + call.kind)(call)

    def take_open(self, call):
        folder, name, obj = self.look(call.path)
        if obj is None:
            if not call.flags & os.O_CREAT:
                raise ValueError(f"{call.path} was there before the recording")
            obj = self.new(False)
            self.add("names", call, [(folder, name, obj)])
        elif call.flags & os.O_TRUNC:
            self.add("size", call, obj=obj, at=0)
        self.by_ino[call.ino] = obj

    def take_write(self, call):
        if call.data:
            self.add("data", call, obj=self.by_ino[call.ino], at=call.at, data=call.data)

    def take_truncate(self, call):
        self.add("size", call, obj=self.by_ino[call.ino], at=call.at)

    def take_mkdir(self, call):
        folder, name, _ = self.look(call.path)
        self.add("names", call, [(folder, name, self.new(True))])

    def take_rename(self, call):
        (f1, n1, obj), (f2, n2, _) = self.look(call.path), self.look(call.to)
        self.add("names", call, [(f1, n1, None), (f2, n2, obj)])

    def take_unlink(self, call):
        folder, name, _ = self.look(call.path)
        self.add("names", call, [(folder, name, None)])

    take_rmdir = take_unlink

    # ---- what is durable from when on

    def find_durable(self, dropped):
        """dropped: indices of syncs that are treated as never made (a planted fault)."""
        far = len(self.events) + 1
        self.posix = [far] * len(self.events)  # names: durable behind this event; data and sizes likewise
        self.ext4 = [far] * len(self.events)   # names
        lost = set()
        touched = collections.defaultdict(list)
        for i, e in enumerate(self.events):
            if e.kind == "names":
                for obj in {c[0] for c in e.changes} | {c[2] for c in e.changes if c[2] is not None}:
                    touched[obj].append(i)
            elif e.kind in ("data", "size"):
                touched[e.obj].append(i)
            elif e.kind == "sync" and i not in dropped:
                self.sync(i, e, touched[e.obj], lost, far)

    def sync(self, i, e, touched, lost, far):
        if not e.ok:
            lost.update(k for k in touched if self.events[k].kind == "data" and self.posix[k] == far)
            return
        for k in touched:
            own = self.events[k].kind != "names" or any(c[0] == e.obj for c in self.events[k].changes)
            if own and k not in lost:
                self.posix[k] = min(self.posix[k], i)
        if touched:  # the journal is committed up to its last change
            for k in range(touched[-1], -1, -1):
                if self.ext4[k] <= i and self.events[k].kind == "names":
                    break
                self.ext4[k] = min(self.ext4[k], i)

    # ---- a state

    def tree(self, cut, names, content):
        """{path: bytes, or None for a folder}: names(i) whether a change of names is there, content(obj) its bytes."""
        folders = collections.defaultdict(dict)
        for i in range(cut):
            e = self.events[i]
            if e.kind == "names" and names(i):
                for folder, name, child in e.changes:
                    if child is None:
                        folders[folder].pop(name, None)
                    else:
                        folders[folder][name] = child
        found = {}

        def walk(folder, path, above):
            for name, obj in folders[folder].items():
                if obj in self.files:
                    found[path + name] = content(obj)
                elif obj not in above:
                    found[path + name] = None
                    walk(obj, path + name + "/", above | {obj})

        walk(0, "", {0})
        return found

    def changes_of(self, obj, cut):
        if not hasattr(self, "of"):
            self.of = collections.defaultdict(list)
            for i, e in enumerate(self.events):
                if e.kind in ("data", "size"):
                    self.of[e.obj].append(i)
        return [i for i in self.of[obj] if i < cut]

    def content(self, obj, cut, policy, chance):
        """The bytes of a file. policy: all, durable, zeros (sizes without bytes), first (so many bytes), any."""
        data, pending = bytearray(), []
        for i in self.changes_of(obj, cut):
            if policy == "all" or self.posix[i] < cut:
                apply(data, self.events[i])
            else:
                pending.append(self.events[i])
        if policy == "zeros":
            for e in pending:
                resize(data, e.at if e.kind == "size" else max(len(data), e.at + len(e.data)))
        elif policy == "first":
            stop = chance.randint(0, len(pending))
            for e in pending[:stop]:
                apply(data, e)
            if stop < len(pending) and pending[stop].kind == "data" and chance.random() < 0.7:
                e = pending[stop]
                apply(data, e._replace(data=e.data[:chance.randint(0, len(e.data))]))
        elif policy == "any":
            for e in pending:
                apply_any(data, e, chance)
        return bytes(data)

    def state(self, cut, kind, chance):
        """One tree of a kind of KINDS_OF_STATES."""
        how = KINDS_OF_STATES[kind]
        if how.names == "all":
            names = lambda i: True
        elif how.names == "durable":
            names = lambda i: self.posix[i] < cut
        elif how.names == "first":
            least = max((i + 1 for i in range(cut) if self.events[i].kind == "names" and self.ext4[i] < cut), default=0)
            last = chance.randint(least, cut)
            names = lambda i: i < last
        else:
            share = chance.choice((0.2, 0.5, 0.8))
            names = lambda i: self.posix[i] < cut or chance.random() < share
        return self.tree(cut, names, lambda obj: self.content(obj, cut, how.data, chance))


How = collections.namedtuple("How", "names data chance")
KINDS_OF_STATES = {
    "kill": How("all", "all", False),         # no power cut: the process is gone
    "least": How("durable", "durable", False),
    "names": How("all", "durable", False),    # a rename overtakes the bytes of what it renames
    "zeros": How("all", "zeros", False),
    "bytes": How("durable", "all", False),
    "ext4": How("first", "first", True),
    "posix": How("any", "any", True),
}


def resize(data, size):
    if size < len(data):
        del data[size:]
    else:
        data.extend(bytes(size - len(data)))


def apply(data, e):
    if e.kind == "size":
        resize(data, e.at)
    else:
        resize(data, max(len(data), e.at + len(e.data)))
        data[e.at:e.at + len(e.data)] = e.data


def apply_any(data, e, chance):
    """Sectors of a write that is not on disk yet, each with an even chance; the size anywhere from old to new."""
    if e.kind == "size":
        if chance.random() < 0.5:
            resize(data, e.at)
        return
    end = e.at + len(e.data)
    size = len(data) if end <= len(data) else chance.choice((len(data), end, chance.randint(len(data), end)))
    share = chance.choice((0, 0.5, 0.9, 1))
    resize(data, max(end, len(data)))
    for start in range(e.at - e.at % SECTOR, end, SECTOR):
        a, b = max(start, e.at), min(start + SECTOR, end)
        if chance.random() < share:
            data[a:b] = e.data[a - e.at:b - e.at]
    resize(data, size)


def write_tree(tree, folder):
    """Put a state below a folder, which is made."""
    os.makedirs(folder)
    for path, data in tree.items():
        if data is None:
            os.mkdir(f"{folder}/{path}")
        else:
            with open(f"{folder}/{path}", "wb") as f:
                f.write(data)


def read_tree(folder):
    """What really lies below a folder, in the form of a state."""
    found = {}
    for top, folders, files in os.walk(folder):
        for name in folders:
            found[os.path.relpath(os.path.join(top, name), folder)] = None
        for name in files:
            path = os.path.join(top, name)
            found[os.path.relpath(path, folder)] = pathlib.Path(path).read_bytes()
    return found
