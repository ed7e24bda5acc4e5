"""What scripts may rely on: last lines, exit codes, run.json, the run directory, the weights hash recomputed from the file."""
import json
import pathlib
import subprocess
import sys

import harness
from harness import LAUNCH, ROOT, SMALL, TRAIN


class Contract(harness.Case):
    def test_last_two_lines_and_quiet(self):
        r = self.launch(*SMALL, ranks=2)
        self.assertEqual([l.split(":")[0] for l in r.out.splitlines()], ["run", "weights"])
        self.assertEqual(r.err.strip(), "")
        loud = self.run_program(LAUNCH, "-n", 2, ROOT / "configs/cnn.cfg", *SMALL, f"run.dir={self.dir}/runs")
        self.assertEqual([l.split(":")[0] for l in loud.out.splitlines()[-2:]], ["run", "weights"])
        self.assertEqual(loud.weights, r.weights)
        self.assertIn("samples/s", loud.err + loud.out)

    def test_run_json_has_the_promised_keys(self):
        r = self.launch(*SMALL, "train.shards=4", ranks=3)
        j = r.json()
        self.assertEqual(j["weights_hash"], r.weights)
        self.assertEqual(set(j["eval"]), {"accuracy", "loss", "count"})
        self.assertEqual(j["eval"]["count"], 100)
        for key in ("steps", "epochs", "samples_per_s", "wall_s", "time_to_first_step_s"):
            self.assertGreater(j["train"][key], 0, key)
        start = j["train"]["startup_s"]
        self.assertEqual(list(start), ["config", "hosts", "plan", "start", "join", "read", "data", "model", "weights", "record",
                                       "step"])
        self.assertTrue(all(s >= 0 for s in start.values()), start)
        self.assertAlmostEqual(sum(start.values()), j["train"]["time_to_first_step_s"], delta=0.01)
        self.assertEqual(j["train"]["images_per_s"], j["train"]["samples_per_s"])  # the old name
        self.assertEqual(j["train"]["steps"], 13)  # 400 samples in batches of 32, the last one short
        self.assertEqual((j["ranks"], j["shards"], j["threads"] >= 1), (3, 4, True))
        self.assertEqual(len(j["hosts"]), 1)
        self.assertEqual(j["command"][0].split("/")[-1], "ddp-launch")
        self.assertIn("train.shards=4", j["command"])
        self.assertRegex(j["config_hash"], "^[0-9a-f]{64}$")
        self.assertTrue(all(set(d) == {"name", "sha256"} and len(d["sha256"]) == 64 for d in j["data"]))
        self.assertEqual(set(j["code"]) >= {"version", "dirty"}, True)

    def test_run_json_of_a_failed_run_says_so(self):
        self.launch("model=mlp", "optim.lr=1000", "optim.momentum=0.999", "train.max_steps=60", ranks=1, code=4)
        (run,) = (self.dir / "runs").iterdir()
        j = json.loads((run / "run.json").read_text())
        self.assertEqual(j["status"], "failed")
        self.assertRegex(j["error"], "is (nan|infinite)")

    def test_layer_reference(self):
        r = self.run_program(TRAIN, "--help-layers")
        self.assertEqual(r.code, 0)
        self.assertIn("[conv2d]", r.out)
        self.assertEqual(self.run_program(TRAIN, "--help-layers", "conv9").code, 2)

    def test_run_directory(self):
        r = self.launch(*SMALL, ranks=2)
        run = pathlib.Path(r.run_dir)
        self.assertRegex(run.name, r"^[A-Za-z0-9_]+-\d{8}-\d{6}-[0-9a-f]{4}$")
        for name in ("config.cfg", "config.json", "run.json", "metrics.jsonl", "model.safetensors", "weights.trail", "log/rank-0.log", "log/rank-1.log"):
            self.assertTrue((run / name).exists(), name)
        records = [json.loads(l) for l in (run / "metrics.jsonl").read_text().splitlines()]
        self.assertEqual({x["type"] for x in records}, {"step", "eval"})
        self.assertTrue(list((run / "checkpoints").glob("step-*/state.json")))
        self.assertFalse(list(run.rglob("*.tmp*")))

    def test_trail_names_the_first_tensor_that_differs(self):
        def trail(*args, ranks):
            r = self.launch(*SMALL, "train.trail_every=4", *args, ranks=ranks)
            head, *records = [json.loads(l) for l in (pathlib.Path(r.run_dir) / "weights.trail").read_text().splitlines()]
            self.assertEqual((head["format"], head["version"]), ("ddp-trail", 2))
            self.assertEqual([x["step"] for x in records], [0, 4, 8, 12])
            return records, r

        (a, _), (b, _), (c, _) = trail(ranks=1), trail(ranks=3), trail("optim.weight_decay=0.01", ranks=2)
        self.assertEqual(a, b)
        self.assertEqual(a[0], c[0])
        self.assertEqual(set(a[0]), {"step", "parameters"})
        self.assertEqual((a[1]["samples"], a[1]["random"]), (c[1]["samples"], {"seed": 1, "epoch": 0}))
        self.assertNotEqual(a[1]["parameters"]["hash"], c[1]["parameters"]["hash"])
        self.assertEqual(set(a[1]["gradient"]["tensors"]), set(a[1]["parameters"]["tensors"]))
        self.assertEqual(set(a[1]["optimizer"]["tensors"]), {n + ".momentum" for n in a[1]["parameters"]["tensors"]})

    def test_weights_hash_is_recomputed_by_the_documented_script(self):
        r = self.launch(*SMALL)
        out = subprocess.run([sys.executable, ROOT / "scripts/weights-hash", f"{r.run_dir}/model.safetensors"],
                             capture_output=True, text=True, check=True).stdout
        self.assertIn(r.weights, out)

    def test_resolved_config_is_accepted_with_identical_result(self):
        r = self.launch(*SMALL, "optim.lr=0.0333", "model.layers[0].out=16")
        again = self.launch(config=pathlib.Path(r.run_dir) / "config.cfg", ranks=3)
        self.assertEqual(again.weights, r.weights)
        self.assertEqual(again.json()["config_hash"], r.json()["config_hash"])

    def test_train_alone_and_under_mpirun(self):
        args = [ROOT / "configs/cnn.cfg", *SMALL, f"run.dir={self.dir}/runs", "--quiet"]
        alone = self.run_program(TRAIN, *args)
        four = self.run_program("mpirun", "--oversubscribe", "-n", 4, TRAIN, *args)
        self.assertEqual((alone.code, four.code), (0, 0), four.err)
        self.assertEqual(alone.out.splitlines()[-1], f"weights: {alone.weights}")
        self.assertEqual(alone.weights, four.weights)
        self.assertEqual(four.json()["ranks"], 4)

    def test_eval_only_gives_the_accuracy_of_the_run(self):
        r = self.launch(*SMALL)
        for what in (r.run_dir, f"{r.run_dir}/model.safetensors"):
            quiet = self.launch(*SMALL, "--eval", what, ranks=3)
            self.assertEqual(quiet.weights, r.weights)
            self.assertEqual(len(quiet.out.splitlines()), 2)
            e = self.run_program(LAUNCH, "-n", 3, "--eval", what, ROOT / "configs/cnn.cfg", *SMALL)
            self.assertEqual((e.code, e.weights), (0, r.weights), e.err)
            self.assertIn(f"accuracy: {r.json()['eval']['accuracy']:.6f}", e.out)

    def test_init_from_starts_with_those_weights(self):
        r = self.launch(*SMALL)
        again = self.launch(*SMALL, f"init.from={r.run_dir}/model.safetensors", "optim.lr=0.0", "optim.schedule=constant")
        self.assertEqual(again.weights, r.weights)
        (newest,) = [p for p in (pathlib.Path(r.run_dir) / "checkpoints").iterdir()]
        for folder in (r.run_dir, newest):
            again = self.launch(*SMALL, f"init.from={folder}", "optim.lr=0.0", "optim.schedule=constant")
            self.assertEqual(again.weights, r.weights)
            self.assertEqual(again.json()["init"]["path"], f"{newest}/model.safetensors")

    def test_a_usage_error_is_2_and_names_the_way_out(self):
        for args, part in ((["--frobnicate"], "--frobnicate"), (["-n", "9"], "shards"), (["-n", "0"], "-n"), ([], "CONFIG")):
            config = [ROOT / "configs/cnn.cfg"] if args else []
            r = self.run_program(LAUNCH, *args, *config)
            self.assertEqual(r.code, 2, r.err)
            self.assertIn(part, r.err)


harness.main()
