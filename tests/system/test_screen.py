"""What a terminal shows: progress and the table of layers fit into it, and follow when its window is drawn to another size."""
import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time

import harness
from harness import LAUNCH, ROOT, TRAIN

CNN = ROOT / "configs/cnn.cfg"
WORK = ["data.train_count=3000", "data.test_count=100", "train.batch=32", "train.epochs=1", "eval.every_epochs=0", "checkpoint.every_epochs=0"]


# small steps without an end
ENDLESS = [CNN, "model=linear", "data.train_count=96", "data.test_count=16", "train.batch=16", "train.epochs=1000000", "eval.every_epochs=0",
           "checkpoint.every_epochs=0"]


class Screen(harness.Case):
    def resize(self, fd, columns):
        fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))

    def on_terminal(self, command, columns, then=None, after=None, enough=None, seconds=120):
        """Run with a terminal of so many columns; once `after` holds of what it showed, draw it to `then`, and once `enough` holds of
        what it showed since, end it. What was shown before and after."""
        master, slave = pty.openpty()
        self.addCleanup(os.close, master)
        self.resize(master, columns)
        p = subprocess.Popen([str(c) for c in command], stdin=slave, stdout=slave, stderr=slave, env=self.environment(), cwd=self.dir,
                             start_new_session=True)
        os.close(slave)
        shown, before, end = b"", None, time.monotonic() + seconds
        while time.monotonic() < end:
            if select.select([master], [], [], 0.1)[0]:
                try:
                    data = os.read(master, 65536)
                except OSError:  # all have closed it
                    break
                if not data:
                    break
                shown += data
            text = shown.decode(errors="replace")
            if then and before is None and after(text):
                before, shown = shown, b""
                self.resize(master, then)
            elif before and enough(text):
                p.terminate()
                enough = lambda text: False
        p.wait(timeout=30)
        text = shown.decode(errors="replace")
        self.assertEqual(p.returncode, 75 if then else 0, text)
        return (before or b"").decode(errors="replace"), text

    def lines(self, text):
        """What stands in one row, if it fits: the terminal's own CR LF, and rows that are drawn anew."""
        return [re.sub(r"\x1b\[K", "", l) for l in re.split(r"[\r\n]+", text)]

    def fits(self, text, columns, steps):
        rows = self.lines(text)
        progress = [r for r in rows if r.startswith("step ")]
        self.assertGreaterEqual(len(progress), steps, text)
        table = [r for r in rows if re.match(r"(layer|data|conv1|relu1|pool1|drop1|flatten|fc1|fc2|loss) ", r) or "parameters" in r]
        for row in progress + table:
            self.assertLess(len(row), columns, row)
        return progress, table

    def test_progress_and_table_fit(self):
        for columns in (60, 80, 132):
            for program in ([LAUNCH, "-n", 2], [TRAIN]):
                with self.subTest(columns=columns, program=program[0].name):
                    _, text = self.on_terminal([*program, CNN, "train.max_steps=6", *WORK], columns)
                    progress, table = self.fits(text, columns, 1)
                    self.assertGreater(len(table), 5, text)
                    self.assertIn("loss ", progress[-1])
                    self.assertIn("ETA ", progress[-1])
                    self.assertEqual("comm " in progress[-1], columns > 100, progress[-1])
                    self.assertTrue(any("memory" in r for r in table) or columns < 80, table)

    def test_both_starters(self):
        _, text = self.on_terminal([LAUNCH, "--starter", "mpirun", "-n", 2, CNN, "train.max_steps=6", *WORK], 60)
        self.fits(text, 60, 1)

    def test_a_window_drawn_smaller_and_larger(self):
        for first, then in ((132, 60), (60, 132)):
            for program in ([LAUNCH, "-n", 2], [TRAIN]):
                with self.subTest(first=first, then=then, program=program[0].name):
                    before, after = self.on_terminal([*program, *ENDLESS], first, then, lambda t: t.count("step ") > 2,
                                                     lambda t: t.count("step ") > 3)
                    self.fits(before, first, 2)
                    settled = after[after.index("\r") + 1:]  # the line that was on its way
                    progress, _ = self.fits(settled, then, 1)
                    self.assertEqual("comm " in progress[0], then > 100, progress)

    def test_a_log_goes_on_at_the_rate_of_the_key(self):
        """Lines come every log.progress_every seconds, and the table is whole."""
        for every, seconds in ((0.2, 4), (1000, 2)):
            p = self.start(LAUNCH, "-n", 2, *ENDLESS, f"log.progress_every={every}")
            began = time.monotonic()
            first = ""
            while "step 1/" not in first:
                first += p.stderr.readline()
            time.sleep(seconds)
            p.terminate()
            _, rest = p.communicate(timeout=60)
            took = time.monotonic() - began
            self.assertEqual(p.returncode, 75, rest)
            self.assertNotIn("\x1b", first + rest)
            self.assertIn("MFLOP/sample", first)
            lines = len(re.findall(r"^step \d+/", rest, re.M))
            self.assertLessEqual(lines, took / every + 1)
            self.assertEqual(lines > 1, every < 1, f"{every}: {lines} lines\n{rest}")
        r = self.run_program(LAUNCH, "-n", 2, *ENDLESS, "train.max_steps=20", "log.progress=false")
        self.assertNotIn("step 20/", r.err)


harness.main()
