#!/usr/bin/env python3
"""Jobs of LSF, by a stand-in of bsub that gives a job two hosts of the bed and the environment that LSF gives: it trains on
both to the weights of one process, and the signal before the end of its time, which LSF sends to all processes of a job, ends
it with the exit code that puts it back into the queue."""
import os
import re
import signal
import time

import cluster
from harness import LAUNCH, ROOT, TRAIN, tagged, wait_for

WORDS = ["model=mlp", "data.train_count=320", "data.test_count=64", "train.batch=32", "train.shards=4"]
BSUB = r"""#!/bin/bash
# Stand-in of LSF's bsub: the job has slots on hosts n0, n1, .. (#BSUB -n, span[ptile]), and runs on the first one.
set -e
cat > "$BSUB_DIR/script"
option() { sed -n "s/^#BSUB $1 //p" "$BSUB_DIR/script" | tail -1; }
slots=$(option -n)
ptile=$(option -R | sed -n 's/.*ptile=\([0-9]*\).*/\1/p')
log=$(option -o | sed 's/^"//; s/"$//; s/%J/7/')
: > "$BSUB_DIR/hosts"
pairs= names=
for ((i = 0; i * ptile < slots; i++)); do
    pairs="$pairs n$i $ptile"
    for ((k = 0; k < ptile; k++)); do echo "n$i" >> "$BSUB_DIR/hosts"; names="$names n$i"; done
done
{
    export -p
    echo "export LSB_JOBID=7 LSB_JOBNAME=$(option -J) LS_SUBCWD='$PWD' LSB_MCPU_HOSTS='${pairs# }'"
    case $BSUB_TELLS in
    file) echo "export LSB_DJOB_HOSTFILE='$BSUB_DIR/hosts'" ;;
    names) echo "unset LSB_MCPU_HOSTS; export LSB_HOSTS='${names# }'" ;;
    esac
} > "$BSUB_DIR/env"
(
    cd "$PWD"
    status=0
    ssh n0 "cd '$PWD'; . '$BSUB_DIR/env'; exec bash '$BSUB_DIR/script'" > "$log" 2>&1 < /dev/null || status=$?
    echo "$status" > "$BSUB_DIR/status.new"
    mv "$BSUB_DIR/status.new" "$BSUB_DIR/status"
) > /dev/null 2>&1 &
echo "Job <7> is submitted to default queue <normal>."
"""


class Lsf(cluster.Case):
    hosts = 2

    def setUp(self):
        super().setUp()
        (self.dir / "bin").mkdir()
        (self.dir / "bin/bsub").write_text(BSUB)
        (self.dir / "bin/bsub").chmod(0o755)

    def alone(self, *words):
        r = self.bed.head([TRAIN, "-q", ROOT / "configs/cnn.cfg", *WORDS, *words, f"run.dir={self.dir}/alone"], env=self.env, cwd=self.dir, check=True)
        return re.findall("^weights: (.*)$", r.stdout, re.M)

    def submit(self, *words, tells="file"):
        """The folder of a job that was submitted."""
        folder = self.dir / f"job-{time.monotonic_ns()}"
        folder.mkdir()
        r = self.bed.head([LAUNCH, "--batch", "lsf", "--submit", "--nodes", 2, "-n", 4, ROOT / "configs/cnn.cfg", *WORDS, *words, "run.dir=runs"],
                          env={**self.env, "PATH": f"{self.dir}/bin:{self.bed.environment()['PATH']}", "BSUB_DIR": str(folder),
                               "BSUB_TELLS": tells, "SYSTEM_TEST_TAG": str(folder)}, cwd=self.dir, check=True)
        self.assertEqual(r.stdout, "Job <7> is submitted to default queue <normal>.\n")
        return folder

    def log(self):
        return "".join(p.read_text() for p in self.dir.glob("runs/*.log"))

    def status(self, folder):
        wait_for(lambda: (folder / "status").exists(), 120, f"the end of the job: {self.log()}")
        return int((folder / "status").read_text())

    def test_trains_on_its_hosts(self):
        want = self.alone("train.max_steps=6")
        for tells in ("file", "pairs", "names"):
            with self.subTest(tells):
                folder = self.submit("train.max_steps=6", f"run.name={tells}", tells=tells)
                self.assertEqual(self.status(folder), 0, self.log())
                log = (self.dir / f"runs/{tells}-7.log").read_text()
                self.assertEqual(re.findall("^weights: (.*)$", log, re.M), want, log)
                (record,) = self.dir.glob(f"runs/*{tells}*/run.json")
                self.assertRegex(record.read_text(), '"n1"')
                self.assertTrue((record.parent / "job.sh").exists())
                self.assert_nothing_left(range(2))

    def test_time_is_over(self):
        long = ["train.max_steps=1500", "train.epochs=1000", "eval.every_epochs=1000", "checkpoint.every_epochs=0", "log.every_steps=1"]
        folder = self.submit(*long)
        wait_for(lambda: (folder / "status").exists() or any(m.read_bytes().count(b"\n") > 5 for m in self.dir.glob("runs/*/metrics.jsonl")), 60,
                 "steps")
        self.assertFalse((folder / "status").exists(), self.log())
        for pid, command in tagged(str(folder)).items():
            if not command.startswith(("ssh n0 cd", "/bin/bash", "bash " + str(self.dir / "bin"))):  # the stand-in's own
                os.kill(pid, signal.SIGUSR2)
        self.assertEqual(self.status(folder), 75, self.log())
        self.assert_nothing_left(range(2))
        self.assertEqual(self.status(self.submit(*long)), 0, self.log())
        self.assertEqual(re.findall("^weights: (.*)$", self.log(), re.M), self.alone(*long))
        self.assertEqual(len(list(self.dir.glob('runs/*/run.json'))), 1)


if __name__ == "__main__":
    cluster.main(jobs=2)
