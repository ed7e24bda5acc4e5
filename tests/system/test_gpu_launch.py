#!/usr/bin/env python3
"""Starting a job on GPUs, or being told why not: on the emulated plug-in (tests/emulator), which can be without a driver, with an old
one, with few or weak GPUs. Skipped where it was not built."""
import re
import sys

import harness
from harness import BIN, LAUNCH, ROOT, TRAIN

PLUGIN = BIN.parent / "lib/libddp_cuda_emu.so"
CNN = ROOT / "configs/cnn.cfg"
FOUR = ROOT / "tests/topology/machines/four-gpus.xml"
TINY = ["data.train_count=64", "data.test_count=16", "train.batch=16", "train.max_steps=2", "model=linear", "log.progress=false"]
OK, USAGE, RESOURCE = 0, 2, 3


class Launch(harness.Case):
    def emulated(self, *args, ranks=None, plugin=PLUGIN, program=LAUNCH, timeout=120, **env):
        env = {"DDP_CUDA_PLUGIN": str(plugin), "DDP_EMU_QUIET": "1", **{k: str(v) for k, v in env.items()}}
        n = ["-n", ranks] if ranks else []
        return self.run_program(program, *n, CNN, *args, *TINY, f"run.dir={self.dir}/runs", env=env, timeout=timeout)

    def refused(self, text, *args, code=RESOURCE, **kw):
        """Ends at once with the code, before anything is started, saying every text once."""
        r = self.emulated("device=cuda", *args, **kw)
        self.assertEqual(r.code, code, r.err)
        for t in [text] if isinstance(text, str) else text:
            self.assertEqual(r.err.count(t), 1, f"{t!r} in: {r.err}")
        self.assertFalse((self.dir / "runs").exists(), r.err)
        return r

    def test_no_driver(self):
        self.refused(["device=cuda", "no NVIDIA driver", "device=cpu"], DDP_EMU_DRIVER=0)

    def test_old_driver(self):
        self.refused(["the NVIDIA driver is too old: it knows CUDA 11.4", "built with CUDA 13.0", "update the driver"], DDP_EMU_DRIVER="old")

    def test_no_device(self):
        self.refused(["no CUDA device", "nvidia-smi -L"], DDP_EMU_DEVICES=0)

    def test_none_visible(self):
        self.refused("CUDA_VISIBLE_DEVICES is '7'", DDP_EMU_DEVICES=2, CUDA_VISIBLE_DEVICES=7)

    def test_fewer_gpus_than_ranks(self):
        self.refused(["4 ranks, but 2 GPUs on this host", "-n 2", "comm.share_gpu=true"], ranks=4, DDP_EMU_DEVICES=2)

    def test_bf16_on_an_old_card(self):
        self.refused(["train.precision=bf16", "compute capability 7.5", "train.precision=fp16"], "train.precision=bf16", ranks=1,
                     DDP_EMU_CC="7.5")

    def test_no_plugin(self):
        self.refused("/nowhere/libddp_cuda.so (DDP_CUDA_PLUGIN) cannot be loaded", plugin="/nowhere/libddp_cuda.so")

    def test_precision_without_a_gpu(self):
        for device in ("auto", "cpu"):
            r = self.emulated(f"device={device}", "train.precision=bf16", DDP_EMU_DEVICES=0)
            self.assertEqual(r.code, USAGE, r.err)
            self.assertIn("train.precision: bf16 is for GPUs", r.err)
        r = self.emulated("device=cpu", "train.tf32=true")
        self.assertEqual(r.code, USAGE, r.err)
        self.assertIn("train.tf32: true is for GPUs", r.err)

    def test_auto_falls_back_to_the_cpu_and_trains(self):
        cpu = self.emulated("device=cpu", ranks=2)
        self.assertEqual(cpu.code, OK, cpu.err)
        self.assertIsNotNone(cpu.weights)
        for env in (dict(DDP_EMU_DRIVER=0), dict(DDP_EMU_DEVICES=0), dict(plugin="/nowhere/libddp_cuda.so")):
            r = self.emulated(ranks=2, **env)
            self.assertEqual(r.code, OK, r.err)
            self.assertIn("device=auto: the CPU, because", r.err)
            self.assertEqual(r.weights, cpu.weights)

    def test_auto_with_fewer_gpus_than_ranks_is_the_cpu_and_says_so(self):
        r = self.emulated("--dry-run", ranks=2, DDP_EMU_DEVICES=1)
        self.assertEqual(r.code, OK, r.err)
        self.assertRegex(r.out, r"ddp-train .* device=cpu\b")
        r = self.emulated("--map", ranks=2, DDP_EMU_DEVICES=1)
        self.assertIn("2 ranks compute on the CPU, because there is only 1 GPU", r.out)

    def test_ranks_are_told_their_gpus(self):
        r = self.emulated("--dry-run", DDP_EMU_DEVICES=3)
        self.assertEqual(r.code, OK, r.err)
        self.assertRegex(r.out, r"(?s)export DDP_RANKS=3\n.*ddp-train .* device=cuda\b")
        gpus = re.findall(r"threads=\d+ spin=\d+ gpu=(GPU-[0-9a-f-]{36})", re.search(r"DDP_PLACE=.*", r.out).group())
        self.assertEqual(len(set(gpus)), 3, r.out)
        last = self.emulated("--dry-run", DDP_EMU_DEVICES=3, CUDA_VISIBLE_DEVICES=2)
        self.assertIn(f"gpu={gpus[2]}", last.out)
        self.assertIn("export DDP_RANKS=1\n", last.out)
        shared = self.emulated("--dry-run", "comm.share_gpu=true", ranks=4, DDP_EMU_DEVICES=2)
        place = re.search(r"DDP_PLACE=.*", shared.out).group()
        self.assertEqual([place.count(f"gpu={g}") for g in gpus], [2, 2, 0], place)

    def test_map_shows_gpus(self):
        r = self.emulated("--map", ranks=2, DDP_EMU_DEVICES=2)
        self.assertEqual(r.code, OK, r.err)
        self.assertRegex(r.out, r"GPUs\n  0000:.* rank 0  Emulated GPU \(GPU-.*\n  0000:.* rank 1  Emulated GPU")

    def test_map_of_a_described_machine(self):
        r = self.emulated("--map", HWLOC_XMLFILE=FOUR, DDP_EMU_DEVICES=0)
        self.assertEqual(r.code, OK, r.err)
        self.assertIn("0000:3b:00.0  NUMA node 0  NIC mlx5_0  rank 0  GH100", r.out)
        self.assertRegex(r.out, r"rank 3   cpus=12-15 .* gpu=GPU-00000003-")
        r = self.emulated("--map", "device=cuda", HWLOC_SYNTHETIC="package:2 core:2 pu:1")
        self.assertEqual(r.code, RESOURCE, r.err)
        self.assertIn("shows no GPU", r.err)

    def test_tune_and_relock_reach_the_ranks(self):
        r = self.emulated("--dry-run", "--tune", "--relock", ranks=1, DDP_EMU_DEVICES=1)
        self.assertEqual(r.code, OK, r.err)
        self.assertRegex(r.out, r"ddp-train .*gpu\.tune=true.*--relock")

    def wrapper(self, setting):
        """A program for --program: ddp-train, with a setting for rank 1 alone."""
        path = self.dir / "rank"
        path.write_text(f"#!/bin/sh\n[ \"$DDP_RANK\" = 1 ] && export '{setting}'\nexec '{TRAIN}' \"$@\"\n")
        path.chmod(0o755)
        return path

    def test_ranks_with_other_libraries_or_gpus(self):
        for setting, text in (("DDP_EMU_NCCL_VERSION=22703", "has NCCL 2.27.3, rank 0"), ("DDP_EMU_NAME=Other GPU", "Use GPUs of one kind")):
            r = self.emulated("device=cuda", "--program", self.wrapper(setting), ranks=2, DDP_EMU_DEVICES=2)
            self.assertEqual(r.code, RESOURCE, r.err)
            self.assertIn(text, r.err)

    def test_a_rank_that_does_not_see_its_gpu(self):
        r = self.emulated("device=cuda", "--program", self.wrapper("CUDA_VISIBLE_DEVICES=0"), ranks=2, DDP_EMU_DEVICES=2)
        self.assertEqual(r.code, RESOURCE, r.err)
        self.assertIn("which this rank was given, is not among the 1 that it sees", r.err)

    def test_the_cpu_starts_without_the_plugin(self):
        """device=cpu, and auto without a trace of a driver, open nothing: seen by the loader's own log."""
        for device, opens in (("cpu", False), ("auto", True)):
            r = self.emulated("--dry-run", f"device={device}", ranks=1, LD_DEBUG="files", DDP_EMU_DEVICES=1)
            self.assertEqual(r.code, OK, r.err)
            self.assertEqual("libddp_cuda_emu.so" in r.err, opens, device)


if not PLUGIN.exists():
    print(f"skipped: no {PLUGIN}")
    sys.exit(harness.SKIP)
harness.main()
