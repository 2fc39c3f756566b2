/*
 * Item sort — order records by small items that stand for them.
 *
 * An item is 16 bytes: the partition, the key's first eight bytes as a number, and a reference.
 * Sorting items moves 16 bytes where sorting records would move them all, and most comparisons see
 * only the prefix. Partitions by counting; then by so many of the most significant differing bits
 * of the prefix that few items have them in common, as two digits, the lower one first: each is a
 * pass in order of memory, and there is no work for each of many buckets. What is left is near its
 * place, and insertion looks at each once; groups too large for that are sorted in the same way by
 * the bits below, one whose prefixes are all equal takes the eight bytes behind what its keys have
 * in common, and after ITEM_RADIX_TAKES such steps merging sorts it. Stable.
 *
 * Sources: MacLaren, "Internal Sorting by Radix Plus Sifting", Journal of the ACM 13 (1966): passes
 * by the leading digits alone, and insertion; McIlroy, Bostic, McIlroy, "Engineering Radix Sort",
 * Computing Systems 6 (1993): groups.
 * Changed: digits are taken where minimum and maximum differ, so text whose bytes use few values
 * needs few passes.
 */
#pragma once

#include "records/record.h"

#define ITEM_RADIX_TAKES 8 /* a limit to the stack; each finds less to tell keys apart by */

typedef struct Item {
        uint64_t prefix; /* key_prefix(key, size, 0); undefined after sorting */
        uint32_t partition;
        uint32_t ref;
} Item;

/* By partition alone, otherwise in the order they had. Same arguments and result as
 * items_sort(). */
int items_partition(Item *items, Item *scratch, size_t count, uint32_t partitions);

/* The other way round: for items that were filled downwards, before a stable sort. */
void items_reverse(Item *items, size_t count);

/* The whole key of an item. */
typedef const uint8_t *(*ItemKeyFunc)(const void *userdata, uint32_t ref, size_t *ret_size);

typedef struct ItemKeys {
        ItemKeyFunc key;
        const void *userdata;
        /* The record of an item lies at @base + ref * @unit: where its key is fetched from before
         * it is asked for. */
        const uint8_t *base;
        size_t unit;
} ItemKeys;

/**
 * items_sort() - by partition, then by key
 * @scratch:    room for @count items
 * @partitions: every item's is below
 *
 * Return: 0, or -ENOMEM (only with more than one partition).
 */
int items_sort(Item *items, Item *scratch, size_t count, uint32_t partitions, const ItemKeys *keys);
