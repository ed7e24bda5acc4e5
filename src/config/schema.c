/* THE table: every key of a config, once. Validation, --help-config, the resolved dump, the config hash and
 * docs/config.md all come from it; a new key is a field in struct ddp_config and a row here.
 *
 * flags: DDP_KEY_RESULT where another value gives other weights (tests/system perturbs every key
 * both ways), DDP_KEY_STOP where it can do so only by steering early stopping, DDP_KEY_PATH where it names
 * something to read (place.c). Everything else must leave the bits alone. */
#include "config/parts.h"

#include <stdio.h>
#include <string.h>

#define FIELD(field) .name = #field, .offset = offsetof(struct ddp_config, field)
#define MANY         9007199254740992.0 /* 2^53: integers up to here are exact as doubles */
#define SEED_MAX     9223372036854775807.0
/* "sgd|adamw|...": every name behind a bar, without the first bar. */
#define BAR_NAME(NAME, name) "|" #name
#define OPTIMS               (&(DDP_OPTIMS(BAR_NAME))[1])

enum { RESULT = DDP_KEY_RESULT, STOP = DDP_KEY_STOP, END = DDP_KEY_END, PATH = DDP_KEY_PATH };

// clang-format off
const struct ddp_key ddp_config_keys[] = {
    {FIELD(seed), .type = DDP_KEY_INT, .dflt = "1", .min = 0, .max = SEED_MAX, .flags = RESULT,
     .doc = "Seed of initial values, data order, augmentation and dropout"},
    {FIELD(device), .type = DDP_KEY_CHOICE, .dflt = "auto", .choices = "auto|cpu|cuda",
     .doc = "Where to compute; auto takes a GPU where there is one"},

    {FIELD(train.batch), .type = DDP_KEY_INT, .dflt = "128", .min = 1, .max = 1 << 24, .unit = "images", .flags = RESULT,
     .doc = "Global batch over all ranks; a step takes train.accumulate of them"},
    {FIELD(train.batch_per_rank), .type = DDP_KEY_INT, .dflt = "0", .min = 0, .max = 1 << 24, .unit = "images", .flags = RESULT,
     .doc = "In place of train.batch: what each rank has of it, so that the result depends on their number; 0 is off"},
    {FIELD(train.shards), .type = DDP_KEY_INT, .dflt = "8", .min = 1, .max = 65536, .choices = "ranks", .flags = RESULT,
     .doc = "Logical shards that a batch is cut into: part of the experiment, at least the number of ranks; \"ranks\" is one for each, so that the result depends on their number"},
    {FIELD(train.accumulate), .type = DDP_KEY_INT, .dflt = "1", .min = 1, .max = 65536, .unit = "batches", .flags = RESULT,
     .doc = "Batches whose gradients are summed before one step"},
    {FIELD(train.epochs), .type = DDP_KEY_INT, .dflt = "10", .min = 1, .max = 1000000, .unit = "epochs", .flags = RESULT,
     .doc = "Passes over the training data; schedules stretch over them"},
    {FIELD(train.max_steps), .type = DDP_KEY_INT, .dflt = "0", .min = 0, .max = MANY, .unit = "steps", .flags = RESULT | END,
     .doc = "End after this many steps, if that is earlier; 0 is no limit"},
    {FIELD(train.threads), .type = DDP_KEY_INT, .dflt = "0", .min = 0, .max = 4096, .unit = "threads",
     .doc = "Compute threads of each rank; 0 takes the cores that the rank was given"},
    {FIELD(train.early_stop), .type = DDP_KEY_INT, .dflt = "0", .min = 0, .max = 1000000, .unit = "evaluations", .flags = RESULT,
     .doc = "Stop after this many evaluations without a better one; 0 is never"},
    {FIELD(train.trail_every), .type = DDP_KEY_INT, .dflt = "100", .min = 0, .max = MANY, .unit = "steps",
     .doc = "Write hashes of all tensors to weights.trail every so many steps; 0 is off"},
    {FIELD(train.precision), .type = DDP_KEY_CHOICE, .dflt = "fp32", .choices = "fp32|bf16|fp16", .flags = RESULT,
     .doc = "On a GPU: type of activations and weights in the passes; sums, masters and the optimizer's state are fp32 anyway"},
    {FIELD(train.tf32), .type = DDP_KEY_BOOL, .dflt = "false", .flags = RESULT,
     .doc = "On a GPU: convolutions and matrix products of fp32 may be computed in TF32"},
    {FIELD(train.loss_scale), .type = DDP_KEY_FLOAT, .dflt = "65536", .min = 1, .max = 1 << 24, .flags = RESULT,
     .doc = "train.precision fp16: what the loss is multiplied by at the start, a power of two; then it follows the gradients"},
    {FIELD(train.loss_scale_interval), .type = DDP_KEY_INT, .dflt = "2000", .min = 1, .max = MANY, .unit = "steps", .flags = RESULT,
     .doc = "train.precision fp16: steps without overflow after which the scale doubles"},

    {FIELD(model.name), .type = DDP_KEY_STRING, .dflt = "inline",
     .doc = "Name of the model in messages"},
    {FIELD(model.layers), .type = DDP_KEY_NODE, .dflt = "()", .flags = RESULT,
     .doc = "The layers in order: groups of type, name, input and the keys of the type"},
    {FIELD(model.input), .type = DDP_KEY_FLOAT_LIST, .dflt = "[]", .min = 1, .max = 65536,
     .doc = "Channels, height and width that the model insists on; empty takes what the data has"},

    {FIELD(data.name), .type = DDP_KEY_STRING, .dflt = "inline",
     .doc = "Name of the data set in run.json and messages"},
    {FIELD(data.format), .type = DDP_KEY_STRING, .dflt = "digits", .flags = RESULT,
     .doc = "How the data is stored: digits (drawn by the program), idx, cifar10, cifar100, packed, folder (of JPEG and PNG pictures), csv, idx_real, friedman (generated), noise (random pictures, to measure with), or a registered format"},
    {FIELD(data.root), .type = DDP_KEY_STRING, .dflt = "", .flags = PATH,
     .doc = "Folder that holds the data sets; empty takes the variable DDP_DATA_DIR, or data"},
    {FIELD(data.path), .type = DDP_KEY_STRING, .dflt = "", .flags = PATH,
     .doc = "Folder or file of the data set: beside the file that says so, or below data.root, which comes first where it is given"},
    {FIELD(data.files), .type = DDP_KEY_STRING_LIST, .dflt = "[]", .flags = RESULT,
     .doc = "Names of the files below data.path; empty takes the format's own"},
    {FIELD(data.inputs), .type = DDP_KEY_STRING_LIST, .dflt = "[]", .flags = RESULT,
     .doc = "Columns of a table to read, by name; empty takes all that data.targets leaves"},
    {FIELD(data.targets), .type = DDP_KEY_STRING_LIST, .dflt = "[]", .flags = RESULT,
     .doc = "Columns of a table to predict, by name; empty takes the last one"},
    {FIELD(data.train_count), .type = DDP_KEY_INT, .dflt = "60000", .min = 1, .max = 1 << 30, .unit = "images", .flags = RESULT,
     .doc = "Generated data: pictures to train on"},
    {FIELD(data.test_count), .type = DDP_KEY_INT, .dflt = "10000", .min = 1, .max = 1 << 30, .unit = "images", .flags = STOP,
     .doc = "Generated data: pictures held out"},
    {FIELD(data.shape), .type = DDP_KEY_FLOAT_LIST, .dflt = "[1, 28, 28]", .min = 1, .max = 4096, .flags = RESULT,
     .doc = "Of noise: channels (1 to 4), height and width of the pictures"},
    {FIELD(data.classes), .type = DDP_KEY_INT, .dflt = "10", .min = 1, .max = 1 << 24, .flags = RESULT,
     .doc = "Of noise: how many labels there are"},
    {FIELD(data.seed), .type = DDP_KEY_INT, .dflt = "1", .min = 0, .max = SEED_MAX, .flags = RESULT,
     .doc = "Which pictures are drawn: of generated data, and by data.limit_train and data.limit_test"},
    {FIELD(data.limit_train), .type = DDP_KEY_INT, .dflt = "0", .min = 0, .max = MANY, .unit = "images", .flags = RESULT,
     .doc = "Train on so many pictures only, drawn from all classes alike; 0 is all"},
    {FIELD(data.limit_test), .type = DDP_KEY_INT, .dflt = "0", .min = 0, .max = MANY, .unit = "images", .flags = STOP,
     .doc = "Evaluate on so many pictures only, drawn from all classes alike; 0 is all"},
    {FIELD(data.normalize), .type = DDP_KEY_BOOL, .dflt = "true", .flags = RESULT,
     .doc = "Subtract the mean and divide by the standard deviation of each channel, or column of a table"},
    {FIELD(data.normalize_targets), .type = DDP_KEY_BOOL, .dflt = "false", .flags = RESULT,
     .doc = "Real targets: subtract the mean and divide by the standard deviation of each, as the training split has them"},
    {FIELD(data.mean), .type = DDP_KEY_FLOAT_LIST, .dflt = "[]", .min = -1e30, .max = 1e30, .flags = RESULT,
     .doc = "Mean of each channel, full scale of pictures being 1; empty takes the data set's own"},
    {FIELD(data.std), .type = DDP_KEY_FLOAT_LIST, .dflt = "[]", .min = 1e-30, .max = 1e30, .flags = RESULT,
     .doc = "Standard deviation of each channel, full scale of pictures being 1; empty takes the data set's own"},
    {FIELD(data.crop_padding), .type = DDP_KEY_INT, .dflt = "0", .min = 0, .max = 1024, .unit = "pixels", .flags = RESULT,
     .doc = "Random crop after padding with zeros by this many pixels on each side; 0 is off"},
    {FIELD(data.flip), .type = DDP_KEY_BOOL, .dflt = "false", .flags = RESULT,
     .doc = "Flip every second picture left to right, at random"},
    {FIELD(data.cutout), .type = DDP_KEY_INT, .dflt = "0", .min = 0, .max = 1024, .unit = "pixels", .flags = RESULT,
     .doc = "Side of a random square that is set to the mean; 0 is off"},
    {FIELD(data.crop_area), .type = DDP_KEY_FLOAT_LIST, .dflt = "[]", .min = 0.0001, .max = 1, .flags = RESULT,
     .doc = "Random-resized-crop: [from, to], the part of the picture that is cut out and enlarged to its size; empty is off"},
    {FIELD(data.crop_ratio), .type = DDP_KEY_FLOAT_LIST, .dflt = "[]", .min = 0.01, .max = 100, .flags = RESULT,
     .doc = "With data.crop_area: [from, to] of the cut's width by its height; empty is 3/4 to 4/3"},
    {FIELD(data.rotate), .type = DDP_KEY_FLOAT, .dflt = "0", .min = 0, .max = 180, .unit = "degrees", .flags = RESULT,
     .doc = "Rotate by up to this, either way; 0 is off"},
    {FIELD(data.translate), .type = DDP_KEY_FLOAT, .dflt = "0", .min = 0, .max = 1, .flags = RESULT,
     .doc = "Shift by whole pixels, up to this part of the width and of the height, either way; 0 is off"},
    {FIELD(data.scale), .type = DDP_KEY_FLOAT_LIST, .dflt = "[]", .min = 0.1, .max = 10, .flags = RESULT,
     .doc = "Enlarge what is in the picture by a factor of [from, to]; empty is off"},
    {FIELD(data.shear), .type = DDP_KEY_FLOAT, .dflt = "0", .min = 0, .max = 80, .unit = "degrees", .flags = RESULT,
     .doc = "Shear along the rows by up to this, either way; 0 is off"},
    {FIELD(data.brightness), .type = DDP_KEY_FLOAT, .dflt = "0", .min = 0, .max = 10, .flags = RESULT,
     .doc = "Change brightness by a factor of up to 1 + this, and down to 1 - this; 0 is off"},
    {FIELD(data.contrast), .type = DDP_KEY_FLOAT, .dflt = "0", .min = 0, .max = 10, .flags = RESULT,
     .doc = "Change contrast, the distance to the picture's mean grey, by such a factor; 0 is off"},
    {FIELD(data.saturation), .type = DDP_KEY_FLOAT, .dflt = "0", .min = 0, .max = 10, .flags = RESULT,
     .doc = "Of pictures in colour: change saturation, the distance to each pixel's grey, by such a factor; 0 is off"},
    {FIELD(data.hue), .type = DDP_KEY_FLOAT, .dflt = "0", .min = 0, .max = 0.5, .flags = RESULT,
     .doc = "Of pictures in colour: turn the hue by up to this part of the circle, either way; 0 is off"},
    {FIELD(data.mixup), .type = DDP_KEY_FLOAT, .dflt = "0", .min = 0, .max = 1000, .flags = RESULT,
     .doc = "Mix each training picture and its label with another one's, parts drawn from Beta(a, a) with this a; 0 is off"},
    {FIELD(data.shuffle), .type = DDP_KEY_BOOL, .dflt = "true", .flags = RESULT,
     .doc = "New order of the training pictures in each epoch"},
    {FIELD(data.prefetch), .type = DDP_KEY_INT, .dflt = "4", .min = 1, .max = 1024, .unit = "batches",
     .doc = "Batches that each rank makes ready ahead of time"},
    {FIELD(data.workers), .type = DDP_KEY_INT, .dflt = "1", .min = 0, .max = 256, .unit = "threads",
     .doc = "Prefetch threads of each rank; 0 fetches in the training thread"},
    {FIELD(data.verify), .type = DDP_KEY_BOOL, .dflt = "true",
     .doc = "Check the checksums of packed files at start"},

    {FIELD(optim.name), .type = DDP_KEY_STRING, .dflt = "inline",
     .doc = "Name of the optimizer's settings: a note for readers of config.cfg"},
    {FIELD(optim.type), .type = DDP_KEY_CHOICE, .dflt = "sgd", .choices = OPTIMS, .flags = RESULT,
     .doc = "The optimizer"},
    {FIELD(optim.lr), .type = DDP_KEY_FLOAT, .dflt = "0.1", .min = 0, .max = 1000, .flags = RESULT,
     .doc = "Learning rate: the highest that the schedule reaches"},
    {FIELD(optim.lr_rule), .type = DDP_KEY_CHOICE, .dflt = "none", .choices = "none|linear|sqrt", .flags = RESULT,
     .doc = "With train.batch_per_rank: optim.lr is that of one rank, and multiplied by their number or its square root"},
    {FIELD(optim.momentum), .type = DDP_KEY_FLOAT, .dflt = "0.9", .min = 0, .max = 0.999999, .flags = RESULT,
     .doc = "Momentum of sgd, lars and rmsprop"},
    {FIELD(optim.dampening), .type = DDP_KEY_FLOAT, .dflt = "0", .min = 0, .max = 1, .flags = RESULT,
     .doc = "Dampening of sgd's momentum"},
    {FIELD(optim.weight_decay), .type = DDP_KEY_FLOAT, .dflt = "0", .min = 0, .max = 100, .flags = RESULT,
     .doc = "Weight decay: added to the gradient by sgd, lars, adam and rmsprop, decoupled in adamw and lamb"},
    {FIELD(optim.beta1), .type = DDP_KEY_FLOAT, .dflt = "0.9", .min = 0, .max = 0.999999, .flags = RESULT,
     .doc = "Decay of the mean of gradients in adam, adamw and lamb"},
    {FIELD(optim.beta2), .type = DDP_KEY_FLOAT, .dflt = "0.999", .min = 0, .max = 0.99999999, .flags = RESULT,
     .doc = "Decay of the mean of squared gradients in adam, adamw and lamb"},
    {FIELD(optim.alpha), .type = DDP_KEY_FLOAT, .dflt = "0.99", .min = 0, .max = 0.99999999, .flags = RESULT,
     .doc = "Decay of the mean of squared gradients in rmsprop"},
    {FIELD(optim.eps), .type = DDP_KEY_FLOAT, .dflt = "1e-08", .min = 1e-30, .max = 1, .flags = RESULT,
     .doc = "Added to denominators by adam, adamw, lamb, lars and rmsprop"},
    {FIELD(optim.trust), .type = DDP_KEY_FLOAT, .dflt = "0.001", .min = 0, .max = 100, .flags = RESULT,
     .doc = "Trust coefficient of lars"},
    {FIELD(optim.nesterov), .type = DDP_KEY_BOOL, .dflt = "false", .flags = RESULT,
     .doc = "Nesterov's momentum in sgd"},
    {FIELD(optim.centered), .type = DDP_KEY_BOOL, .dflt = "false", .flags = RESULT,
     .doc = "rmsprop divides by the gradient's deviation from its mean, not by its size"},
    {FIELD(optim.clip_norm), .type = DDP_KEY_FLOAT, .dflt = "0", .min = 0, .max = 1e9, .flags = RESULT,
     .doc = "Scale gradients down to this global norm; 0 is off"},
    {FIELD(optim.ema), .type = DDP_KEY_FLOAT, .dflt = "0", .min = 0, .max = 0.99999999, .flags = STOP,
     .doc = "Decay of an exponential moving average of the weights, which evaluations use; 0 is off"},
    {FIELD(optim.schedule), .type = DDP_KEY_CHOICE, .dflt = "constant", .choices = "constant|step|cosine|onecycle|poly", .flags = RESULT,
     .doc = "How the learning rate goes over the run"},
    {FIELD(optim.warmup_steps), .type = DDP_KEY_INT, .dflt = "0", .min = 0, .max = MANY, .unit = "steps", .flags = RESULT,
     .doc = "Steps of linear warm-up before the schedule begins"},
    {FIELD(optim.warmup_start), .type = DDP_KEY_FLOAT, .dflt = "0.01", .min = 0, .max = 1, .flags = RESULT,
     .doc = "Where warm-up begins, as a part of the learning rate"},
    {FIELD(optim.milestones), .type = DDP_KEY_FLOAT_LIST, .dflt = "[]", .min = 0, .max = 1000000, .unit = "epochs", .flags = RESULT,
     .doc = "schedule step: when the learning rate is multiplied by optim.gamma, ascending"},
    {FIELD(optim.gamma), .type = DDP_KEY_FLOAT, .dflt = "0.1", .min = 0, .max = 1, .flags = RESULT,
     .doc = "schedule step: factor at each milestone"},
    {FIELD(optim.final_lr), .type = DDP_KEY_FLOAT, .dflt = "0", .min = 0, .max = 1000, .flags = RESULT,
     .doc = "schedules cosine and poly: learning rate at the end"},
    {FIELD(optim.power), .type = DDP_KEY_FLOAT, .dflt = "1", .min = 0, .max = 100, .flags = RESULT,
     .doc = "schedule poly: exponent; 1 is a straight line"},
    {FIELD(optim.pct_start), .type = DDP_KEY_FLOAT, .dflt = "0.3", .min = 0, .max = 1, .flags = RESULT,
     .doc = "schedule onecycle: part of the run in which the learning rate rises"},
    {FIELD(optim.div_factor), .type = DDP_KEY_FLOAT, .dflt = "25", .min = 1, .max = 1e12, .flags = RESULT,
     .doc = "schedule onecycle: begins at optim.lr divided by this"},
    {FIELD(optim.final_div_factor), .type = DDP_KEY_FLOAT, .dflt = "10000", .min = 1, .max = 1e12, .flags = RESULT,
     .doc = "schedule onecycle: ends at its beginning divided by this"},
    {FIELD(optim.no_decay), .type = DDP_KEY_STRING_LIST, .dflt = "[]", .flags = RESULT,
     .doc = "Patterns (*, ?, [..]) of tensor names without weight decay; norms and biases have none anyway"},
    {FIELD(optim.groups), .type = DDP_KEY_NODE, .dflt = "()", .flags = RESULT,
     .doc = "Parameters with settings of their own: groups of match (a pattern), lr_scale and weight_decay, applied in order"},

    {FIELD(reduce.mode), .type = DDP_KEY_CHOICE, .dflt = "canonical", .choices = "canonical|fast", .flags = RESULT,
     .doc = "canonical gives the same bits at any number of ranks; fast is the transport's own all-reduce"},
    {FIELD(reduce.bucket_mb), .type = DDP_KEY_FLOAT, .dflt = "0", .min = 0, .max = 4096, .unit = "MB",
     .doc = "Gradients that are reduced together while backward goes on; 0 is 4 on CPUs and 16 on GPUs"},

    {FIELD(repro.level), .type = DDP_KEY_CHOICE, .dflt = "bitwise", .choices = "bitwise|warn|fast",
     .doc = "What becomes of settings that break the promise of the same bits: refused, named in a warning, or taken as they are"},

    {FIELD(probe.from), .type = DDP_KEY_INT, .dflt = "0", .min = 0, .max = MANY, .unit = "steps",
     .doc = "First step of which RUN/probe keeps hashes of all that each op computes, on CPUs; 0 is none. For ddp-runs bisect"},
    {FIELD(probe.to), .type = DDP_KEY_INT, .dflt = "0", .min = 0, .max = MANY, .unit = "steps",
     .doc = "Last step of these; 0 is probe.from alone"},
    {FIELD(probe.values), .type = DDP_KEY_STRING_LIST, .dflt = "[]",
     .doc = "Patterns (*, ?, [..]) of KIND/NAME whose values are kept, too: forward/conv1, backward/*, sum/*.weight (docs/run.md)"},

    {FIELD(comm.share_gpu), .type = DDP_KEY_BOOL, .dflt = "false",
     .doc = "Several ranks may use one GPU: for tests of correctness, never for speed"},
    {FIELD(comm.interface), .type = DDP_KEY_STRING, .dflt = "",
     .doc = "Between hosts: interface (eth0) or network (10.1.0.0/16) to use; empty takes one by which all reach all"},
    {FIELD(comm.timeout_s), .type = DDP_KEY_FLOAT, .dflt = "600", .min = 1, .max = 1000000, .unit = "seconds",
     .doc = "How long GPU ranks wait for one another before the job ends with an error"},

    {FIELD(gpu.tune), .type = DDP_KEY_BOOL, .dflt = "false",
     .doc = "Measure the algorithms of convolutions and matrix products and take the fastest, not the first; the plan lock keeps them"},
    {FIELD(gpu.graph), .type = DDP_KEY_BOOL, .dflt = "true",
     .doc = "Run a step as one CUDA graph; false enqueues its kernels one by one, with the same bits"},
    {FIELD(gpu.branches), .type = DDP_KEY_INT, .dflt = "8", .min = 1, .max = 64, .unit = "shards",
     .doc = "Shards of a rank that a GPU computes side by side, at most: fewer where its memory is short; the same bits"},
    {FIELD(gpu.resident_data), .type = DDP_KEY_CHOICE, .dflt = "auto", .choices = "auto|on|off",
     .doc = "Keep all pictures in the GPU's memory; auto does so where they fit; off where the loader alters them (data.crop_area to data.mixup)"},

    {FIELD(eval.every_epochs), .type = DDP_KEY_INT, .dflt = "1", .min = 0, .max = 1000000, .unit = "epochs", .flags = STOP,
     .doc = "Evaluate after so many epochs, and always at the end; 0 is only at the end"},

    {FIELD(checkpoint.every_steps), .type = DDP_KEY_INT, .dflt = "0", .min = 0, .max = MANY, .unit = "steps",
     .doc = "Save after so many steps; 0 is off"},
    {FIELD(checkpoint.every_epochs), .type = DDP_KEY_INT, .dflt = "1", .min = 0, .max = 1000000, .unit = "epochs",
     .doc = "Save after so many epochs; 0 is off. The end is always saved"},
    {FIELD(checkpoint.keep), .type = DDP_KEY_INT, .dflt = "3", .min = 1, .max = 1000000, .unit = "checkpoints",
     .doc = "Newest checkpoints that stay"},
    {FIELD(checkpoint.best), .type = DDP_KEY_BOOL, .dflt = "true",
     .doc = "Keep the best evaluated one as well"},
    {FIELD(checkpoint.background), .type = DDP_KEY_BOOL, .dflt = "true",
     .doc = "Write while training goes on"},

    {FIELD(init.from), .type = DDP_KEY_STRING, .dflt = "", .flags = RESULT | PATH,
     .doc = "Start from the weights of this safetensors file, run or checkpoint, by name; empty draws them"},
    {FIELD(init.strict), .type = DDP_KEY_BOOL, .dflt = "true",
     .doc = "Refuse a file whose tensors are not exactly the model's"},

    {FIELD(run.dir), .type = DDP_KEY_STRING, .dflt = "runs",
     .doc = "Folder in which the run directory is made, below the working directory"},
    {FIELD(run.name), .type = DDP_KEY_STRING, .dflt = "",
     .doc = "First part of the run directory's name; empty takes the config's file name"},

    {FIELD(log.every_steps), .type = DDP_KEY_INT, .dflt = "10", .min = 1, .max = MANY, .unit = "steps",
     .doc = "Steps between records in metrics.jsonl"},
    {FIELD(log.level), .type = DDP_KEY_STRING, .dflt = "info", .choices = "error|warn|info|debug",
     .doc = "What reaches the terminal and the log files"},
    {FIELD(log.progress), .type = DDP_KEY_BOOL, .dflt = "true",
     .doc = "Show the progress line"},
    {FIELD(log.progress_every), .type = DDP_KEY_FLOAT, .dflt = "10", .min = 0.1, .max = 1e6, .unit = "seconds",
     .doc = "How often it comes where it is not redrawn on a terminal: in log files"},

    {FIELD(launch.bind), .type = DDP_KEY_CHOICE, .dflt = "compact", .choices = "compact|spread|none",
     .doc = "How ranks are placed on cores: close together, far apart, or left to the system"},
    {FIELD(launch.memory_bind), .type = DDP_KEY_BOOL, .dflt = "true",
     .doc = "Bind a rank's memory to the NUMA nodes of its cores"},
    {FIELD(launch.hyperthreads), .type = DDP_KEY_BOOL, .dflt = "false",
     .doc = "Count hyperthreads as cores"},
    {FIELD(launch.grace), .type = DDP_KEY_FLOAT, .dflt = "30", .min = 0, .max = 1000000, .unit = "seconds",
     .doc = "From a request to stop (a signal) until ranks that have not stopped are named and killed; 0 is never"},
    {FIELD(launch.stuck_after), .type = DDP_KEY_FLOAT, .dflt = "600", .min = 0, .max = 1e9, .unit = "seconds",
     .doc = "End the job when one rank has held up the others for so long (and for 60 times what is usual); 0 only warns"},
    {FIELD(launch.fanout), .type = DDP_KEY_INT, .dflt = "32", .min = 1, .max = 1000000,
     .doc = "Hosts that ddp-launch watches over its own connections; of more, each further one through one of these"},
    {.name = NULL},
};
// clang-format on

