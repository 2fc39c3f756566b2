/*
 * Item sort — order records by small items that stand for them.
 *
 * An item is 16 bytes: the partition, the key's first eight bytes as a number, and a reference. Sorting
 * items moves 16 bytes where sorting records would move them all, and most comparisons see only the
 * prefix. Partitions by counting; then by the most significant differing bits of the prefix; a group
 * whose prefixes are all equal takes its next eight bytes; small groups by insertion, and after
 * ITEM_RADIX_DEPTH equal bytes by merging. Stable.
 *
 * Source: McIlroy, Bostic, McIlroy, "Engineering Radix Sort", Computing Systems 6 (1993). Changed: the
 * digit is taken where minimum and maximum differ, so text whose bytes use few values needs few passes.
 */
#pragma once

#include "records/record.h"

#define ITEM_RADIX_DEPTH 64 /* beyond, equal prefixes are the rule and comparing is cheaper */

typedef struct Item {
        uint64_t prefix; /* key_prefix(key, size, 0); undefined after sorting */
        uint32_t partition;
        uint32_t ref;
} Item;

/* By partition alone, otherwise in the order they had. Same arguments and result as items_sort(). */
int items_partition(Item *items, Item *scratch, size_t count, uint32_t partitions);

/* The other way round: for items that were filled downwards, before a stable sort. */
void items_reverse(Item *items, size_t count);

/* The whole key of an item. */
typedef const uint8_t *(*ItemKeyFunc)(const void *userdata, uint32_t ref, size_t *ret_size);

/**
 * items_sort() - by partition, then by key
 * @scratch:    room for @count items
 * @partitions: every item's is below
 *
 * Return: 0, or -ENOMEM (only with more than one partition).
 */
int items_sort(Item *items, Item *scratch, size_t count, uint32_t partitions, ItemKeyFunc key,
               const void *userdata);
