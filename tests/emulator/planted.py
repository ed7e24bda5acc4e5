"""The faults that test_faults.py plants: one textual change each in what is shipped, and the suite that must notice.

A row is (what it is, file, old text, new text, suite). The old text stands exactly once in the file. Suites:
  test_NAME   a program of the build, linked again with the changed file: kernels, src/engine/gpu
  plugin      test_cuda_plugin on a plug-in linked again: src/device/cuda
  train       a short training with device=cuda on 3 ranks, which must give the bits of the unchanged 1-rank one: src/engine/gpu, src/device/cuda
A header of kernels names in UNITS the .cu files to compile with it.
"""
import pathlib

ROOT = pathlib.Path(__file__).resolve().parents[2]
OPTIM = sorted(str(p.relative_to(ROOT)) for p in (ROOT / "src/optim").glob("*.cu"))
UNITS = {
    "src/ops/cuda/columns.cuh": {"test_cuda_norm": ["src/ops/norm/norm.cu"], "test_cuda_point": ["src/ops/point/point.cu"], "test_cuda_pool": ["src/ops/pool/pool.cu"]},
    "src/reduce/nodes.cuh": {"test_cuda_update": OPTIM, "test_cuda_flat": ["src/reduce/flat.cu"]},
    "src/optim/update.cuh": {"test_cuda_update": OPTIM},
    "src/optim/norms.cuh": {"test_cuda_update": OPTIM},
}

