add_executable(ddp-data ddp-data.c ddp-data-reference.c ddp-data-fetch.c ddp-data-sources.c ddp-data-download.c ddp-data-unpack.c
               ddp-data-pack.c ddp-data-inspect.c ddp-data-numbers.c)
target_link_libraries(ddp-data PRIVATE ddp_flags ddp_model ddp_data ddp_config ddp_base PkgConfig::CURL PkgConfig::NETTLE ZLIB::ZLIB)
install(TARGETS ddp-data RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
ddp_manual(ddp-data)
