"""The installed tree is complete, stands on its own wherever it is moved to, and shows only the public interface."""
import json
import os
import pathlib
import re
import shutil
import subprocess
import tempfile

import harness
from harness import ROOT

HEADERS = sorted((ROOT / "include/ddp").glob("*.h"))
TINY = ["data.train_count=96", "data.test_count=16", "train.batch=16", "train.max_steps=2"]


def public_functions():
    """Every function that the headers declare with DDP_API."""
    text = "".join(re.sub(r"/\*.*?\*/", "", h.read_text(), flags=re.S) for h in HEADERS)
    return set(re.findall(r"^DDP_API\b[^;(]*?\b(ddp_\w+)\(", text, flags=re.M))


class Install(harness.Case):
    @classmethod
    def setUpClass(cls):
        cls.top = pathlib.Path(tempfile.mkdtemp(prefix="ddp-install-"))
        cls.addClassCleanup(shutil.rmtree, cls.top, ignore_errors=True)
        cls.prefix = harness.install(cls.top)
        cls.library = next(cls.prefix.glob("lib*/**/libddp.so"))

    def environment(self, **extra):
        env = super().environment(**extra)
        env.pop("DDP_CONFIGS_DIR")
        env.pop("LD_LIBRARY_PATH", None)
        return env

    def output(self, *command):
        return subprocess.run([str(c) for c in command], stdout=subprocess.PIPE, text=True, check=True).stdout

    def need(self, *programs):
        for p in programs:
            if not shutil.which(p):
                self.skipTest(f"{p} is not there")

    def test_what_is_there(self):
        for name in ("bin/ddp-launch", "bin/ddp-train", "bin/ddp-data", "bin/ddp-runs", "share/man/man1/ddp-launch.1", "share/man/man1/ddp-data.1",
                     "share/ddp/configs/cnn.cfg", "share/ddp/configs/model/resnet18.cfg", "share/ddp/examples/train/train.c",
                     "share/ddp/examples/README.md", "share/ddp/weights-hash", *[f"include/ddp/{h.name}" for h in HEADERS]):
            self.assertTrue((self.prefix / name).exists(), name)
        where = self.library.parent
        for name in ("pkgconfig/ddp.pc", "cmake/ddp/ddp-config.cmake", "cmake/ddp/ddp-config-version.cmake", "cmake/ddp/ddp-targets.cmake"):
            self.assertTrue((where / name).exists(), name)
        self.assertTrue((where / "libddp_mpi.so").exists())
        self.assertEqual([p.name for p in self.prefix.rglob("*") if p.suffix in (".a", ".o")], [])
        self.assertIn('.SH "EXIT CODES"', (self.prefix / "share/man/man1/ddp-launch.1").read_text())

    def test_the_moved_programs_train_with_their_own_configs(self):
        launch = self.prefix / "bin/ddp-launch"
        shipped = self.run_program(launch, "-n", 2, "--quiet", self.prefix / "share/ddp/configs/cnn.cfg", "model=linear", *TINY)
        self.assertEqual(shipped.code, 0, shipped.err)
        own = self.dir / "own.cfg"  # beside nothing: the groups are those of the installation
        own.write_text((ROOT / "configs/cnn.cfg").read_text().replace("mnist_cnn", "linear"))
        r = self.run_program(launch, "-n", 3, "--quiet", own, *TINY)
        self.assertEqual(r.code, 0, r.err)
        self.assertEqual(r.weights, shipped.weights)
        dump = self.run_program(launch, "--print-config", own)
        self.assertEqual(dump.code, 0, dump.err)
        self.assertEqual(r.weights, self.launch("model=linear", *TINY, env={"DDP_CONFIGS_DIR": str(ROOT / "configs")}).weights)
        missing = self.run_program(launch, own, "model=nosuch")
        self.assertEqual(missing.code, 2)
        self.assertIn(str(self.prefix), missing.err)  # where it looked
        self.assertIn("resnet18", missing.err)
        script = self.output("python3", self.prefix / "share/ddp/weights-hash", self.dir / r.run_dir / "model.safetensors")
        self.assertIn(r.weights, script)

    def test_nothing_points_back_to_where_it_was_built(self):
        self.need("readelf", "ldd")
        build = str(harness.BIN.parent)
        for f in [*(self.prefix / "bin").iterdir(), self.library, self.library.parent / "libddp_mpi.so"]:
            paths = re.findall(r"\((?:RUNPATH|RPATH)\).*\[(.*)\]", self.output("readelf", "-d", f))
            for path in ":".join(paths).split(":"):
                self.assertFalse(path.startswith((build, str(ROOT), str(self.top))), f"{f.name}: {path}")
            self.assertNotIn("not found", self.output("ldd", f))
        for f in self.prefix.rglob("*"):
            if f.suffix in (".cmake", ".pc"):
                for place in (build, str(self.top), str(ROOT) + "/"):
                    self.assertNotIn(place, f.read_text(), f.name)

    def test_only_the_plug_in_knows_mpi(self):
        self.need("ldd", "nm")
        for f in [*(self.prefix / "bin").iterdir(), self.library]:
            if f.name != "ddp-bench-mpi":  # MPI by itself, which ddp-bench allreduce starts for comparison
                self.assertNotIn("libmpi", self.output("ldd", f), f.name)
        plugin = self.library.parent / "libddp_mpi.so"
        exported = {line.split()[-1].split("@")[0] for line in self.output("nm", "-D", "--defined-only", plugin).splitlines()}
        self.assertEqual(exported, {"ddp_comm_plugin"})

    def test_one_machine_needs_no_mpi(self):
        """Several ranks, the sums of reduce.mode=fast as well, where neither the plug-in nor MPI nor mpirun is."""
        prefix = self.dir / "no-mpi"
        shutil.copytree(self.prefix, prefix)
        for plugin in prefix.rglob("libddp_mpi.so"):
            plugin.unlink()
        hide = r"for f in $(ldconfig -p | grep -E '/lib(mpi|open-(rte|pal)|pmix|mpich)[.-]' | sed 's/.*=> //'); do mount --bind /dev/null $f; done; "
        shell = [] if os.geteuid() else ["unshare", "-m", "sh", "-ec", hide + 'exec "$@"', "sh"]
        bare = {"PATH": "/nonexistent"} if not shell else {}
        for mode in ("canonical", "fast"):
            args = [self.prefix / "share/ddp/configs/cnn.cfg", "model=linear", "device=cpu", f"reduce.mode={mode}", "repro.level=fast", *TINY]
            with_mpi = self.run_program(self.prefix / "bin/ddp-launch", "--starter=mpirun", "-n", 3, "--quiet", *args)
            without = self.run_program(*shell, prefix / "bin/ddp-launch", "-n", 3, "--quiet", *args, env=bare)
            self.assertEqual(without.code, 0, without.err)
            if mode == "canonical":  # fast: the order of sums is the transport's own
                self.assertEqual(without.weights, with_mpi.weights)
            transport = json.loads((self.dir / without.run_dir / "run.json").read_text())["transport"]
            self.assertIn("node", str(transport))

    def test_ranks_without_the_plug_in_are_told_the_way_out(self):
        lone = self.dir / "alone/bin"  # a program with nothing beside it
        lone.mkdir(parents=True)
        shutil.copy(self.prefix / "bin/ddp-train", lone)
        command = [lone / "ddp-train", self.prefix / "share/ddp/configs/cnn.cfg", "model=linear", "device=cpu", *TINY]
        self.assertEqual(self.run_program(*command).code, 0)
        r = self.run_program(*command, env={"OMPI_COMM_WORLD_SIZE": "2"})
        self.assertEqual(r.code, 3, r.err)
        for words in ("there is no MPI plug-in: libddp_mpi.so is neither beside this program", "DDP_MPI_PLUGIN", "without mpirun or srun"):
            self.assertIn(words, r.err)

    def test_the_library_exports_the_public_interface_and_nothing_else(self):
        self.need("nm")
        exported = {line.split()[-1].split("@")[0] for line in self.output("nm", "-D", "--defined-only", self.library).splitlines()}
        self.assertEqual(exported, public_functions())
        self.assertGreaterEqual(exported, {"ddp_session_train", "ddp_op_register", "ddp_dataset_register", "ddp_fail"})

    def test_each_header_compiles_alone(self):
        compilers = [(c, std) for c in ("gcc", "clang") if shutil.which(c) for std in ("c11", "c17")]
        compilers += [(c, "c++17") for c in ("g++", "clang++") if shutil.which(c)]
        if not compilers:
            self.skipTest("no compiler")
        for compiler, std in compilers:
            for h in HEADERS:
                with self.subTest(compiler=compiler, std=std, header=h.name):
                    p = subprocess.run([compiler, f"-std={std}", "-x", "c++" if "++" in std else "c", "-pedantic", "-Wall", "-Wextra",
                                        "-Werror", "-fsyntax-only", f"-I{self.prefix}/include", "-"],
                                       input=f"#include <ddp/{h.name}>\n#include <ddp/{h.name}>\nint unused_;\n",
                                       capture_output=True, text=True)
                    self.assertEqual(p.returncode, 0, p.stderr)

    def test_a_cplusplus_program_links(self):
        self.need("g++", "pkg-config")
        (self.dir / "a.cc").write_text('#include <ddp/ddp.h>\n#include <ddp/op.h>\n#include <ddp/dataset.h>\n#include <ddp/extend.h>\n#include <cstdio>\n'
                                       'int main() { char hex[65]; ddp_sha256_text("abc", 3, hex); std::printf("%s %s", ddp_version(), hex); }\n')
        env = {**os.environ, "PKG_CONFIG_PATH": str(self.library.parent / "pkgconfig")}
        flags = subprocess.run(["pkg-config", "--cflags", "--libs", "ddp"], env=env, stdout=subprocess.PIPE, text=True, check=True).stdout.split()
        subprocess.run(["g++", "-std=c++17", "-Wall", "-Werror", "a.cc", "-o", "a", *flags], cwd=self.dir, check=True)
        self.assertRegex(self.output(self.dir / "a"),
                         r"^\d+\.\d+\.\d+ ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad$")


harness.main()
