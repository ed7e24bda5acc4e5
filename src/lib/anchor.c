/* libddp.so is made of the modules' archives alone; CMake wants one source of its own. */
typedef int ddp_anchor;
