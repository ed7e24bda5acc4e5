# ddp_mpi_test(NAME RANKS PROGRAM [args ...]): a test program under mpirun on this host, on however few cores there are.
# The options are Open MPI's (4.1 and newer); with another MPI the test is started with -n only.
# Without MPI there are no such tests.
if(DEFINED DDP_MPI_TEST_RUN)
  return()
endif()
if(NOT MPI_C_FOUND)
  function(ddp_mpi_test)
  endfunction()
  function(ddp_mpi_nodes_test)
  endfunction()
  return()
endif()
execute_process(COMMAND ${MPIEXEC_EXECUTABLE} --version OUTPUT_VARIABLE mpi_version ERROR_VARIABLE mpi_version)
set(DDP_MPI_TEST_RUN ${MPIEXEC_EXECUTABLE})
if(mpi_version MATCHES "Open MPI|OpenRTE")
  list(APPEND DDP_MPI_TEST_RUN --oversubscribe --bind-to none --mca pml ob1 --mca btl self,vader
       --mca mpi_yield_when_idle 1)
endif()

function(ddp_mpi_test name ranks program)
  add_test(NAME ${name} COMMAND ${DDP_MPI_TEST_RUN} -n ${ranks} $<TARGET_FILE:${program}> ${ARGN})
  set_tests_properties(${name} PROPERTIES LABELS "fast;mpi" TIMEOUT 120
    ENVIRONMENT "OMPI_ALLOW_RUN_AS_ROOT=1;OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1")
endfunction()

# ddp_mpi_nodes_test(NAME R0,R1.. PROGRAM [args ...]): the same with R0 ranks on one pseudo-node, R1 on the next ..
function(ddp_mpi_nodes_test name nodes program)
  string(REPLACE "," "+" ranks ${nodes})
  math(EXPR ranks ${ranks})
  add_test(NAME ${name} COMMAND ${DDP_MPI_TEST_RUN} -n ${ranks} ${PROJECT_SOURCE_DIR}/tests/comm/on_nodes.sh ${nodes}
           $<TARGET_FILE:${program}> ${ARGN})
  set_tests_properties(${name} PROPERTIES LABELS "fast;mpi" TIMEOUT 120
    ENVIRONMENT "OMPI_ALLOW_RUN_AS_ROOT=1;OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1")
endfunction()
