# Stand-ins for the CUDA runtime and NCCL (standin.h, nccl_standin.h), and the plug-in that runs on them.
add_library(ddp_emu_standin OBJECT runtime_device.cpp runtime_error.cpp runtime_memory.cpp runtime_stream.cpp runtime_event.cpp
            runtime_graph.cpp schedule.cpp nccl.cpp nccl_link.cpp nccl_work.cpp)
target_link_libraries(ddp_emu_standin PRIVATE ddp_emu_flags)
target_include_directories(ddp_emu_standin PUBLIC ${CMAKE_CURRENT_LIST_DIR} ${CMAKE_CURRENT_LIST_DIR}/include)

# ddp_standin_test(NAME SOURCES a.cpp): a cmocka program on the stand-ins, kernels of its own included.
function(ddp_standin_test name)
  cmake_parse_arguments(T "" "" "SOURCES" ${ARGN})
  ddp_test(${name} SOURCES ${T_SOURCES} $<TARGET_OBJECTS:ddp_emu_standin>)
  target_link_libraries(${name} PRIVATE ddp_emu_plain ddp_emu_standin)
  target_include_directories(${name} PRIVATE ${CMAKE_CURRENT_FUNCTION_LIST_DIR}/include)
  set_tests_properties(${name} PROPERTIES LABELS "fast;cuda_emu")
endfunction()
ddp_standin_test(test_cuda_standin SOURCES test_standin.cpp)
ddp_standin_test(test_cuda_standin_nccl SOURCES test_standin_nccl.cpp)

# ddp_cuda_emu: the plug-in of src/device/cuda with its own kernels, on the stand-ins; DDP_CUDA_PLUGIN names it to a
# program. ddp_cuda_emu_checked: the same with every access of a kernel looked at.
file(GLOB plugin_sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/device/cuda/runtime*.c ${PROJECT_SOURCE_DIR}/src/device/cuda/nccl*.c)
list(APPEND plugin_sources ${PROJECT_SOURCE_DIR}/src/device/cuda/plugin.c ${PROJECT_SOURCE_DIR}/src/device/cuda/plan.c
     ${PROJECT_SOURCE_DIR}/src/base/error.c vendor_standin.cpp conv_standin.cpp matmul_standin.cpp)
foreach(kind plain checked)
  string(REPLACE _plain "" plugin ddp_cuda_emu_${kind})
  string(REPLACE _plain "" test test_cuda_plugin_${kind})
  add_library(${plugin} MODULE ${plugin_sources} $<TARGET_OBJECTS:ddp_emu_standin>)
  target_link_libraries(${plugin} PRIVATE ddp_emu_flags ddp_emu_standin ddp_emu_${kind})
  target_compile_options(${plugin} PRIVATE $<$<C_COMPILER_ID:GNU>:-Wno-format-truncation>)
  set_target_properties(${plugin} PROPERTIES LINKER_LANGUAGE CXX LINK_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/emu.map)
  target_link_options(${plugin} PRIVATE -Wl,--version-script=${CMAKE_CURRENT_LIST_DIR}/emu.map -Wl,-Bsymbolic -Wl,--no-undefined
                      -Wl,-z,nodelete) # a thread and a signal handler of it stay

  ddp_test(${test} SOURCES ${PROJECT_SOURCE_DIR}/tests/device/cuda/test_plugin.c LIBS ${CMAKE_DL_LIBS})
  target_compile_definitions(${test} PRIVATE PLUGIN="$<TARGET_FILE:${plugin}>")
  add_dependencies(${test} ${plugin})
  set_tests_properties(${test} PROPERTIES LABELS "fast;cuda_emu")
endforeach()

# The op of examples/op with both halves, on the emulated plug-in, and with the first alone.
set(example ${PROJECT_SOURCE_DIR}/examples/op)
set_source_files_properties(${example}/op.cu PROPERTIES LANGUAGE CXX COMPILE_OPTIONS "-xc++")
add_executable(example_op ${example}/op.c)
add_executable(example_op_device ${example}/op.c ${example}/op.cu)
target_compile_definitions(example_op_device PRIVATE OP_DEVICE)
target_include_directories(example_op_device PRIVATE ${CMAKE_CURRENT_LIST_DIR}/plain ${CMAKE_CURRENT_LIST_DIR})
target_link_libraries(example_op_device PRIVATE $<TARGET_FILE:ddp_cuda_emu>)
add_dependencies(example_op_device ddp_cuda_emu)
foreach(program example_op example_op_device)
  target_include_directories(${program} PRIVATE ${PROJECT_SOURCE_DIR}/include)
  target_link_libraries(${program} PRIVATE ddp)
endforeach()

# Our headers against the vendor's, where those are and of the versions that ours are like.
find_path(DDP_EMU_CUDA_INCLUDE cuda_runtime_api.h PATHS /usr/local/cuda/include /opt/cuda/include NO_DEFAULT_PATH)
find_path(DDP_EMU_NCCL_INCLUDE nccl.h PATHS /usr/local/cuda/include /usr/local/include /usr/include NO_DEFAULT_PATH)
set(versions "")
if(DDP_EMU_CUDA_INCLUDE AND DDP_EMU_NCCL_INCLUDE)
  file(STRINGS ${DDP_EMU_CUDA_INCLUDE}/cuda_runtime_api.h versions REGEX "define CUDART_VERSION +13")
  file(STRINGS ${DDP_EMU_NCCL_INCLUDE}/nccl.h nccl REGEX "define NCCL_VERSION_CODE +228")
  list(APPEND versions ${nccl})
endif()
list(LENGTH versions known)
if(known EQUAL 2)
  add_test(NAME cuda_emu_headers
           COMMAND ${CMAKE_CXX_COMPILER} -std=gnu++17 -fsyntax-only -Wall -Werror -I${CMAKE_CURRENT_LIST_DIR}
                   -isystem ${DDP_EMU_CUDA_INCLUDE} -isystem ${DDP_EMU_NCCL_INCLUDE} ${CMAKE_CURRENT_LIST_DIR}/check_headers.cpp)
else()
  add_test(NAME cuda_emu_headers COMMAND sh -c "echo 'skipped: no headers of CUDA 13 and NCCL 2.28'; exit 77")
endif()
set_tests_properties(cuda_emu_headers PROPERTIES LABELS "fast;cuda_emu" SKIP_RETURN_CODE 77)
