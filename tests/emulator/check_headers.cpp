/* Do the declarations in include/ agree with the vendor's? Compiled, not run, where the vendor's headers are:
 * ours are included in a namespace, and every type, function and value is compared. */
#include <cuda_runtime.h>
#include <nccl.h>

#include <cstddef>
#include <type_traits>

/* Macros of both: the vendor's values, before ours replace them. */
#define MACROS(X)                                                                                            \
    X(cudaHostAllocDefault)                                                                                  \
    X(cudaHostAllocPortable)                                                                                 \
    X(cudaHostAllocMapped)                                                                                   \
    X(cudaHostAllocWriteCombined)                                                                            \
    X(cudaStreamDefault)                                                                                     \
    X(cudaStreamNonBlocking)                                                                                 \
    X(cudaEventDefault)                                                                                      \
    X(cudaEventBlockingSync)                                                                                 \
    X(cudaEventDisableTiming)                                                                                \
    X(cudaEventRecordDefault)                                                                                \
    X(cudaEventWaitDefault)                                                                                  \
    X(cudaDeviceScheduleAuto)                                                                                \
    X(cudaDeviceScheduleSpin)                                                                                \
    X(cudaDeviceScheduleYield)                                                                               \
    X(cudaDeviceScheduleBlockingSync)                                                                        \
    X(cudaDeviceScheduleMask)                                                                                \
    X(NCCL_UNIQUE_ID_BYTES)                                                                                  \
    X(NCCL_CONFIG_UNDEF_INT)
#define KEEP(x) static const long long vendor_##x = x;
MACROS(KEEP)
static const int vendor_version_of_2_28_9 = NCCL_VERSION(2, 28, 9),
                 vendor_version_of_2_8_4 = NCCL_VERSION(2, 8, 4);
static constexpr ncclConfig_t vendor_config = NCCL_CONFIG_INITIALIZER;

#undef cudaHostAllocDefault
#undef cudaHostAllocPortable
#undef cudaHostAllocMapped
#undef cudaHostAllocWriteCombined
#undef cudaStreamDefault
#undef cudaStreamNonBlocking
#undef cudaEventDefault
#undef cudaEventBlockingSync
#undef cudaEventDisableTiming
#undef cudaEventRecordDefault
#undef cudaEventWaitDefault
#undef cudaDeviceScheduleAuto
#undef cudaDeviceScheduleSpin
#undef cudaDeviceScheduleYield
#undef cudaDeviceScheduleBlockingSync
#undef cudaDeviceScheduleMask
#undef CUDART_VERSION
#undef NCCL_UNIQUE_ID_BYTES
#undef NCCL_CONFIG_UNDEF_INT
#undef NCCL_CONFIG_UNDEF_PTR
#undef NCCL_CONFIG_INITIALIZER
#undef NCCL_MAJOR
#undef NCCL_MINOR
#undef NCCL_PATCH
#undef NCCL_SUFFIX
#undef NCCL_VERSION
#undef NCCL_VERSION_CODE
#define DDP_EMU_COMPARE
namespace ours
{
#include "include/nccl.h"
}

#define SAME_MACRO(x) static_assert(vendor_##x == x, #x);
MACROS(SAME_MACRO)
static_assert(vendor_version_of_2_28_9 == NCCL_VERSION(2, 28, 9), "version numbers");
static_assert(vendor_version_of_2_8_4 == NCCL_VERSION(2, 8, 4), "version numbers");

