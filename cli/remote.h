/*
 * Programs of another host — over ssh, as `mrctl -H HOST` reaches that host's bus.
 */
#pragma once

#include "base/error.h"

/**
 * remote_mrctl() - run mrctl on another host, its output ours
 * @host:  [USER@]HOST[:PORT], as sd_bus_open_system_remote() takes it
 * @words: what follows "mrctl", NULL-terminated; plain letters, digits and dashes
 *
 * Return: its exit status; -EINVAL for a @host that is none, -ENOLINK when ssh failed, -ENOENT when
 * there is no mrctl, each with a message.
 */
int remote_mrctl(const char *host, const char *const *words, Error *e);
