"""Records are history: all ways to resume, over what is resumed and with what; what `latest` takes; how records end."""
import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import threading
import time

import harness
from harness import LAUNCH, TRAIN, wait_for

CONFIG = """
model = { layers = (
    {type = "flatten", name = "flat"}, {type = "linear", name = "fc1", out = 16}, {type = "relu", name = "r1"},
    {type = "linear", name = "fc", out = 10}, {type = "softmax_cross_entropy", name = "loss"}); };
data: { format = "digits"; train_count = 256; test_count = 64; };
train: { batch = 32; shards = 4; epochs = 2; threads = 1; trail_every = 2; };
optim: { base = "sgd"; lr = 0.05; };
checkpoint: { every_steps = 2; keep = 100; };
log: { every_steps = 1; };
"""
STEPS = 16


class Records(harness.Case):
    def setUp(self):
        super().setUp()
        self.config = self.dir / "T.cfg"
        self.config.write_text(CONFIG)
        self.runs = self.dir / "runs"

    def go(self, *args, code=0, config=True, **kw):
        """ddp-train alone: a run in a tenth of a second."""
        words = ([self.config, f"run.dir={self.runs}"] if config else []) + list(args)
        r = self.run_program(TRAIN, "--quiet", *words, **kw)
        self.assertEqual(r.code, code, f"{args}: {r.err}")
        return r

    def whole(self):
        """Weights of the experiment when nothing stops it."""
        return self.go(f"run.dir={self.dir}/whole").weights

    def make(self, state, *args):
        """A run in one of the states that a resume may find."""
        r = self.go(*args, *([] if state == "finished" else ["train.max_steps=6"]))
        run = pathlib.Path(r.run_dir)
        if state in ("killed", "damaged", "empty", "stopped"):
            doc = json.loads((run / "run.json").read_text())
            for o in (doc, doc["legs"][-1]):
                o["status"] = "stopped" if state == "stopped" else "running"
            (run / "run.json").write_text(json.dumps(doc))
            (run / "model.safetensors").unlink()
        if state == "damaged":
            with open(run / "checkpoints/step-00000006/model.safetensors", "r+b") as f:
                f.seek(-1, 2)
                f.write(b"\xff")
        if state == "empty":
            shutil.rmtree(run / "checkpoints")
            (run / "checkpoints").mkdir()
        return run

    # ---- the table: state of the run x what it is resumed with ------------------------------------------

    def test_all_ways_to_resume(self):
        """state, words of the resume, (exit code, what becomes of it, from which step, words on stderr)"""
        lr, threads, more = ["optim.lr=0.02"], ["train.threads=2"], ["train.epochs=3"]
        other = ["data.seed=9"]
        table = [
            ("killed", [], (0, "append", 6, "")),
            ("killed", lr, (0, "fork", 6, r"optim\.lr \(0\.05 -> 0\.02\)")),
            ("killed", threads, (0, "append", 6, "")),
            ("killed", other, (0, "fork", 6, r"data\.seed.*the training data, the held-out data")),
            ("stopped", [], (0, "append", 6, "")),
            ("stopped", lr, (0, "fork", 6, r"optim\.lr")),
            ("stopped", threads, (0, "append", 6, "")),
            ("stopped", other, (0, "fork", 6, "data")),
            ("early", [], (0, "append", 6, "")),  # finished at max_steps, more of the same experiment
            ("early", ["train.max_steps=6"], (0, "same", None, "")),
            ("early", lr, (0, "fork", 6, r"optim\.lr")),
            ("finished", [], (0, "same", None, "")),
            ("finished", threads, (0, "same", None, "")),
            ("finished", lr, (2, "same", None, r"all of its 16 steps.*optim\.lr")),
            ("finished", other, (2, "same", None, r"all of its 16 steps.*data")),
            ("finished", more, (0, "fork", 16, r"train\.epochs \(2 -> 3\)")),
            ("damaged", [], (0, "append", 4, "")),
            ("damaged", lr, (0, "fork", 4, r"optim\.lr")),
            ("damaged", threads, (0, "append", 4, "")),
            ("empty", [], (3, "same", None, "no checkpoint")),
            ("empty", lr, (3, "same", None, "no checkpoint")),
        ]
        whole = self.whole()
        for state, words, (code, becomes, step, says) in table:
            with self.subTest(state=state, words=words):
                shutil.rmtree(self.runs, ignore_errors=True)
                run = self.make(state)
                before, others = files(run), set(self.runs.iterdir())
                r = self.go("--resume", run, *words, code=code)
                new = set(self.runs.iterdir()) - others
                if says:
                    self.assertRegex(r.err.replace("\n", " "), says)
                if becomes != "fork":
                    self.assertFalse(new, "another run was made")
                if becomes == "same":
                    self.assertEqual(without_open_record(files(run)), without_open_record(before))
                elif becomes == "append":
                    legs = json.loads((run / "run.json").read_text())["legs"]
                    self.assertEqual((len(legs), legs[1]["from_step"], legs[1]["status"]), (2, step, "done"))
                    self.assertNotEqual(legs[0]["status"], "running")
                    self.assertEqual(files(run)["config.cfg"], before["config.cfg"])
                    self.assertEqual((r.weights, r.run_dir), (whole, str(run)))
                    self.assertEqual("train.threads" in legs[1]["changed"], words == threads)
                    self.check_checkpoints(run)
                elif becomes == "fork":
                    self.assertEqual(new, {pathlib.Path(r.run_dir)})
                    self.assertEqual(without_open_record(files(run)), without_open_record(before), "the parent changed")
                    doc = r.json()
                    self.assertEqual((doc["parent"]["run"], doc["parent"]["step"]), (str(run), step))
                    self.assertRegex(doc["parent"]["reason"], says)
                    self.assertEqual(doc["legs"][0]["from_step"], step)
                    self.check_checkpoints(r.run_dir)
                    records = lines(pathlib.Path(r.run_dir) / "metrics.jsonl")
                    self.assertEqual(records[0]["step"], step + 1)

    def check_checkpoints(self, run):
        """Each says under which config and data it was made."""
        doc = json.loads((pathlib.Path(run) / "run.json").read_text())
        for folder in pathlib.Path(run).glob("checkpoints/step-*"):
            state = json.loads((folder / "state.json").read_text())
            self.assertTrue((folder / "config.cfg").exists())
            leg = [l for l in doc["legs"] if l["from_step"] < state["step"]][-1]
            self.assertEqual(state["config_hash"], leg["config_hash"])
            self.assertEqual([state["train_data"], state["test_data"]], [d["sha256"] for d in leg["data"]])

    def test_other_bytes_of_the_same_shape(self):
        """The config is the same, the packed file is not."""
        for name, seed in (("a", 1), ("b", 2)):
            make_idx(self.dir / name, seed)
        words = ["data.format=idx", f"data.path={self.dir}/now"]
        shutil.copytree(self.dir / "a", self.dir / "now")
        first = self.go(*words, "train.max_steps=4")
        before = files(first.run_dir)
        shutil.rmtree(self.dir / "now")
        shutil.copytree(self.dir / "b", self.dir / "now")
        r = self.go(*words, "--resume", first.run_dir)
        self.assertIn("It differs in: the training data", r.err)
        self.assertEqual(files(first.run_dir), before)
        self.assertNotEqual(first.json()["data"][0]["sha256"], r.json()["data"][0]["sha256"])

    def test_a_path_in_a_config_means_the_same_from_everywhere(self):
        """data.path beside the file that names it: trained from one folder, gone on with from another, by launcher and by hand."""
        home, away = self.dir / "home", self.dir / "away"
        (home / "sets").mkdir(parents=True)
        away.mkdir()
        make_idx(home / "sets/digits", 1)
        (home / "sets/mine.cfg").write_text('format = "idx"; path = "digits";')
        config = home / "T.cfg"
        config.write_text(re.sub("data: {.*};", 'data = "sets/mine.cfg";', CONFIG))
        words = [f"run.dir={self.runs}", "log.progress=false"]
        whole = self.run_program(LAUNCH, "-n", 2, "T.cfg", f"run.dir={self.dir}/whole", cwd=home)
        self.assertEqual(whole.code, 0, whole.err)
        steps = whole.json()["legs"][0]["steps"]
        first = self.run_program(LAUNCH, "-n", 2, "home/T.cfg", *words, "train.max_steps=2", cwd=self.dir)
        self.assertEqual(first.code, 0, first.err)
        self.assertIn(f'path = "{home}/sets/digits"', (pathlib.Path(first.run_dir) / "config.cfg").read_text())
        shutil.copytree(home / "sets", away / "sets")  # the same bytes at another place: the same experiment
        for n, program in ((3, [LAUNCH, "-n", 2]), (4, [TRAIN])):
            r = self.run_program(*program, "--resume", first.run_dir, "train.max_steps=%d" % n, cwd=away)
            self.assertEqual((r.code, r.run_dir), (0, first.run_dir), r.err)
        r = self.run_program(LAUNCH, "-n", 1, "../home/T.cfg", *words, "--resume", "latest", "data.path=sets/digits", cwd=away)
        self.assertEqual((r.code, r.run_dir, r.weights), (0, first.run_dir, whole.weights), r.err)
        self.assertIn(f"{away}/sets/digits", r.json()["legs"][-1]["changed"]["data.path"])
        self.assertGreater(steps, 4)
        r = self.run_program(TRAIN, "--eval", first.run_dir, cwd=away)
        self.assertEqual(r.code, 0, r.err)

    def test_environment_is_recorded(self):
        r = self.launch(*harness.SMALL, env={"NCCL_DEBUG": "a word; and more", "DDP_ISA": "scalar", "OTHER_WORD": "1"})
        environment = r.json()["environment"]
        self.assertEqual(environment["NCCL_DEBUG"], "a word; and more")
        self.assertEqual(environment["DDP_ISA"], "scalar")
        self.assertFalse({"OTHER_WORD", "DDP_LIFELINE", "PATH"} & set(environment))
        self.assertIsNone(r.json()["network"])

    def test_latest_takes_no_run_on_other_data(self):
        """Two packed files or folders under one name: the config is the same, the data is not."""
        for name, seed in (("a", 1), ("b", 2)):
            make_idx(self.dir / name, seed)
        words = ["data.format=idx", "train.max_steps=2"]
        first = self.go(*words, f"data.path={self.dir}/a")
        self.go(*words, f"data.path={self.dir}/b")
        r = self.go("data.format=idx", f"data.path={self.dir}/a", "--resume", "latest", "train.max_steps=4")
        self.assertEqual(r.run_dir, first.run_dir)
        shutil.rmtree(first.run_dir)
        r = self.go("data.format=idx", f"data.path={self.dir}/a", "--resume", "latest", code=2)
        self.assertIn("other data", r.err)

    def test_going_back_sets_the_future_aside(self):
        run = self.make("killed")  # steps 2, 4, 6
        whole = self.whole()
        back = self.go("--resume", run / "checkpoints/step-00000002", "train.max_steps=4")
        self.assertEqual(back.run_dir, str(run))
        self.assertEqual(steps(run), [2, 4])
        aside = run / "checkpoints/abandoned-1"
        self.assertEqual(sorted(p.name for p in aside.iterdir()),
                         ["metrics.jsonl", "step-00000004", "step-00000006", "weights.trail"])
        self.assertEqual([r["step"] for r in lines(aside / "metrics.jsonl") if r["type"] == "step"], list(range(1, 7)))
        self.assertEqual(back.json()["legs"][1]["set_aside"], "abandoned-1")
        self.assertEqual((back.json()["legs"][1]["from_step"], back.json()["legs"][1]["steps"]), (2, 4))
        again = self.go("--resume", run)  # not step 6 of the future that was left
        self.assertEqual(again.json()["legs"][2]["from_step"], 4)
        self.assertEqual(again.weights, whole)

    def test_going_back_in_a_finished_run_forks(self):
        run = self.make("finished")
        before = files(run)
        r = self.go("--resume", run / "checkpoints/step-00000004")
        self.assertEqual(r.weights, self.whole())
        self.assertNotEqual(r.run_dir, str(run))
        self.assertIn("finished", r.err)
        self.assertEqual(files(run), before)

    # ---- latest, auto, best ------------------------------------------------------------------------------

    def test_latest_is_of_the_same_experiment(self):
        """Of runs of other keys, other names, without checkpoints, in other time zones, on a clock that was set back."""
        first = self.go("train.max_steps=2", env={"TZ": "Asia/Tokyo"})
        second = self.go("train.max_steps=4", env={"TZ": "UTC"})  # its name is earlier by the local time
        self.go("train.max_steps=6", "optim.lr=0.1")
        self.go("train.max_steps=6", "run.name=other")
        empty = self.runs / "T-20991231-235959-ffff"
        (empty / "checkpoints").mkdir(parents=True)
        r = self.run_program(TRAIN, self.config, f"run.dir={self.runs}", "--resume", "latest", "train.max_steps=5")
        self.assertEqual((r.code, r.run_dir), (0, second.run_dir), r.err)
        self.assertIn(f"{empty} has no checkpoint", r.err)
        self.assertNotIn("differs", r.err)
        # the clock goes back: what the file system says of the second is later than now
        later = time.time() + 86400
        os.utime(pathlib.Path(second.run_dir) / "checkpoints", (later, later))
        third = self.go("train.max_steps=3")
        saved = [json.loads((newest(x.run_dir) / "state.json").read_text())["saved_ms"] for x in (second, third)]
        self.assertGreater(saved[1], later * 1000)
        self.assertLess(saved[0], saved[1])
        self.assertEqual(self.go("--resume", "latest").run_dir, third.run_dir)
        r = self.go("--resume", "latest", "optim.lr=0.3", code=2)
        self.assertRegex(r.err, "4 of that name are of another experiment|another experiment")
        self.assertIn("--resume auto", r.err)
        self.assertEqual(first.json()["status"], "done")

    def test_latest_passes_over_damaged_runs(self):
        good = self.make("killed")
        bad = self.make("killed")
        for folder in bad.glob("checkpoints/step-*"):
            (folder / "model.safetensors").write_bytes(b"x")
        r = self.run_program(TRAIN, self.config, f"run.dir={self.runs}", "--resume", "latest")
        self.assertEqual((r.code, r.run_dir), (0, str(good)), r.err)
        self.assertIn(f"{bad} is passed over", r.err)

    def test_auto_starts_or_goes_on(self):
        for program in ([TRAIN, "--quiet"], [LAUNCH, "-n", 2, "-q"]):
            shutil.rmtree(self.runs, ignore_errors=True)
            words = [self.config, f"run.dir={self.runs}", "--resume", "auto"]
            first = self.run_program(*program, *words, "train.max_steps=4")
            self.assertEqual(first.code, 0, first.err)
            second = self.run_program(*program, *words)
            self.assertEqual((second.code, second.run_dir), (0, first.run_dir), second.err)
            third = self.run_program(*program, *words)
            self.assertEqual((third.code, third.run_dir, third.weights), (0, first.run_dir, second.weights), third.err)
            self.assertEqual(len(second.json()["legs"]), 2)

    def test_a_run_brings_its_config(self):
        whole = self.whole()
        run = self.make("killed", "train.trail_every=4")
        self.config.unlink()
        for program, option in (([TRAIN], "--resume"), ([LAUNCH, "-n", 2], "--resume"), ([LAUNCH, "-n", 2], "--eval"), ([TRAIN], "--eval")):
            with self.subTest(program=program, option=option):
                copy = self.dir / f"copy{len(list(self.dir.iterdir()))}"
                shutil.copytree(run, copy)
                r = self.run_program(*program, option, copy, "train.max_steps=0")
                self.assertEqual(r.code, 0, r.err)
                if option == "--resume":
                    self.assertEqual((r.weights, r.run_dir), (whole, str(copy)))
                else:
                    self.assertRegex(r.out, "accuracy: ")
        for name in ("latest", "auto"):
            r = self.run_program(LAUNCH, "--resume", name)
            self.assertEqual(r.code, 2)
            self.assertIn("CONFIG", r.err)
        r = self.run_program(LAUNCH, "--resume", self.dir / "nowhere")
        self.assertEqual(r.code, 2)
        self.assertIn("no such run", r.err)

    def test_best_is_named_and_can_be_asked_for(self):
        # an epoch of a rate that is much too high comes last
        words = ["optim.schedule=onecycle", "optim.warmup_steps=0", "optim.pct_start=1.0", "optim.lr=5.0", "optim.div_factor=100.0",
                 "train.epochs=4", "checkpoint.keep=1"]
        r = self.run_program(TRAIN, self.config, f"run.dir={self.runs}", *words)
        self.assertEqual(r.code, 0, r.err)
        evals = [x for x in lines(pathlib.Path(r.run_dir) / "metrics.jsonl") if x["type"] == "eval"]
        best = min(evals, key=lambda x: x["loss"])
        self.assertLess(best["step"], evals[-1]["step"], "no test of the best")
        path = f"{r.run_dir}/checkpoints/step-{best['step']:08}"
        self.assertRegex(r.err, rf"best weights by held-out loss .*{re.escape(path)}")
        doc = r.json()["best"]
        self.assertEqual((doc["step"], doc["path"], doc["by"]), (best["step"], path, "held-out loss"))
        e = self.run_program(TRAIN, "--eval", f"{r.run_dir}@best")
        self.assertEqual(e.code, 0, e.err)
        self.assertAlmostEqual(float(re.search(r"loss: (\S+)", e.out)[1]), best["loss"], 6)
        fork = self.go("--resume", f"{r.run_dir}", *words, "train.epochs=5")
        if fork.json()["best"]["step"] == best["step"]:
            self.assertEqual(fork.json()["best"]["path"], path)
            self.assertEqual(self.run_program(TRAIN, "--eval", f"{fork.run_dir}@best").weights, e.weights)

    def test_an_evaluation_in_mid_epoch_is_not_the_best(self):
        # made because train.max_steps ends the run there: a run that goes on from it would not know it
        r = self.run_program(TRAIN, self.config, f"run.dir={self.runs}", "optim.lr=0.01", "train.max_steps=11", "train.batch=64",
                             "data.train_count=512", "checkpoint.keep=1", "checkpoint.every_steps=0")
        self.assertEqual(r.code, 0, r.err)
        evals = [x for x in lines(pathlib.Path(r.run_dir) / "metrics.jsonl") if x["type"] == "eval"]
        self.assertEqual([x["step"] for x in evals], [8, 11])
        self.assertLess(evals[1]["loss"], evals[0]["loss"], "no test of the best")
        self.assertEqual([x.get("best") for x in evals], [True, False])
        self.assertEqual(len(re.findall("the best so far", r.err)), 1)
        best = [json.loads((p / "state.json").read_text())["best"] for p in sorted(pathlib.Path(r.run_dir).glob("checkpoints/step-*"))]
        self.assertEqual((r.json()["best"]["step"], best), (8, [True, False]))

    def test_a_stop_prints_the_command_to_go_on(self):
        self.config.write_text(CONFIG.replace("epochs = 2", "epochs = 4000"))
        runs = self.dir / "with blank"
        p = self.start(LAUNCH, "-n", 2, self.config, f"run.dir={runs}")
        wait_for(lambda: list(runs.glob("*/checkpoints/step-*")), 30, "a checkpoint")
        p.send_signal(signal.SIGTERM)
        out, err = p.communicate(timeout=60)
        self.assertEqual(p.returncode, 75, err)
        command = re.search("^ddp-launch: to go on: (.*)$", err, re.M)[1]
        run = re.search("^run: (.*)$", out, re.M)[1]
        steps_done = newest(run).name[5:]
        again = subprocess.run(command + f" -q train.max_steps={int(steps_done) + 2}", shell=True, env=self.environment(), cwd=self.dir,
                               capture_output=True, text=True, timeout=60)
        self.assertEqual(again.returncode, 0, again.stderr)
        self.assertIn(f"run: {run}\n", again.stdout)

    # ---- how records end ----------------------------------------------------------------------------------

    def long_run(self, *args, program=(LAUNCH, "-n", 2, "-q"), **kw):
        self.config.write_text(CONFIG.replace("epochs = 2", "epochs = 100000"))
        p = self.start(*program, self.config, f"run.dir={self.runs}", *args, **kw)
        run = wait_for(lambda: next((x.parent for x in self.runs.glob("*/metrics.jsonl") if x.read_bytes().count(b"\n") > 3), None), 30,
                       "steps")
        return p, run

    def test_a_killed_rank_is_in_the_record(self):
        for rank in (0, 1):
            with self.subTest(rank=rank):
                shutil.rmtree(self.runs, ignore_errors=True)
                p, run = self.long_run(env={"RECORDS_TEST": str(rank) + str(self.dir)})
                pids = sorted(harness.ranks_of("RECORDS_TEST=" + str(rank) + str(self.dir)))
                self.assertEqual(len(pids), 2)
                os.kill(pids[rank], signal.SIGKILL)
                _, err = p.communicate(timeout=30)
                self.assertEqual(p.returncode, 4, err)
                doc = json.loads((run / "run.json").read_text())
                self.assertEqual((doc["status"], doc["legs"][-1]["status"]), ("failed", "failed"))
                self.assertRegex(doc["error"], "was killed by signal 9")
                self.assertIn("ended", doc["legs"][-1])

    def test_the_next_start_closes_records_of_the_dead(self):
        tag = f"RECORDS_TEST=all{self.dir}"
        p, run = self.long_run(env=dict([tag.split("=")]))
        self.assertEqual(json.loads((run / "run.json").read_text())["status"], "running")
        other = self.go("train.epochs=1", "run.name=other")  # the run is alive: left alone
        self.assertEqual(json.loads((run / "run.json").read_text())["status"], "running")
        while harness.tagged(tag):
            for pid in harness.tagged(tag):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        p.wait(10)
        self.assertEqual(json.loads((run / "run.json").read_text())["status"], "running")
        self.go("--eval", other.run_dir, "run.name=other")
        doc = json.loads((run / "run.json").read_text())
        self.assertEqual((doc["status"], doc["legs"][-1]["status"]), ("failed", "failed"))
        self.assertIn("its process is gone", doc["error"])

    def test_a_full_disk_is_in_the_record(self):
        self.config.write_text(CONFIG)
        r = self.go("log.every_steps=1", code=3, env={"DDP_TEST_FAULT": "9:28:metrics.jsonl"})
        run = next(self.runs.iterdir())
        doc = json.loads((run / "run.json").read_text())
        self.assertEqual(doc["status"], "failed")
        self.assertIn("metrics.jsonl", doc["error"])
        self.assertTrue(all(json.loads(l) for l in (run / "metrics.jsonl").read_text().splitlines()), "a torn line")
        self.assertIn("full", r.err)

    def test_a_run_that_is_renamed_or_removed_is_noticed(self):
        for what in ("renamed", "removed"):
            with self.subTest(what=what):
                shutil.rmtree(self.runs, ignore_errors=True)
                p, run = self.long_run()
                aside = self.dir / f"aside-{what}"
                run.rename(aside)
                while what == "removed" and aside.exists():  # a checkpoint may be on its way
                    shutil.rmtree(aside, ignore_errors=True)
                _, err = p.communicate(timeout=60)
                self.assertEqual(p.returncode, 3, err)
                self.assertRegex(err, "renamed or moved" if what == "renamed" else "renamed or moved|was removed")
                self.assertFalse(run.exists(), "a folder was made anew")
                if what == "renamed":
                    self.assertEqual(json.loads((aside / "run.json").read_text())["status"], "failed")

    # ---- one config for all ranks --------------------------------------------------------------------------

    def test_config_from_anything_that_can_be_read_once(self):
        whole = self.whole()
        text = self.config.read_text()

        def check(r, name):
            self.assertEqual((r.returncode, re.search("^weights: (.*)$", r.stdout, re.M)[1]), (0, whole), f"{name}: {r.stderr}")

        words = f"-n 2 -q run.dir={self.runs}"
        kw = dict(shell=True, executable="/bin/bash", env=self.environment(), cwd=self.dir, capture_output=True, text=True, timeout=60)
        check(subprocess.run(f"{LAUNCH} {words} /dev/stdin < T.cfg", **kw), "redirected")
        check(subprocess.run(f"cat T.cfg | {LAUNCH} {words} /dev/stdin", **kw), "piped")
        check(subprocess.run(f"{LAUNCH} {words} <(cat T.cfg)", **kw), "substituted")
        os.mkfifo(self.dir / "fifo")
        writer = threading.Thread(target=lambda: (self.dir / "fifo").write_text(text), daemon=True)
        writer.start()
        check(subprocess.run(f"{LAUNCH} {words} fifo", **kw), "a FIFO")
        writer.join(5)
        # a program under the launcher that finds another text than the launcher read
        script = self.dir / "late"
        script.write_text(f"#!/bin/sh\necho 'seed = 5;' > {self.dir}/late.cfg\nexec {TRAIN} \"$@\"\n")
        script.chmod(0o755)
        (self.dir / "late.cfg").write_text(text)
        check(subprocess.run(f"{LAUNCH} {words} --program {script} late.cfg", **kw), "changed while starting")


