/*
 * A daemon's life — readiness, status line and watchdog, told to the service manager if there is
 * one.
 */
#pragma once

#include "platform/loop.h"
#include "platform/module.h"

/* This process is @host's, another program: nothing below is told to its service manager, no signal
 * is to be taken, no watchdog pinged. Before all others. */
void service_be_guest(const ModuleHost *host);

/* NULL: this process is our own. */
const ModuleHost *service_host(void);

/* Watchdog pings from the loop, when WatchdogSec= is set. */
int service_start_watchdog(Loop *l);

void service_ready(void);
void service_reloading(void); /* until service_ready() is called again */
void service_stopping(void);
void service_failed(int error, const char *sentence); /* why there will be no service_ready() */
/* While a start or stop takes long, and goes on: the service manager waits for @usec from now. */
void service_extend_timeout(uint64_t usec);
void service_status(const char *format, ...) _printf_(1, 2); /* what `systemctl status` shows */

/* Ends the loop when @fd (a pipe or socket end that a parent holds) reports hang-up. Takes
 * nothing. */
int service_exit_with_fd(Loop *l, int fd);

/* From here on SIGHUP calls @fn from the loop, and the service is reloading until it returns. Once
 * in a process, before any thread is started: one that has SIGHUP not blocked would die of it, and
 * all with it. */
int service_reload_on_hangup(Loop *l, void (*fn)(void *userdata), void *userdata);

/* Raises the soft limit of open files to the hard one. */
void service_raise_fd_limit(void);
