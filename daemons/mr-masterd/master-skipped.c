/*
 * Skipped records — kept with the map that did without them, and written beside the result at the
 * end.
 *
 * Rows are replaced when a map runs again, so each record is there once however often its map was
 * run.
 */
#include "base/text.h"
#include "mr-masterd/master-manager.h"

#define EVENTS_MAX 20U /* of one map's records; the side file has them all */

void job_save_skipped(MasterJob *j, uint32_t map, const Mapreduced__V1__TaskResult *result)
{
        if (j->desc->skip_bad_records == 0)
                return;
        store_remove_skipped(j->manager->store, j->number, map);
        for (size_t i = 0; i < MIN(result->n_skipped, j->desc->skip_bad_records); i++) {
                const Mapreduced__V1__SkippedRecord *r = result->skipped[i];
                StoreSkipped row = {
                        .path = r->path,
                        .offset = r->offset,
                        .length = r->length,
                        .data = r->data.data,
                        .data_size = r->data.len,
                        .error = r->error,
                };

                store_put_skipped(j->manager->store, j->number, map, (uint32_t) i, &row);
                if (i < EVENTS_MAX)
                        job_event(j, "record-skipped",
                                  "map %u did without the record at %s byte %" G_GUINT64_FORMAT
                                  " (%" G_GUINT64_FORMAT " bytes), on which its mapper %s",
                                  map, r->path, r->offset, r->length, r->error);
        }
}

static void append_record(const StoreSkipped *r, void *userdata)
{
        g_autofree char *path = text_escape(r->path, strlen(r->path), 4096);
        g_autofree char *place = g_strdup_printf(
                "%s\t%" G_GUINT64_FORMAT "\t%" G_GUINT64_FORMAT "\t", path, r->offset, r->length);
        GByteArray *out = userdata;

        g_byte_array_append(out, (const guint8 *) place, (guint) strlen(place));
        g_byte_array_append(out, r->data, (guint) r->data_size);
        if (r->data_size == 0 || ((const guint8 *) r->data)[r->data_size - 1] != '\n')
                g_byte_array_append(out, (const guint8 *) "\n", 1);
}

GByteArray *job_list_skipped(MasterJob *j)
{
        GByteArray *out;

        if (j->desc->skip_bad_records == 0)
                return NULL;
        out = g_byte_array_new();
        (void) store_each_skipped(j->manager->store, j->number, append_record, out);
        if (out->len > 0)
                return out;
        g_byte_array_unref(out);
        return NULL;
}
