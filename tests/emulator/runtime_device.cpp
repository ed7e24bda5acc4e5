/* Stand-in for the CUDA runtime: devices and versions. */
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>

#include "standin.h"

namespace standin
{

/* Never destroyed: threads may outlive main(). */
std::recursive_mutex &books = *new std::recursive_mutex;

namespace
{
enum { RUNTIME = CUDART_VERSION, SMS = 4, MOST_DEVICES = 64 };

thread_local int current = 0;
uint64_t random_state;

struct world {
    std::vector<int> visible; /* number of the emulated device behind each that the process sees */
    device devices[MOST_DEVICES];
    int driver = RUNTIME;
    bool old = false;
    int major = 9, minor = 0;
    size_t memory = 0;
    std::string name;
};

void uuid_of(int number, char bytes[16])
{
    memset(bytes, 0, 16);
    memcpy(bytes, "ddp-emu", 8);
    bytes[15] = (char)(number + 1);
}

std::string uuid_text(int number)
{
    char bytes[16], text[64];
    uuid_of(number, bytes);
    int len = snprintf(text, sizeof text, "GPU-");
    for (int i = 0; i < 16; i++)
        len += snprintf(text + len, sizeof text - (size_t)len, "%s%02x",
                        i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", (unsigned char)bytes[i]);
    return text;
}

/* Programming guide, "CUDA Environment Variables": a comma-separated list of numbers or UUIDs (a beginning
 * will do); the first that names no device ends it. */
std::vector<int> visible_of(const char *list, int devices)
{
    std::vector<int> v;
    if (!list) {
        for (int i = 0; i < devices; i++)
            v.push_back(i);
        return v;
    }
    std::string text(list);
    for (size_t at = 0; at < text.size();) {
        const size_t comma = std::min(text.find(',', at), text.size());
        const std::string one = text.substr(at, comma - at);
        at = comma + 1;
        int found = -1;
        char *end;
        const long n = strtol(one.c_str(), &end, 10);
        if (!one.empty() && *end == '\0' && n >= 0 && n < devices)
            found = (int)n;
        for (int i = 0; one.size() > 4 && i < devices; i++)
            if (uuid_text(i).compare(0, one.size(), one) == 0)
                found = i;
        if (found < 0)
            break;
        v.push_back(found);
    }
    return v;
}

world *make_world()
{
    world *w = new world;
    const int devices = (int)std::min<int64_t>(setting("DDP_EMU_DEVICES", 8), MOST_DEVICES);
    w->visible = visible_of(getenv("CUDA_VISIBLE_DEVICES"), devices);
    w->memory = (size_t)setting("DDP_EMU_MEMORY", 2ll << 30);
    const char *driver = getenv("DDP_EMU_DRIVER"), *cc = getenv("DDP_EMU_CC"), *name = getenv("DDP_EMU_NAME");
    if (driver) {
        w->driver = strcmp(driver, "old") == 0 ? 11040 : atoi(driver);
        /* CUDA Compatibility: a driver serves toolkits of its own major version and older ones */
        w->old = w->driver / 1000 < RUNTIME / 1000;
    }
    if (cc && sscanf(cc, "%d.%d", &w->major, &w->minor) != 2)
        die("DDP_EMU_CC is '%s', not as 8.6", cc);
    w->name = name ? name : "Emulated GPU";
    return w;
}

world &the()
{
    static world *w = make_world();
    return *w;
}

bool exists(int number)
{
    return number >= 0 && number < device_total();
}
} // namespace

int64_t setting(const char *name, int64_t otherwise)
{
    const char *s = getenv(name);
    if (!s || !*s)
        return otherwise;
    char *end;
    const long long v = strtoll(s, &end, 10);
    if (*end)
        die("%s is '%s', not a number", name, s);
    return v;
}

uint64_t chance64()
{
    if (random_state == 0)
        random_state = (uint64_t)setting("DDP_EMU_SEED", 1) * 0x9e3779b97f4a7c15ull | 1;
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state * 0x2545f4914f6cdd1dull;
}

uint32_t chance(uint32_t below)
{
    return (uint32_t)((chance64() >> 32) * below >> 32);
}

device &device_of(int number)
{
    return the().devices[number];
}
int current_device()
{
    return current;
}
int device_total()
{
    return (int)the().visible.size();
}
void device_id(int number, char pci[16])
{
    snprintf(pci, 16, "0000:%02X:00.0", 0x10 + the().visible[(size_t)number]);
}

cudaError_t entered()
{
    if (the().old)
        return cudaErrorInsufficientDriver;
    if (device_total() == 0)
        return cudaErrorNoDevice;
    /* Runtime API, "CUDA Error types": after cudaErrorLaunchFailure and its like "any further CUDA work will
     * return the same error". */
    return device_of(current).lost;
}

} // namespace standin

using namespace standin;

/* ---- versions ---- */

cudaError_t cudaDriverGetVersion(int *v)
{
    if (!v)
        return left(cudaErrorInvalidValue);
    *v = the().driver; /* 0: "If no driver is installed" */
    return cudaSuccess;
}

cudaError_t cudaRuntimeGetVersion(int *v)
{
    if (!v)
        return left(cudaErrorInvalidValue);
    *v = RUNTIME;
    return cudaSuccess;
}

/* ---- devices ---- */

cudaError_t cudaGetDeviceCount(int *n)
{
    if (!n)
        return left(cudaErrorInvalidValue);
    *n = 0;
    if (the().old)
        return left(cudaErrorInsufficientDriver);
    if (device_total() == 0)
        return left(cudaErrorNoDevice);
    *n = device_total();
    return cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *p, int number)
{
    if (the().old)
        return left(cudaErrorInsufficientDriver);
    if (!p)
        return left(cudaErrorInvalidValue);
    if (!exists(number))
        return left(cudaErrorInvalidDevice);
    const int behind = the().visible[(size_t)number];
    memset(p, 0, sizeof *p);
    snprintf(p->name, sizeof p->name, "%s", the().name.c_str());
    uuid_of(behind, p->uuid.bytes);
    p->totalGlobalMem = the().memory;
    p->major = the().major;
    p->minor = the().minor;
    p->multiProcessorCount = SMS;
    p->warpSize = 32;
    p->maxThreadsPerBlock = 1024;
    p->maxThreadsDim[0] = p->maxThreadsDim[1] = 1024;
    p->maxThreadsDim[2] = 64;
    p->maxGridSize[0] = 0x7fffffff;
    p->maxGridSize[1] = p->maxGridSize[2] = 65535;
    p->regsPerBlock = 65536;
    p->sharedMemPerBlock = p->sharedMemPerBlockOptin = 48 << 10;
    p->sharedMemPerMultiprocessor = 64 << 10;
    p->maxThreadsPerMultiProcessor = 2048;
    p->concurrentKernels = p->asyncEngineCount = p->streamPrioritiesSupported = 1;
    p->memoryBusWidth = 64;
    p->l2CacheSize = 1 << 20;
    p->pciBusID = 0x10 + behind;
    return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int *v, enum cudaDeviceAttr a, int number)
{
    struct cudaDeviceProp p;
    const cudaError_t e = v ? cudaGetDeviceProperties(&p, number) : left(cudaErrorInvalidValue);
    if (e != cudaSuccess)
        return e;
    switch (a) {
    case cudaDevAttrMaxThreadsPerBlock:
        *v = p.maxThreadsPerBlock;
        break;
    case cudaDevAttrMaxSharedMemoryPerBlock:
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
        *v = (int)p.sharedMemPerBlock;
        break;
    case cudaDevAttrMaxSharedMemoryPerMultiprocessor:
        *v = (int)p.sharedMemPerMultiprocessor;
        break;
    case cudaDevAttrWarpSize:
        *v = p.warpSize;
        break;
    case cudaDevAttrMultiProcessorCount:
        *v = p.multiProcessorCount;
        break;
    case cudaDevAttrConcurrentKernels:
        *v = p.concurrentKernels;
        break;
    case cudaDevAttrPciBusId:
        *v = p.pciBusID;
        break;
    case cudaDevAttrComputeCapabilityMajor:
        *v = p.major;
        break;
    case cudaDevAttrComputeCapabilityMinor:
        *v = p.minor;
        break;
    default: /* not integrated, compute mode 0, PCI domain and device 0 */
        *v = 0;
    }
    return cudaSuccess;
}

cudaError_t cudaDeviceGetPCIBusId(char *id, int len, int number)
{
    if (the().old)
        return left(cudaErrorInsufficientDriver);
    if (!exists(number))
        return left(cudaErrorInvalidDevice);
    char text[16];
    device_id(number, text);
    if (!id || len <= (int)strlen(text))
        return left(cudaErrorInvalidValue);
    strcpy(id, text);
    return cudaSuccess;
}

cudaError_t cudaDeviceGetByPCIBusId(int *number, const char *id)
{
    if (the().old)
        return left(cudaErrorInsufficientDriver);
    for (int i = 0; number && id && i < device_total(); i++) {
        char text[16];
        device_id(i, text);
        if (strcasecmp(text, id) == 0 || strcasecmp(text + 5, id) == 0) {
            *number = i;
            return cudaSuccess;
        }
    }
    return left(cudaErrorInvalidValue);
}

cudaError_t cudaDeviceGetStreamPriorityRange(int *least, int *greatest)
{
    const cudaError_t e = entered();
    if (e != cudaSuccess)
        return left(e);
    if (least)
        *least = 0;
    if (greatest)
        *greatest = -5;
    return cudaSuccess;
}

cudaError_t cudaSetDevice(int number)
{
    if (the().old)
        return left(cudaErrorInsufficientDriver);
    if (!exists(number))
        return left(device_total() ? cudaErrorInvalidDevice : cudaErrorNoDevice);
    current = number;
    return left(device_of(number).lost);
}

cudaError_t cudaInitDevice(int number, unsigned int, unsigned int)
{
    return cudaSetDevice(number);
}

cudaError_t cudaGetDevice(int *number)
{
    if (!number)
        return left(cudaErrorInvalidValue);
    if (the().old)
        return left(cudaErrorInsufficientDriver);
    *number = current;
    return cudaSuccess;
}

cudaError_t cudaSetDeviceFlags(unsigned int flags)
{
    return left(flags & ~(unsigned)cudaDeviceScheduleMask ? cudaErrorInvalidValue : entered());
}

cudaError_t cudaMemGetInfo(size_t *free, size_t *total)
{
    const cudaError_t e = entered();
    if (e != cudaSuccess)
        return left(e);
    if (!free || !total)
        return left(cudaErrorInvalidValue);
    std::lock_guard<std::recursive_mutex> hold(books);
    *total = the().memory;
    *free = the().memory - device_of(current).used;
    return cudaSuccess;
}
