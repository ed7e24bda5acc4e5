/* Levelled logs. A line is "[LEVEL host:rank] text"; info of rank 0 goes to stderr without the tag. Every
 * line of a rank goes to its log file once one is set. Thread-safe, one write() per line. */
#ifndef DDP_BASE_LOG_H
#define DDP_BASE_LOG_H

#include <stdbool.h>

#include "ddp/error.h"

enum ddp_log_level { DDP_LOG_ERROR, DDP_LOG_WARN, DDP_LOG_INFO, DDP_LOG_DEBUG };

/* "error", "warn", "info", "debug" -> the level; info for anything else. */
enum ddp_log_level ddp_log_level_of(const char *name);

/* Who this process is; before it is called, lines carry no tag and everything up to `terminal` is shown. */
void ddp_log_identity(const char *host, int rank);
/* What reaches the terminal: errors of every rank always, other levels up to `terminal` of rank 0 only. */
void ddp_log_terminal(enum ddp_log_level terminal);
/* All lines up to `level` also go to this file (appended). */
int ddp_log_file(const char *path, enum ddp_log_level level, struct ddp_error *err);
void ddp_log_close(void);

void ddp_log(enum ddp_log_level level, const char *fmt, ...) DDP_PRINTF(2, 3);

/* A line that the user sees whatever the level is, without a tag; the log file has it, too. Rank 0 only. */
void ddp_log_always(const char *fmt, ...) DDP_PRINTF(1, 2);

/* A program's own words before there is a log: "PROGRAM: TEXT" and a newline to stderr, through
 * ddp_text_plain(). */
void ddp_say(const char *program, const char *fmt, ...) DDP_PRINTF(2, 3);

/* The progress line: on a terminal it is redrawn in place and other lines are printed above it; in a log it
 * is a plain line. Set final to leave it standing. Rank 0 only. */
void ddp_log_progress(const char *line, bool final);
/* Whether stderr (under ddp-launch, the launcher's, as DDP_TTY says) is a terminal that can redraw. */
bool ddp_log_is_terminal(void);
/* Columns of that terminal now, wherever its window is drawn to; 0: there is none. */
int ddp_log_columns(void);

#endif