FAULTS = [
    # ---- barriers of the block
    ("barrier missing in the tree over rows", "src/ops/cuda/columns.cuh",
     "t + half * k->lanes];\n        DDP_SYNC();", "t + half * k->lanes];", "test_cuda_norm"),
    ("barrier missing before the groups' tree", "src/ops/cuda/columns.cuh",
     "= v[s];\n    DDP_SYNC();", "= v[s];", "test_cuda_point"),
    ("barrier missing behind the picture's draws", "src/data/augment.cu",
     "    DDP_SYNC();\n    const struct draws d", "    const struct draws d", "test_cuda_augment"),
    ("barrier missing behind the block's scalars", "src/optim/update.cuh",
     "    DDP_SYNC();\n    const int n", "    const int n", "test_cuda_update"),
    ("barrier missing between rounds of the blocks' tree", "src/optim/norms.cuh",
     "room[t] += room[t + delta];\n        DDP_SYNC();", "room[t] += room[t + delta];", "test_cuda_update"),
    ("barrier missing behind the count of elements", "src/model/stats.cu",
     "    }\n    DDP_SYNC();\n}", "    }\n}", "test_cuda_scale"),
    ("barrier that only some threads reach", "src/ops/loss/loss.cu",
     "counts[t] += counts[t + half];\n        DDP_SYNC();", "{ counts[t] += counts[t + half];\n        DDP_SYNC(); }", "test_cuda_loss"),
    ("barrier missing between rounds of the lanes' tree", "src/ops/norm/group_norm.cu",
     "shared[GROUP_THREADS + t] += shared[GROUP_THREADS + t + half];\n        }\n        DDP_SYNC();",
     "shared[GROUP_THREADS + t] += shared[GROUP_THREADS + t + half];\n        }", "test_cuda_group_norm"),
    # ---- barriers of the warp
    ("warp's barrier missing behind the largest value", "src/ops/loss/loss.cu",
     "slot->best = nan ? 0 : best;\n    }\n    DDP_SYNC_WARP();", "slot->best = nan ? 0 : best;\n    }", "test_cuda_loss"),
    ("error of a target that lanes do not share out", "src/ops/loss/loss.cu",
     "errors += fabsf(d);", "errors = fabsf(d);", "test_cuda_loss"),
    ("numbers of a resident set taken by place", "src/data/augment.cu",
     "(a.resident ? a.sample[at.n] : (int64_t)at.n) * a.c * pixels + pixel", "(int64_t)at.n * a.c * pixels + pixel", "test_cuda_augment"),
    ("warp's barrier missing behind the sum of exponentials", "src/ops/loss/loss.cu",
     "slot->value[1] = exps;\n    DDP_SYNC_WARP();", "slot->value[1] = exps;", "test_cuda_loss"),
    ("shuffle that half a warp skips", "src/optim/norms.cuh",
     "const double upper = ddp_shuffle_down(v, delta);", "const double upper = lane < 16 ? ddp_shuffle_down(v, delta) : 0;",
     "test_cuda_update"),
    # ---- who writes where
    ("every lane writes the warp's sum", "src/optim/norms.cuh",
     "if (ddp_thread() % DDP_WARP == 0)\n        part[", "part[", "test_cuda_update"),
    ("racy accumulation: strides of the tree overlap", "src/ops/loss/loss.cu",
     "ddp_thread() * 2 * stride; i + stride < n", "ddp_thread() * stride; i + stride < n", "test_cuda_loss"),
    ("all samples of a block write one place", "src/ops/loss/loss.cu",
     "a->sample[i] = loss;", "a->sample[ddp_block() * LOSS_WARPS] = loss;", "test_cuda_loss"),
    ("all chunks write the first partial sum", "src/ops/point/point.cu",
     "ddp_store8(a.partial + at.chunk * a.c + at.channel, sum[0]);", "ddp_store8(a.partial + at.channel, sum[0]);",
     "test_cuda_point"),
    ("rank's own elements get the block's first moment", "src/optim/adamw.cu",
     "ddp_quad_store(a.state[1] + at, v);", "ddp_quad_store(a.state[1] + at / 16 * 16, v);", "test_cuda_update"),
    ("the average forgets what it was", "src/optim/update.cuh",
     "e.v[k] = fmaf(a.blend, p.v[k] - e.v[k], e.v[k]);", "e.v[k] = fmaf(a.blend, p.v[k] - e.v[k], p.v[k]);", "test_cuda_update"),
    # ---- bounds
    ("one block too few: samples without a loss", "src/ops/loss/loss.cu",
     "return (a->batch + LOSS_WARPS - 1) / LOSS_WARPS;", "return a->batch / LOSS_WARPS;", "test_cuda_loss"),
    ("one block too many", "src/optim/update.cuh",
     "return (a->hi - a->lo) / DDP_BLOCK;", "return (a->hi - a->lo) / DDP_BLOCK + 1;", "test_cuda_update"),
    ("off by one: the window behind the last", "src/ops/pool/pool.cu",
     "r.end = high < count ? high + 1 : count;", "r.end = high <= count ? high + 1 : count;", "test_cuda_pool"),
    ("group of pixels past the end of the picture", "src/ops/dropout/dropout.cu",
     "count = pixels - first < 4 ? pixels - first : 4", "count = 4", "test_cuda_dropout"),
    ("misaligned access of eight", "src/ops/dropout/dropout.cu",
     "const int64_t from = ((int64_t)at.n * pixels + first) * a.c + channel;",
     "const int64_t from = ((int64_t)at.n * pixels + first) * a.c + channel + (at.n & 1) * 2;", "test_cuda_dropout"),
    # ---- strides
    ("height and width swapped in the index", "src/ops/pool/pool.cu",
     "return (((int64_t)n * h + y) * w + x) * c;", "return (((int64_t)n * w + y) * h + x) * c;", "test_cuda_pool"),
    ("channels and pixels swapped", "src/ops/shape/flatten.cu",
     "from[(int64_t)(at.vector * 8 + j) * pixels]", "from[(int64_t)(at.vector * 8 + j)]", "test_cuda_dropout"),
    ("partial sums of one kind over those of the other", "src/ops/norm/norm.cu",
     "ddp_store8(to + 2 * k.chunks * a.c, sum[1]);", "ddp_store8(to + k.chunks * a.c, sum[1]);", "test_cuda_norm"),
    # ---- unwritten tails
    ("unwritten tail: the last element of a conversion", "src/ops/point/point.cu",
     "k < a.count; k++)\n            t[k]", "k + 1 < a.count; k++)\n            t[k]", "test_cuda_flat"),
    ("unwritten tail: the gradient of padding samples", "src/ops/loss/loss.cu",
     "zero_gradient(dx, 0, a->c, lane);", "zero_gradient(dx, a->c, a->c, lane);", "test_cuda_loss"),
    ("unwritten tail: padding pixels of the input's gradient", "src/ops/norm/norm.cu",
     "ddp_put8(din + i, v, a.accumulate);", "if (p < real)\n            ddp_put8(din + i, v, a.accumulate);", "test_cuda_norm"),
    ("unwritten tail: pad lanes of a picture", "src/data/augment.cu",
     "for (int c = 8; c < a.cpad; c += 8)", "for (int c = 16; c < a.cpad; c += 8)", "test_cuda_augment"),
    ("unwritten tail: pad lanes behind the second input", "src/ops/shape/concat.cu",
     "if (a.last && j + 8 >= a.real_c)", "if (a.last && j + 8 > a.wide_c)", "test_cuda_concat"),
    ("pad lanes that are not zero", "src/ops/point/point.cu",
     "first + j < a.real_c ? ddp_sigmoid", "first + j < a.c ? ddp_sigmoid", "test_cuda_point"),
    ("padding samples in the weights' gradient", "src/ops/norm/group_norm.cu",
     "for (int k = 0; k < n; k++) {", "for (int k = 0; k < max(n, a.batch); k++) {", "test_cuda_group_norm"),
    # ---- sums
    ("one merge too few in the canonical tree", "src/reduce/nodes.cuh",
     "m > 0; m--)", "m > 1; m--)", "test_cuda_update"),

    # ---- host: order of work
    ("buckets are exchanged before backward is through with them", "src/reduce/device_step.c",
     "    r->api->wait(r->side, r->bucket[b].complete);\n", "", "test_gpu_reduce"),
    ("buckets are summed before it is known whether the step may", "src/reduce/device_step.c",
     "    if (e.early)\n", "    if (e.early && r->nodes < 0)\n", "test_gpu_reduce"),
    ("a node's sums are sent before they are made", "src/reduce/device_step.c",
     "        sum_covers(r, b);\n        ddp_gpu_wire_covers(r, b);", "        ddp_gpu_wire_covers(r, b);\n        sum_covers(r, b);", "test_gpu_reduce"),
    ("a node's ranks are merged as if they began at the first shard", "src/reduce/device_plan.c",
     "ddp_tree_merges_after(conf.shards, top[i].lo, mine[at].node.lo,", "ddp_tree_merges_after(conf.shards, 0, mine[at].node.lo,", "test_gpu_reduce"),
    ("members of a lane do not tell each other", "src/reduce/device_plan.c",
     ".row = node == r->place.node && whole ? -1", ".row = node == r->place.node && (whole || node >= 0) ? -1", "test_gpu_reduce"),
    ("the next step does not wait for the update", "src/reduce/device_step.c",
     "    r->api->wait(r->compute, r->done);\n    return 0;", "    return 0;", "test_gpu_reduce"),
    ("evaluation does not wait for the average of the other ranks", "src/reduce/device_step.c",
     "        ddp_gpu_wire_spread(r, b, trained, full, DDP_BLOCK);\n    }\n    r->api->record(r->done, r->side);\n    r->api->wait(r->compute, r->done);\n",
     "        ddp_gpu_wire_spread(r, b, trained, full, DDP_BLOCK);\n    }\n", "test_gpu_reduce"),
    ("the event is recorded on the wrong stream", "src/reduce/device_step.c",
     "r->api->record(r->bucket[b].complete, r->compute);", "r->api->record(r->bucket[b].complete, r->side);", "test_gpu_reduce"),
    ("the pass does not wait for its batch", "src/engine/gpu/slot.c",
     "    e->api->wait(e->compute, s->up);\n", "", "train"),
    ("waits for events are dropped", "src/device/cuda/runtime_stream.c",
     'ddp_cuda_keep(s->gpu, cudaStreamWaitEvent(s->cuda, v->cuda, 0), "waiting for an event");', "(void)v;", "plugin"),
    ("nobody waits until fresh memory is zero", "src/device/cuda/runtime.c",
     "    if (e == cudaSuccess)\n        e = cudaDeviceSynchronize();", "", "plugin"),
    # ---- host: device memory, NCCL
    ("the host reads device memory", "src/engine/gpu/step.c",
     "e->api->copy(e->compute, behind, e->loss, losses);", "memcpy(behind, e->loss, losses);", "train"),
    ("fresh memory is not zeroed", "src/device/cuda/runtime.c",
     "e = cudaMemset(p, 0, size);", "e = cudaMemset(p, 0, 0);", "plugin"),
    ("ranks disagree on the sequence of broadcasts", "src/reduce/device_wire.c",
     "(size_t)(ddp_range_size(a) * each),\n                          number(r, rank));",
     "(size_t)(ddp_range_size(a) * each),\n                          r->conf.rank ? number(r, rank) : (number(r, rank) + 1) % r->conf.size);",
     "train"),
    ("a group of NCCL calls is never closed", "src/device/cuda/nccl.c",
     'keep(c, ncclGroupEnd(), "sending and receiving");', "", "train"),
]
