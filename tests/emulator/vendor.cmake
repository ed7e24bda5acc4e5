# Stand-ins for cuDNN and cuBLASLt. Their inner loops run over channels and want to be vectorised.
set_source_files_properties(conv_standin.cpp matmul_standin.cpp PROPERTIES COMPILE_OPTIONS "-O3;-ffp-contract=off")
ddp_test(test_cuda_vendor_standin MODULES base
         SOURCES test_vendor_standin.cpp vendor_standin.cpp conv_standin.cpp matmul_standin.cpp ${PROJECT_SOURCE_DIR}/src/device/cuda/plan.c)
target_include_directories(test_cuda_vendor_standin PRIVATE ${CMAKE_CURRENT_LIST_DIR} ${CMAKE_CURRENT_LIST_DIR}/include)
set_tests_properties(test_cuda_vendor_standin PROPERTIES LABELS "fast;cuda_emu")
