/*
 * TLS — the keys that [TLS] of the configuration names.
 */
#pragma once

#include "rpc/evgrpc.h"
#include "timesyncd-lite/conf.h"

/* @ret: NULL where none are configured. Return: 0, or negative errno with the sentence in @e. */
int time_tls_load(const TimeConf *conf, EvgrpcTls **ret, Error *e);
