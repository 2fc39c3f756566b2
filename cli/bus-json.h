/*
 * Values of the bus as JSON — for replies whose keys the master may add to: what we do not know is
 * shown all the same.
 */
#pragma once

#include <jansson.h>
#include <systemd/sd-bus.h>

#include "base/macro.h"

/* An a{sv} as an object. Return: 1; 0 at the end of the container it stands in; negative errno. */
int bus_read_dict_as_json(sd_bus_message *m, json_t **ret);