/* ---- values ---- */
#define SAME(x) static_assert((long long)ours::x == (long long)::x, #x);
SAME(cudaSuccess)
SAME(cudaErrorInvalidValue)
SAME(cudaErrorMemoryAllocation)
SAME(cudaErrorInitializationError)
SAME(cudaErrorInvalidConfiguration)
SAME(cudaErrorInvalidDevicePointer)
SAME(cudaErrorInvalidMemcpyDirection)
SAME(cudaErrorStubLibrary)
SAME(cudaErrorInsufficientDriver)
SAME(cudaErrorDevicesUnavailable)
SAME(cudaErrorNoDevice)
SAME(cudaErrorInvalidDevice)
SAME(cudaErrorNoKernelImageForDevice)
SAME(cudaErrorECCUncorrectable)
SAME(cudaErrorUnsupportedPtxVersion)
SAME(cudaErrorInvalidResourceHandle)
SAME(cudaErrorIllegalState)
SAME(cudaErrorNotReady)
SAME(cudaErrorIllegalAddress)
SAME(cudaErrorLaunchFailure)
SAME(cudaErrorNotPermitted)
SAME(cudaErrorNotSupported)
SAME(cudaErrorSystemNotReady)
SAME(cudaErrorSystemDriverMismatch)
SAME(cudaErrorCompatNotSupportedOnDevice)
SAME(cudaErrorStreamCaptureUnsupported)
SAME(cudaErrorStreamCaptureInvalidated)
SAME(cudaErrorStreamCaptureMerge)
SAME(cudaErrorStreamCaptureUnmatched)
SAME(cudaErrorStreamCaptureUnjoined)
SAME(cudaErrorStreamCaptureIsolation)
SAME(cudaErrorStreamCaptureImplicit)
SAME(cudaErrorCapturedEvent)
SAME(cudaErrorStreamCaptureWrongThread)
SAME(cudaErrorUnknown)
SAME(cudaDevAttrMaxThreadsPerBlock)
SAME(cudaDevAttrMaxSharedMemoryPerBlock)
SAME(cudaDevAttrWarpSize)
SAME(cudaDevAttrMultiProcessorCount)
SAME(cudaDevAttrIntegrated)
SAME(cudaDevAttrComputeMode)
SAME(cudaDevAttrConcurrentKernels)
SAME(cudaDevAttrPciBusId)
SAME(cudaDevAttrPciDeviceId)
SAME(cudaDevAttrPciDomainId)
SAME(cudaDevAttrComputeCapabilityMajor)
SAME(cudaDevAttrComputeCapabilityMinor)
SAME(cudaDevAttrMaxSharedMemoryPerMultiprocessor)
SAME(cudaDevAttrMaxSharedMemoryPerBlockOptin)
SAME(cudaMemcpyHostToHost)
SAME(cudaMemcpyHostToDevice)
SAME(cudaMemcpyDeviceToHost)
SAME(cudaMemcpyDeviceToDevice)
SAME(cudaMemcpyDefault)
SAME(cudaMemoryTypeUnregistered)
SAME(cudaMemoryTypeHost)
SAME(cudaMemoryTypeDevice)
SAME(cudaMemoryTypeManaged)
SAME(cudaStreamCaptureModeGlobal)
SAME(cudaStreamCaptureModeThreadLocal)
SAME(cudaStreamCaptureModeRelaxed)
SAME(cudaStreamCaptureStatusNone)
SAME(cudaStreamCaptureStatusActive)
SAME(cudaGraphInstantiateFlagUseNodePriority)
SAME(cudaStreamCaptureStatusInvalidated)
SAME(ncclSuccess)
SAME(ncclUnhandledCudaError)
SAME(ncclSystemError)
SAME(ncclInternalError)
SAME(ncclInvalidArgument)
SAME(ncclInvalidUsage)
SAME(ncclRemoteError)
SAME(ncclInProgress)
SAME(ncclNumResults)
SAME(ncclSum)
SAME(ncclProd)
SAME(ncclMax)
SAME(ncclMin)
SAME(ncclAvg)
SAME(ncclNumOps)
SAME(ncclMaxRedOp)
SAME(ncclInt8)
SAME(ncclChar)
SAME(ncclUint8)
SAME(ncclInt32)
SAME(ncclInt)
SAME(ncclUint32)
SAME(ncclInt64)
SAME(ncclUint64)
SAME(ncclFloat16)
SAME(ncclHalf)
SAME(ncclFloat32)
SAME(ncclFloat)
SAME(ncclFloat64)
SAME(ncclDouble)
SAME(ncclBfloat16)
SAME(ncclFloat8e4m3)
SAME(ncclFloat8e5m2)
SAME(ncclNumTypes)

/* ---- types ----
 * The vendor's type in the place of ours of the same name (what handles point to is only named, and so one
 * type for both). */