def lines(path):
    return [json.loads(line) for line in pathlib.Path(path).read_text().splitlines() if '"step"' in line]


def steps(run):
    return sorted(int(p.name[5:]) for p in pathlib.Path(run).glob("checkpoints/step-*"))


def newest(run):
    return sorted(pathlib.Path(run).glob("checkpoints/step-*"))[-1]


def files(run):
    run = pathlib.Path(run)
    return {str(p.relative_to(run)): p.read_bytes() for p in sorted(run.rglob("*")) if p.is_file()}


def without_open_record(content):
    """All but a record that stood open and may be closed by whoever finds it."""
    return {k: v for k, v in content.items() if not (k == "run.json" and (b'"running"' in v or b"its process is gone" in v))}


def make_idx(folder, seed):
    """Pictures and labels of 256 + 64 samples, other bytes for another seed."""
    folder.mkdir()
    for name, n in (("train", 256), ("t10k", 64)):
        pixels = bytes((i * 7 + seed * 31 + i // 97) % 251 for i in range(n * 784))
        (folder / f"{name}-images-idx3-ubyte").write_bytes(
            bytes.fromhex("00000803") + n.to_bytes(4, "big") + (28).to_bytes(4, "big") * 2 + pixels)
        (folder / f"{name}-labels-idx1-ubyte").write_bytes(
            bytes.fromhex("00000801") + n.to_bytes(4, "big") + bytes(i % 10 for i in range(n)))


harness.main()
