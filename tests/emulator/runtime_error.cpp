/* Stand-in for the CUDA runtime: errors, and what is said about broken rules. */
#include <cstdarg>
#include <cstdio>
#include <cstdlib>

#include "standin.h"

namespace standin
{
namespace
{
thread_local cudaError_t last = cudaSuccess;

struct error_text {
    cudaError_t e;
    const char *name, *text;
};
#define ERROR(e, text)                                                                                       \
    {                                                                                                        \
        e, #e, text                                                                                          \
    }
const error_text errors[] = {
    ERROR(cudaSuccess, "no error"),
    ERROR(cudaErrorInvalidValue, "invalid argument"),
    ERROR(cudaErrorMemoryAllocation, "out of memory"),
    ERROR(cudaErrorInitializationError, "initialization error"),
    ERROR(cudaErrorInvalidConfiguration, "invalid configuration argument"),
    ERROR(cudaErrorInvalidDevicePointer, "invalid device pointer"),
    ERROR(cudaErrorInvalidMemcpyDirection, "invalid copy direction for memcpy"),
    ERROR(cudaErrorStubLibrary, "CUDA driver is a stub library"),
    ERROR(cudaErrorInsufficientDriver, "CUDA driver version is insufficient for CUDA runtime version"),
    ERROR(cudaErrorDevicesUnavailable, "CUDA-capable device(s) is/are busy or unavailable"),
    ERROR(cudaErrorNoDevice, "no CUDA-capable device is detected"),
    ERROR(cudaErrorInvalidDevice, "invalid device ordinal"),
    ERROR(cudaErrorNoKernelImageForDevice, "no kernel image is available for execution on the device"),
    ERROR(cudaErrorECCUncorrectable, "uncorrectable ECC error encountered"),
    ERROR(cudaErrorUnsupportedPtxVersion, "the provided PTX was compiled with an unsupported toolchain."),
    ERROR(cudaErrorInvalidResourceHandle, "invalid resource handle"),
    ERROR(cudaErrorIllegalState, "the operation cannot be performed in the present state"),
    ERROR(cudaErrorNotReady, "device not ready"),
    ERROR(cudaErrorIllegalAddress, "an illegal memory access was encountered"),
    ERROR(cudaErrorLaunchFailure, "unspecified launch failure"),
    ERROR(cudaErrorNotPermitted, "operation not permitted"),
    ERROR(cudaErrorNotSupported, "operation not supported"),
    ERROR(cudaErrorSystemNotReady, "system not yet initialized"),
    ERROR(cudaErrorSystemDriverMismatch, "system has unsupported display driver / cuda driver combination"),
    ERROR(cudaErrorCompatNotSupportedOnDevice, "forward compatibility was attempted on non supported HW"),
    ERROR(cudaErrorStreamCaptureUnsupported, "operation not permitted when stream is capturing"),
    ERROR(cudaErrorStreamCaptureInvalidated, "operation failed due to a previous error during capture"),
    ERROR(cudaErrorStreamCaptureMerge, "operation would result in a merge of separate capture sequences"),
    ERROR(cudaErrorStreamCaptureUnmatched, "capture was not ended in the same stream as it began"),
    ERROR(cudaErrorStreamCaptureUnjoined, "capturing stream has unjoined work"),
    ERROR(cudaErrorStreamCaptureIsolation, "dependency created on uncaptured work in another stream"),
    ERROR(cudaErrorStreamCaptureImplicit,
          "operation would make the legacy stream depend on a capturing blocking stream"),
    ERROR(cudaErrorCapturedEvent, "operation not permitted on an event last recorded in a capturing stream"),
    ERROR(cudaErrorStreamCaptureWrongThread,
          "attempt to terminate a thread-local capture sequence from another thread"),
    ERROR(cudaErrorUnknown, "unknown error"),
};
} // namespace

cudaError_t left(cudaError_t e)
{
    if (e != cudaSuccess)
        last = e; /* also cudaErrorNotReady, as callers of the real one have found */
    return e;
}

static void say(const char *fmt, va_list ap)
{
    char text[1024];
    vsnprintf(text, sizeof text, fmt, ap);
    fprintf(stderr, "emulated CUDA: %s\n", text);
    fflush(stderr);
}

cudaError_t broke(cudaError_t e, const char *fmt, ...)
{
    if (setting("DDP_EMU_QUIET", 0))
        return e;
    va_list ap;
    va_start(ap, fmt);
    say(fmt, ap);
    va_end(ap);
    return e;
}

void die(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    say(fmt, ap);
    va_end(ap);
    abort();
}

} // namespace standin

using namespace standin;

cudaError_t cudaPeekAtLastError()
{
    const int number = current_device();
    const cudaError_t lost = number < device_total() ? device_of(number).lost : cudaSuccess;
    return lost != cudaSuccess ? lost : last;
}

cudaError_t cudaGetLastError()
{
    const cudaError_t e = cudaPeekAtLastError();
    last = cudaSuccess; /* a lost device stays lost */
    return e;
}

const char *cudaGetErrorName(cudaError_t e)
{
    for (const error_text &t : errors)
        if (t.e == e)
            return t.name;
    return "unrecognized error code";
}

const char *cudaGetErrorString(cudaError_t e)
{
    for (const error_text &t : errors)
        if (t.e == e)
            return t.text;
    return "unrecognized error code";
}