template <class T> struct theirs {
    typedef T type;
};
template <class T> struct theirs<T *> {
    typedef typename theirs<T>::type *type;
};
template <class T> struct theirs<const T> {
    typedef const typename theirs<T>::type type;
};
template <class R, class... A> struct theirs<R(A...)> {
    typedef typename theirs<R>::type type(typename theirs<A>::type...);
};
#define TYPE(x)                                                                                              \
    template <> struct theirs<ours::x> {                                                                     \
        typedef ::x type;                                                                                    \
    };
TYPE(cudaError)
TYPE(CUuuid_st)
TYPE(cudaDeviceProp)
TYPE(cudaDeviceAttr)
TYPE(cudaMemcpyKind)
TYPE(cudaMemoryType)
TYPE(cudaPointerAttributes)
TYPE(cudaStreamCaptureMode)
TYPE(cudaStreamCaptureStatus)
TYPE(ncclUniqueId)
TYPE(ncclResult_t)
TYPE(ncclRedOp_t)
TYPE(ncclDataType_t)
TYPE(ncclConfig_t)

#define FIELD(s, f)                                                                                          \
    static_assert(std::is_same<theirs<decltype(ours::s::f)>::type, decltype(::s::f)>::value, #s "." #f);
#define PLACED(s, f)                                                                                         \
    FIELD(s, f) static_assert(offsetof(ours::s, f) == offsetof(::s, f), #s "." #f " is elsewhere");
FIELD(CUuuid_st, bytes)
FIELD(cudaDeviceProp, name)
FIELD(cudaDeviceProp, uuid)
FIELD(cudaDeviceProp, totalGlobalMem)
FIELD(cudaDeviceProp, sharedMemPerBlock)
FIELD(cudaDeviceProp, regsPerBlock)
FIELD(cudaDeviceProp, warpSize)
FIELD(cudaDeviceProp, maxThreadsPerBlock)
FIELD(cudaDeviceProp, maxThreadsDim)
FIELD(cudaDeviceProp, maxGridSize)
FIELD(cudaDeviceProp, major)
FIELD(cudaDeviceProp, minor)
FIELD(cudaDeviceProp, multiProcessorCount)
FIELD(cudaDeviceProp, integrated)
FIELD(cudaDeviceProp, concurrentKernels)
FIELD(cudaDeviceProp, ECCEnabled)
FIELD(cudaDeviceProp, pciBusID)
FIELD(cudaDeviceProp, pciDeviceID)
FIELD(cudaDeviceProp, pciDomainID)
FIELD(cudaDeviceProp, asyncEngineCount)
FIELD(cudaDeviceProp, memoryBusWidth)
FIELD(cudaDeviceProp, l2CacheSize)
FIELD(cudaDeviceProp, maxThreadsPerMultiProcessor)
FIELD(cudaDeviceProp, streamPrioritiesSupported)
FIELD(cudaDeviceProp, sharedMemPerMultiprocessor)
FIELD(cudaDeviceProp, sharedMemPerBlockOptin)
FIELD(cudaDeviceProp, memoryPoolsSupported)
FIELD(cudaPointerAttributes, type)
FIELD(cudaPointerAttributes, device)
FIELD(cudaPointerAttributes, devicePointer)
FIELD(cudaPointerAttributes, hostPointer)
FIELD(ncclUniqueId, internal)
PLACED(ncclConfig_t, size)
PLACED(ncclConfig_t, magic)
PLACED(ncclConfig_t, version)
PLACED(ncclConfig_t, blocking)
PLACED(ncclConfig_t, cgaClusterSize)
PLACED(ncclConfig_t, minCTAs)
PLACED(ncclConfig_t, maxCTAs)
PLACED(ncclConfig_t, netName)
PLACED(ncclConfig_t, splitShare)
PLACED(ncclConfig_t, trafficClass)
PLACED(ncclConfig_t, commName)
PLACED(ncclConfig_t, collnetEnable)
PLACED(ncclConfig_t, CTAPolicy)
PLACED(ncclConfig_t, shrinkShare)
PLACED(ncclConfig_t, nvlsCTAs)
PLACED(ncclConfig_t, nChannelsPerNetPeer)
PLACED(ncclConfig_t, nvlinkCentricSched)
static_assert(sizeof(ours::ncclConfig_t) == sizeof(::ncclConfig_t), "ncclConfig_t");
static_assert(vendor_config.magic == NCCL_CONFIG_MAGIC, "NCCL_CONFIG_INITIALIZER");

/* ---- functions: the vendor has one of exactly this type (in C++ it has more of some names) ---- */
#define FUNCTION(f) static theirs<decltype(ours::f)>::type *const vendor_##f __attribute__((unused)) = &::f;
FUNCTION(cudaDriverGetVersion)
FUNCTION(cudaRuntimeGetVersion)
FUNCTION(cudaGetLastError)
FUNCTION(cudaPeekAtLastError)
FUNCTION(cudaGetErrorName)
FUNCTION(cudaGetErrorString)
FUNCTION(cudaGetDeviceCount)
FUNCTION(cudaGetDeviceProperties)
FUNCTION(cudaDeviceGetAttribute)
FUNCTION(cudaDeviceGetPCIBusId)
FUNCTION(cudaDeviceGetByPCIBusId)
FUNCTION(cudaDeviceGetStreamPriorityRange)
FUNCTION(cudaInitDevice)
FUNCTION(cudaSetDevice)
FUNCTION(cudaGetDevice)
FUNCTION(cudaSetDeviceFlags)
FUNCTION(cudaDeviceSynchronize)
FUNCTION(cudaDeviceReset)
FUNCTION(cudaMalloc)
FUNCTION(cudaFree)
FUNCTION(cudaMallocHost)
FUNCTION(cudaHostAlloc)
FUNCTION(cudaFreeHost)
FUNCTION(cudaMemGetInfo)
FUNCTION(cudaPointerGetAttributes)
FUNCTION(cudaMemcpy)
FUNCTION(cudaMemset)
FUNCTION(cudaMemcpyAsync)
FUNCTION(cudaMemsetAsync)
FUNCTION(cudaStreamCreate)
FUNCTION(cudaStreamCreateWithFlags)
FUNCTION(cudaStreamCreateWithPriority)
FUNCTION(cudaStreamGetPriority)
FUNCTION(cudaStreamDestroy)
FUNCTION(cudaStreamQuery)
FUNCTION(cudaStreamSynchronize)
FUNCTION(cudaStreamWaitEvent)
FUNCTION(cudaEventCreate)
FUNCTION(cudaEventCreateWithFlags)
FUNCTION(cudaEventDestroy)
FUNCTION(cudaEventRecord)
FUNCTION(cudaEventQuery)
FUNCTION(cudaEventSynchronize)
FUNCTION(cudaEventElapsedTime)
FUNCTION(cudaStreamBeginCapture)
FUNCTION(cudaStreamEndCapture)
FUNCTION(cudaStreamIsCapturing)
FUNCTION(cudaThreadExchangeStreamCaptureMode)
FUNCTION(cudaGraphInstantiate)
FUNCTION(cudaGraphGetNodes)
FUNCTION(cudaGraphUpload)
FUNCTION(cudaGraphLaunch)
FUNCTION(cudaGraphDestroy)
FUNCTION(cudaGraphExecDestroy)
FUNCTION(ncclGetVersion)
FUNCTION(ncclGetUniqueId)
FUNCTION(ncclCommInitRank)
FUNCTION(ncclCommInitRankConfig)
FUNCTION(ncclCommFinalize)
FUNCTION(ncclCommDestroy)
FUNCTION(ncclCommAbort)
FUNCTION(ncclGetErrorString)
FUNCTION(ncclGetLastError)
FUNCTION(ncclCommGetAsyncError)
FUNCTION(ncclCommCount)
FUNCTION(ncclCommCuDevice)
FUNCTION(ncclCommUserRank)
FUNCTION(ncclBroadcast)
FUNCTION(ncclAllReduce)
FUNCTION(ncclAllGather)
FUNCTION(ncclSend)
FUNCTION(ncclRecv)
FUNCTION(ncclGroupStart)
FUNCTION(ncclGroupEnd)
