/* A folder of its own for each test, with small groups to choose from, and loading from text. */
#ifndef DDP_TEST_CONFIG_FIXTURE_H
#define DDP_TEST_CONFIG_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/base.h"
#include "config/config.h"
#include "config/parts.h"

/* The current folder is a new one under /tmp while a test runs: configs/model/{mnist_cnn,tiny,on_tiny}.cfg,
 * configs/data/{digits,small}.cfg, configs/optim/{sgd,adamw}.cfg. */
int fixture_setup(void **state);
int fixture_teardown(void **state);
void fixture_write(const char *path, const char *text);

/* Load main.cfg with `text` as its content and overrides up to NULL. NULL: err says why. */
struct ddp_config *fixture_load(const char *text, const char *const *overrides, struct ddp_error *err);
/* The same, which must succeed. */
struct ddp_config *fixture_ok(const char *text, const char *const *overrides);
/* Which must fail with every one of the fragments (up to NULL) in its text. */
void fixture_refused(const char *text, const char *const *overrides, const char *const *fragments);

#define LIST(...) ((const char *const[]){__VA_ARGS__, NULL})
#define NONE      ((const char *const[]){NULL})

#endif
