# Helpers used by every CMakeLists.txt of the project.

# What every target is compiled with. Floating point: no contraction (explicit fma only), no reassociation,
# because results must be the same bits from every compiler and every CPU.
add_library(ddp_flags INTERFACE)
target_compile_options(ddp_flags INTERFACE -Wall -Wextra -Wshadow $<$<COMPILE_LANGUAGE:C>:-Wstrict-prototypes>
                       $<$<COMPILE_LANGUAGE:C>:-Wmissing-prototypes> -Wvla -Wpointer-arith -Wundef -ffp-contract=off
                       -fno-math-errno $<$<C_COMPILER_ID:GNU>:-Wno-format-truncation>)
if(DDP_SANITIZE) # gcc at -O1 warns of sizes that no caller asks for
  target_compile_options(ddp_flags INTERFACE $<$<C_COMPILER_ID:GNU>:-Wno-alloc-size-larger-than>)
endif()
target_compile_definitions(ddp_flags INTERFACE _GNU_SOURCE)
target_include_directories(ddp_flags INTERFACE ${CMAKE_CURRENT_LIST_DIR}/../include ${CMAKE_CURRENT_LIST_DIR}/../src)
if(DDP_WERROR)
  target_compile_options(ddp_flags INTERFACE -Werror)
endif()
if(DDP_SANITIZE)
  target_compile_options(ddp_flags INTERFACE -fsanitize=${DDP_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  target_link_options(ddp_flags INTERFACE -fsanitize=${DDP_SANITIZE})
endif()

# ddp_module(NAME SOURCES a.c b.c DEPENDS base config LIBS PkgConfig::X)
#   static library ddp_NAME; DEPENDS are the modules before it that it stands on.
function(ddp_module name)
  cmake_parse_arguments(M "" "" "SOURCES;DEPENDS;LIBS" ${ARGN})
  add_library(ddp_${name} STATIC ${M_SOURCES})
  target_link_libraries(ddp_${name} PUBLIC ddp_flags ${M_LIBS})
  foreach(dep ${M_DEPENDS})
    target_link_libraries(ddp_${name} PUBLIC ddp_${dep})
  endforeach()
  set_property(GLOBAL APPEND PROPERTY DDP_MODULES ddp_${name})
  set_property(GLOBAL APPEND PROPERTY DDP_OBJECTS $<TARGET_OBJECTS:ddp_${name}>)
endfunction()

# ddp_isa_sources(TARGET a.c b.c): compile each file once per instruction set. Inside, DDP_ISA is the suffix of its
# symbols (scalar, avx2, avx512, neon) and DDP_VL the number of floats in a vector. All give the same bits;
# ops/cpu/cpu.h says which one this machine runs.
function(ddp_isa_sources target)
  if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64|amd64")
    set(isas "scalar:4:" "avx2:8:-mavx2 -mfma -mtune=haswell" "avx512:16:-mavx512f -mavx512dq -mavx512bw -mavx512vl -mfma -mprefer-vector-width=512")
  elseif(CMAKE_SYSTEM_PROCESSOR MATCHES "aarch64|arm64")
    set(isas "neon:4:")
  else()
    set(isas "scalar:4:")
  endif()
  if(DDP_FUZZ) # with clang's checks and counters one file takes minutes, and no target looks for faults in kernels
    set_source_files_properties(${ARGN} PROPERTIES COMPILE_OPTIONS -fno-sanitize=all)
  endif()
  foreach(entry ${isas})
    string(REGEX MATCH "^([a-z0-9]+):([0-9]+):(.*)$" _ "${entry}")
    set(isa ${CMAKE_MATCH_1})
    set(vl ${CMAKE_MATCH_2})
    separate_arguments(flags UNIX_COMMAND "${CMAKE_MATCH_3}")
    set(lib ${target}_${isa})
    add_library(${lib} OBJECT ${ARGN})
    target_link_libraries(${lib} PRIVATE ddp_flags)
    target_compile_definitions(${lib} PRIVATE DDP_ISA=${isa} DDP_VL=${vl})
    if(DDP_SANITIZE) # checks in unrolled code take minutes to compile; bits do not depend on the level
      target_compile_options(${lib} PRIVATE -O1 ${flags})
    else()
      target_compile_options(${lib} PRIVATE -O3 ${flags})
    endif()
    if(CMAKE_C_COMPILER_ID STREQUAL "GNU")
      # predictive commoning spills the accumulators of the micro-kernels (92 % of peak becomes 69 %); places of variables at
      # each instruction take gcc a minute to follow through inlined code
      target_compile_options(${lib} PRIVATE -fno-predictive-commoning -fno-var-tracking-assignments)
    endif()
    target_sources(${target} PRIVATE $<TARGET_OBJECTS:${lib}>)
    set_property(GLOBAL APPEND PROPERTY DDP_OBJECTS $<TARGET_OBJECTS:${lib}>)
  endforeach()
endfunction()

# ddp_test(NAME SOURCES a.c MODULES reduce comm [LABEL fast|medium|slow] [TIMEOUT s] [RANKS n])
#   a cmocka program in ctest; fast unless it says otherwise.
function(ddp_test name)
  cmake_parse_arguments(T "" "LABEL;TIMEOUT" "SOURCES;MODULES;LIBS" ${ARGN})
  if(NOT T_LABEL)
    set(T_LABEL fast)
  endif()
  if(NOT T_TIMEOUT)
    set(T_TIMEOUT 120)
  endif()
  add_executable(${name} ${T_SOURCES})
  target_link_libraries(${name} PRIVATE ddp_flags PkgConfig::CMOCKA ${T_LIBS})
  foreach(module ${T_MODULES})
    target_link_libraries(${name} PRIVATE ddp_${module})
  endforeach()
  target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR}/tests)
  add_test(NAME ${name} COMMAND ${name})
  set_tests_properties(${name} PROPERTIES LABELS ${T_LABEL} TIMEOUT ${T_TIMEOUT})
endfunction()

# ddp_manual(PROGRAM): its manual page, which it writes itself (--man), into man1 of the installation. Where what is
# built cannot run here there is none.
function(ddp_manual program)
  if(CMAKE_CROSSCOMPILING)
    return()
  endif()
  set(page ${CMAKE_BINARY_DIR}/man/${program}.1)
  file(MAKE_DIRECTORY ${CMAKE_BINARY_DIR}/man)
  add_custom_command(TARGET ${program} POST_BUILD COMMAND ${program} --man > ${page} BYPRODUCTS ${page} VERBATIM)
  install(FILES ${page} DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
endfunction()