const struct ddp_config_group ddp_config_groups[] = {
    {"", "Keys without a group", NULL},
    {"train", "Training", NULL},
    {"model", "The model: a group, or the name of a file in configs/model", "mnist_cnn"},
    {"data", "The data: a group, or the name of a file in configs/data", "digits"},
    {"optim", "The optimizer: a group, or the name of a file in configs/optim", "sgd"},
    {"reduce", "How gradients are summed over ranks", NULL},
    {"repro", "The promise of the same bits", NULL},
    {"probe", "Records of what each op computes, for finding where two runs part", NULL},
    {"comm", "How ranks talk to one another", NULL},
    {"gpu", "GPUs", NULL},
    {"eval", "Evaluation on held-out data", NULL},
    {"checkpoint", "Saving the state of a run", NULL},
    {"init", "Initial weights", NULL},
    {"run", "The run directory", NULL},
    {"log", "Messages and metrics", NULL},
    {"launch", "Placement of ranks, and the watch over them", NULL},
    {NULL, NULL, NULL},
};

const struct ddp_config_group *ddp_config_group_find(const char *name)
{
    for (const struct ddp_config_group *g = ddp_config_groups; g->name; g++)
        if (strcmp(g->name, name) == 0)
            return g;
    return NULL;
}

const struct ddp_key *ddp_key_find(const struct ddp_key *keys, const char *name)
{
    for (; keys && keys->name; keys++)
        if (strcmp(keys->name, name) == 0)
            return keys;
    return NULL;
}

bool ddp_key_is_group(const struct ddp_key *keys, const char *name)
{
    size_t n = strlen(name);
    for (; keys && keys->name; keys++)
        if (strncmp(keys->name, name, n) == 0 && keys->name[n] == '.')
            return true;
    return false;
}

int ddp_choice_count(const char *choices)
{
    int n = 1;
    for (; *choices; choices++)
        n += *choices == '|';
    return n;
}

const char *ddp_choice_at(const char *choices, int i, char buf[DDP_WHERE_SIZE])
{
    for (; i > 0 && *choices; choices++)
        i -= *choices == '|';
    snprintf(buf, DDP_WHERE_SIZE, "%.*s", (int)strcspn(choices, "|"), choices);
    return buf;
}
