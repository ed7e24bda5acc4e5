/* What ddp-data can fetch, from where, and how to know that it is right. The MD5 sums are the publishers'
 * own; the SHA-256 sums are of the unpacked files. */
#include "ddp-data.h"

#include "base/base.h"

static const struct ddp_fetch_file mnist_files[] = {
    {.name = "train-images-idx3-ubyte.gz",
     .unpacked = "train-images-idx3-ubyte",
     .bytes = 47040016,
     .sha256 = "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"},
    {.name = "train-labels-idx1-ubyte.gz",
     .unpacked = "train-labels-idx1-ubyte",
     .bytes = 60008,
     .sha256 = "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"},
    {.name = "t10k-images-idx3-ubyte.gz",
     .unpacked = "t10k-images-idx3-ubyte",
     .bytes = 7840016,
     .sha256 = "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"},
    {.name = "t10k-labels-idx1-ubyte.gz",
     .unpacked = "t10k-labels-idx1-ubyte",
     .bytes = 10008,
     .sha256 = "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"},
};
static const char *const mnist_mirrors[] = {"https://ossci-datasets.s3.amazonaws.com/mnist",
                                            "https://storage.googleapis.com/cvdf-datasets/mnist", NULL};

static const struct ddp_fetch_file fashion_files[] = {
    {.name = "train-images-idx3-ubyte.gz",
     .unpacked = "train-images-idx3-ubyte",
     .bytes = 47040016,
     .md5 = "8d4fb7e6c68d591d4c3dfef9ec88bf0d"},
    {.name = "train-labels-idx1-ubyte.gz",
     .unpacked = "train-labels-idx1-ubyte",
     .bytes = 60008,
     .md5 = "25c81989df183df01b3e8a0aad5dffbe"},
    {.name = "t10k-images-idx3-ubyte.gz",
     .unpacked = "t10k-images-idx3-ubyte",
     .bytes = 7840016,
     .md5 = "bef4ecab320f06d8554ea6380940ec79"},
    {.name = "t10k-labels-idx1-ubyte.gz",
     .unpacked = "t10k-labels-idx1-ubyte",
     .bytes = 10008,
     .md5 = "bb300cfdad3c16e7a12a480ee83cd310"},
};
static const char *const fashion_mirrors[] = {
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",
    "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion", NULL};

static const char *const cifar10_members[] = {"data_batch_1.bin",
                                              "data_batch_2.bin",
                                              "data_batch_3.bin",
                                              "data_batch_4.bin",
                                              "data_batch_5.bin",
                                              "test_batch.bin",
                                              NULL};
static const struct ddp_fetch_file cifar10_files[] = {
    {.name = "cifar-10-binary.tar.gz",
     .md5 = "c32a1d4ab5d03f1284b67883e8d87530",
     .members = cifar10_members,
     .bytes = 30730000},
};
static const char *const cifar10_mirrors[] = {"https://www.cs.toronto.edu/~kriz", NULL};

static const struct ddp_fetch_source sources[] = {
    {"mnist", "mnist", mnist_mirrors, mnist_files, DDP_COUNT(mnist_files)},
    {"fashion-mnist", "fashion-mnist", fashion_mirrors, fashion_files, DDP_COUNT(fashion_files)},
    {"cifar10", "cifar10", cifar10_mirrors, cifar10_files, DDP_COUNT(cifar10_files)},
};

const struct ddp_fetch_source *ddp_fetch_source_at(int i)
{
    return i >= 0 && i < (int)DDP_COUNT(sources) ? &sources[i] : NULL;
}
