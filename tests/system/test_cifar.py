"""CIFAR-10, where DDP_DATA_DIR names a folder that holds it: an epoch of ResNet-18 with augmentation, by one rank with two threads and by
two ranks, with the same bits all the way. Either the published files (cifar10/, as ddp-data fetch leaves them), or its pictures as folders
of JPEG files (cifar10-jpeg/ or cifar10-jpeg.tar.gz, with train/CLASS and test/CLASS), which are packed first."""
import json
import os
import pathlib
import shutil
import sys

import harness

DATA = pathlib.Path(os.environ.get("DDP_DATA_DIR", ""))
PUBLISHED, FOLDER, ARCHIVE = DATA / "cifar10/data_batch_1.bin", DATA / "cifar10-jpeg", DATA / "cifar10-jpeg.tar.gz"
STEPS = 391  # 50,000 pictures in batches of 128


class Cifar(harness.Case):
    def data(self):
        """The words that name it."""
        if PUBLISHED.exists():
            return ["data=cifar10", f"data.root={DATA}"]
        folder = FOLDER
        if not folder.is_dir():
            folder = self.dir / "pictures"
            shutil.unpack_archive(ARCHIVE, folder)
        p = self.run_program(harness.DATA, "pack", folder, self.dir / "cifar10", "--quiet", timeout=900)
        self.assertEqual(p.code, 0, p.err)
        return ["data=packed", f"data.path={self.dir}/cifar10", "data.crop_padding=4", "data.flip=true"]

    def test_an_epoch_of_resnet18_has_one_trail_at_any_number_of_ranks(self):
        words = ["model=resnet18", *self.data(), "train.epochs=1"]
        runs = [self.launch(*words, f"train.threads={threads}", ranks=ranks, timeout=7200) for ranks, threads in ((1, 2), (2, 1))]
        v = self.run_program(harness.BIN / "ddp-runs", "verify", "--json", *(r.run_dir for r in runs))
        verdict = json.loads(v.out)
        self.assertTrue(verdict["equal"], v.out)
        self.assertEqual(verdict["last_equal_step"], STEPS)
        self.assertEqual(runs[0].weights, runs[1].weights)
        ends = [r.json()["eval"] for r in runs]
        for key in ("loss", "accuracy", "count"):
            self.assertEqual(ends[0][key], ends[1][key])
        self.assertEqual(ends[0]["count"], 10000)
        print(f"accuracy {ends[0]['accuracy']}, weights {runs[0].weights}", file=sys.stderr)
        self.assertGreater(ends[0]["accuracy"], 0.55)


if not any(p.exists() for p in (PUBLISHED, FOLDER, ARCHIVE)) or not os.environ.get("DDP_DATA_DIR"):
    print("skipped: DDP_DATA_DIR names no folder with cifar10/, cifar10-jpeg/ or cifar10-jpeg.tar.gz")
    sys.exit(harness.SKIP)
harness.main()
